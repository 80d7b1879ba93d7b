use super::*;
use crate::provision::read::tests::site;

const HASH: &str = "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

fn record(enabled: bool, origin: Option<&str>) -> Record {
    Record {
        hash: HASH.to_owned(),
        role: Role::User,
        quota: None,
        enabled,
        origin: origin.map(str::to_owned),
    }
}

fn add(name: &str) -> Change {
    Change::AddAccount {
        address: name.to_owned(),
        hash: HASH.to_owned(),
        role: Role::User,
        quota: None,
    }
}

fn alias(name: &str, targets: &[&str]) -> Change {
    Change::AddAlias {
        address: name.to_owned(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    }
}

fn remove(name: &str) -> Change {
    Change::RemoveAccount {
        address: name.to_owned(),
    }
}

/// Makes changes; what was said of each.
fn made(changes: Vec<Change>) -> (Known, Vec<Result<String, String>>) {
    let (site, mut known) = (site(&[("MAILROOM_DOMAINS", "b.test")]), Known::default());
    let said = changes
        .into_iter()
        .map(|change| change.apply(&mut known, &site))
        .collect();
    (known, said)
}

#[test]
fn accounts_come_and_go() {
    let (known, said) = made(vec![
        add("Alice"),
        add("alice@b.test"),
        add("alice"),
        add("alice+x"),
        add("b.test"),
        add("x@c.test"),
        remove("alise"),
        remove("alice"),
    ]);
    let said: Vec<String> = said
        .into_iter()
        .map(|said| said.unwrap_or_else(|error| error))
        .collect();
    for (said, expected) in said.iter().zip([
        "alice@metabuilder.local is added (user); the test accounts are gone",
        "alice@b.test is added (user)",
        "alice@metabuilder.local is there already",
        "alice+x@metabuilder.local is a sub-address of alice@metabuilder.local",
        "b.test is the name of a domain",
        "c.test is no domain of this server, which has metabuilder.local, b.test: mailroom domain add",
        "alise@metabuilder.local is no account; did you mean alice@metabuilder.local?",
        "alice@metabuilder.local is removed",
    ]) {
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
    assert_eq!(known.live.accounts.keys().collect::<Vec<_>>(), ["alice@b.test"]);
}

#[test]
fn aliases_lead_to_somebody_and_never_in_a_circle() {
    let (known, said) = made(vec![
        add("alice"),
        alias("info", &["alice", "x@example.org"]),
        alias("sales", &["info"]),
        alias("info", &["sales"]),
        alias("lost", &["nobody"]),
        alias("@b.test", &["info2@b.test"]),
        remove("alice"),
    ]);
    let failed: Vec<bool> = said.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, false, true, true, true, true], "{said:?}");
    assert!(said[5].as_ref().unwrap_err().contains("leads back"), "{said:?}");
    assert_eq!(known.live.aliases["info@metabuilder.local"].targets.len(), 2);
}

#[test]
fn an_alias_that_takes_the_mail_of_an_account_is_told() {
    let (_, said) = made(vec![
        add("alice"),
        add("bob"),
        alias("alice", &["bob"]),
        alias("alice", &["alice"]),
        alias("info", &["bob"]),
        add("info"),
        alias("bob", &["bob", "x@example.org"]),
    ]);
    let takes: Vec<bool> = said
        .iter()
        .map(|said| said.as_ref().unwrap().contains("takes all mail of the account"))
        .collect();
    assert_eq!(takes, [false, false, true, false, false, true, false], "{said:?}");
}

#[test]
fn an_import_is_all_or_nothing_and_names_all_that_is_wrong() {
    let import = |accounts: &[&str], aliases: &[(&str, &str)], replace| {
        let mut records = Records::default();
        for address in accounts {
            let record = record(true, None);
            records.accounts.insert((*address).to_owned(), record);
        }
        for (address, target) in aliases {
            let targets = Targets {
                targets: vec![(*target).to_owned()],
                origin: None,
            };
            records.aliases.insert((*address).to_owned(), targets);
        }
        Change::Import { records, replace }
    };
    let (known, said) = made(vec![
        import(&["a@b.test", "a@c.test"], &[("@c.test", "a@b.test")], false),
        import(&["a@b.test", "d@c.test"], &[], false),
        import(
            &["new@b.test", "a+x@b.test", "c.test@b.test"],
            &[("@c.test", "a@c.test"), ("@b.test", "no@e.test")],
            false,
        ),
        import(&[], &[("@c.test", "a@c.test"), ("lost@f.test", "no@c.test")], true),
    ]);
    let expected = "2 accounts and 1 alias are imported; new domains: c.test";
    assert_eq!(said[0].as_deref(), Ok(expected));
    // What is there as it is imported is no mistake.
    let expected = "1 account and 0 aliases are imported; 1 account and 0 aliases are there already";
    assert_eq!(said[1].as_deref(), Ok(expected));
    let wrong = said[2].as_ref().unwrap_err();
    for reason in [
        "a+x@b.test: a+x@b.test is a sub-address",
        "c.test is the name of a domain",
        "@c.test: is there already",
    ] {
        assert!(wrong.contains(reason), "{reason}: {wrong}");
    }
    assert!(!known.live.accounts.contains_key("new@b.test"));
    assert!(said[3].is_ok(), "@c.test takes what is nobody's: {said:?}");
    assert_eq!(known.live.aliases["@c.test"].targets, ["a@c.test"]);
}

#[test]
fn what_is_declared_is_changed_where_it_is() {
    let site = site(&[]);
    let mut known = Known::default();
    let record = record(true, Some("/run/secrets/accounts:3"));
    Arc::make_mut(&mut known.declared)
        .accounts
        .insert("alice@metabuilder.local".to_owned(), record);
    for change in [add("alice"), remove("alice")] {
        let said = change.apply(&mut known, &site).unwrap_err();
        assert!(said.contains("is declared in /run/secrets/accounts:3"), "{said}");
    }
    Arc::make_mut(&mut known.declared)
        .accounts
        .values_mut()
        .for_each(|record| record.origin = None);
    remove("alice").apply(&mut known, &site).unwrap();
    assert!(known.is_without_accounts() && !known.never_had_accounts());
}

#[test]
fn what_an_alias_leads_to_stays() {
    let add_domain = |domain: &str| Change::AddDomain {
        domain: domain.to_owned(),
    };
    let remove_domain = |domain: &str| Change::RemoveDomain {
        domain: domain.to_owned(),
    };
    let remove_alias = |address: &str| Change::RemoveAlias {
        address: address.to_owned(),
        targets: Vec::new(),
    };
    let (known, said) = made(vec![
        add("gina"),
        alias("team", &["gina+team"]),
        remove("gina"),
        add_domain("f.test"),
        alias("desk", &["postmaster@f.test"]),
        remove_domain("f.test"),
        remove_alias("desk"),
        alias("@metabuilder.local", &["gina"]),
        alias("desk", &["any@metabuilder.local"]),
        remove_alias("@metabuilder.local"),
        remove_alias("desk"),
        remove_alias("@metabuilder.local"),
        remove_domain("f.test"),
        remove_alias("team"),
        remove("gina"),
    ]);
    let refused: Vec<usize> = (0..said.len()).filter(|at| said[*at].is_err()).collect();
    assert_eq!(refused, [2, 5, 9], "{said:?}");
    for (at, reason) in [
        (2, "the mail of team@"),
        (5, "the mail of desk@"),
        (9, "the mail of desk@"),
    ] {
        assert!(said[at].as_ref().unwrap_err().contains(reason), "{said:?}");
    }
    assert!(
        said[14].as_ref().unwrap().ends_with("is removed; no account is left"),
        "{said:?}"
    );
    assert!(known.is_without_accounts() && !known.never_had_accounts());
}

#[test]
fn what_is_kept_can_go_where_its_domain_has_gone() {
    let site = site(&[]);
    let mut known = Known::default();
    let record = record(false, None);
    Arc::make_mut(&mut known.declared)
        .accounts
        .insert("x@gone.test".to_owned(), record);
    remove("x@gone.test").apply(&mut known, &site).unwrap();
    let said = remove("x@gone.test").apply(&mut known, &site).unwrap_err();
    assert!(
        said.contains("gone.test is no domain of this server, which has metabuilder.local:"),
        "{said}"
    );
}
