use super::*;
use crate::provision::read::tests::{read_all, site_and_values};

const HASH: &str = "{SHA512-CRYPT}$6$0123456789abcdef$VV2mF.vWG3kW1.sb1R1N5vYmhlXkKHJvNZkbHqkpFM0eZkPgZc4hyLQ9bqkVCXPKfHxBvwyh2Rq2ARcnTz8v01";

fn said(pairs: &[(&str, &str)]) -> Vec<String> {
    let (_, mistakes) = read_all(pairs);
    mistakes
        .into_iter()
        .map(|mistake| format!("{}: {}", mistake.variable, mistake.reason))
        .collect()
}

fn declared(pairs: &[(&str, &str)]) -> Declaration {
    let (read, mistakes) = read_all(pairs);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    read.declaration
}

/// The same of files, beside accounts that commands added.
fn of_files(accounts: &str, live: &[&str]) -> (Vec<String>, Vec<String>) {
    let (site, mut values) = site_and_values(&[(ACCOUNTS, accounts)]);
    values.in_file(ACCOUNTS, "/accounts");
    let mut there = Records::default();
    for address in live {
        let record = crate::accounts::records::Record {
            hash: HASH.to_owned(),
            role: Role::User,
            quota: None,
            enabled: true,
            origin: None,
        };
        there.accounts.insert((*address).to_owned(), record);
    }
    let (found, wrong) = read(&values, &site, &there);
    let found = found.accounts.iter().map(|account| account.address.text()).collect();
    (found, wrong.iter().map(|wrong| wrong.mistake.line()).collect())
}

#[test]
fn slips_in_entries_are_named() {
    for (accounts, reason) in [
        ("\"alice:secret-1\"", "leave the quotes out"),
        ("'alice:secret-1 bob:secret-2'", "leave the quotes out"),
        ("alice:secret-1:ADMIN", "the role is written in small letters: admin"),
        ("alice:secret-1,bob:secret-2", "no comma"),
        ("alice:secret-1:admin, bob:secret-2", "no comma"),
        (
            "alice:secret-1, bob:secret-2",
            "ends with a comma, and another entry follows",
        ),
        (
            "alice:secret-1,\nbob:secret-2",
            "ends with a comma, and another entry follows",
        ),
    ] {
        let said = said(&[(ACCOUNTS, accounts)]).join("\n");
        assert!(said.contains(reason) && !said.contains("secret-"), "{accounts}: {said}");
    }
    assert_eq!(said(&[(ACCOUNTS, "alice:secret-1,")]), [""; 0], "nothing follows");
    let aliases = said(&[(ACCOUNTS, "alice:x"), (ALIASES, "\"info:alice\"")]).join("");
    assert!(aliases.contains("leave the quotes out"), "{aliases}");
}

#[test]
fn aliases_are_shown_and_accounts_are_not() {
    let (_, mistakes) = read_all(&[(ACCOUNTS, "alice:secret-1:boss"), (ALIASES, "info:nobody\nsales:alice")]);
    let shown: Vec<&str> = mistakes.iter().map(|mistake| mistake.value.as_str()).collect();
    assert_eq!(shown, [HIDDEN, "info:nobody sales:alice"]);
}

#[test]
fn names_that_dovecot_would_split() {
    let wrong = |pairs: &[(&str, &str)]| {
        said(pairs)
            .iter()
            .filter(|line| line.contains("begins a sub-address"))
            .count()
    };
    assert_eq!(
        wrong(&[(ACCOUNTS, "jo+x:one bob:two:quota=5M")]),
        0,
        "virtual(8) delivers"
    );
    assert_eq!(wrong(&[(ACCOUNTS, "jo+x:one:quota=5M")]), 1);
    assert_eq!(wrong(&[(ACCOUNTS, "jo+x:one:quota=off"), ("MAILROOM_QUOTA", "5G")]), 0);
    assert_eq!(wrong(&[(ACCOUNTS, "jo+x:one"), ("MAILROOM_QUOTA", "5G")]), 1);
    assert_eq!(wrong(&[(ACCOUNTS, "jo+x:one"), ("MAILROOM_SIEVE", "on")]), 1);
    let other = [
        (ACCOUNTS, "jo+x:one"),
        ("MAILROOM_SIEVE", "on"),
        ("POSTFIX_RECIPIENT_DELIMITER", "-"),
    ];
    assert_eq!(wrong(&other), 0);
}

#[test]
fn a_line_of_a_file_is_wrong_as_a_whole() {
    let (found, wrong) = of_files("a:one b:two\nbob:correct horse battery:staple\nc:three\n", &[]);
    let addresses = ["a@metabuilder.local", "b@metabuilder.local", "c@metabuilder.local"];
    assert_eq!(found, addresses, "{wrong:?}");
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong.iter().all(|line| line.starts_with("/accounts:2: ")), "{wrong:?}");
}

#[test]
fn sub_addresses_beside_live_accounts() {
    let (found, wrong) = of_files(
        "bob:one\nann+x:two\n",
        &["bob+x@metabuilder.local", "ann@metabuilder.local"],
    );
    assert!(found.is_empty() && wrong.len() == 2, "{found:?} {wrong:?}");
    assert!(
        wrong
            .iter()
            .any(|line| line.contains("bob+x@metabuilder.local, which a command has added")),
        "{wrong:?}"
    );
}

#[test]
fn accounts_of_several_domains() {
    let text = format!("# people\nAlice:secret-1:admin bob@B.test:{HASH}\r\n\n  carol:x$%&!:relay # later\n");
    let found = declared(&[("MAILROOM_DOMAINS", "b.test"), (ACCOUNTS, &text)]).accounts;
    let shown: Vec<(String, Role)> = found
        .iter()
        .map(|account| (account.address.text(), account.role))
        .collect();
    let expected = [
        ("alice@metabuilder.local", Role::Administrator),
        ("bob@b.test", Role::User),
        ("carol@metabuilder.local", Role::Relay),
    ];
    assert_eq!(shown, expected.map(|(address, role)| (address.to_owned(), role)));
    assert_eq!(found[1].password, Password::Hash(HASH.to_owned()));
    assert_eq!(found[2].password, Password::Clear("x$%&!".to_owned()));
}

#[test]
fn quotas_and_roles_in_any_order() {
    let text = "a:pw:quota=5G b:pw:admin:quota=500M c:pw:quota=off:relay d:pw";
    let found = declared(&[(ACCOUNTS, text)]).accounts;
    let shown: Vec<_> = found.iter().map(|account| (account.role, account.quota)).collect();
    let quota = |text: &str| Some(text.parse::<Quota>().unwrap());
    let expected = [
        (Role::User, quota("5G")),
        (Role::Administrator, quota("500M")),
        (Role::Relay, Some(Quota::UNLIMITED)),
        (Role::User, None),
    ];
    assert_eq!(shown, expected);
    let said = said(&[(ACCOUNTS, "a:pw:quota=5 b:pw:Quota=5G")]);
    assert!(
        said[0].contains("entry 1, a: quota=5: must be a whole number with K"),
        "{said:?}"
    );
    assert!(
        said[1].contains("entry 2, b: what stands behind the password"),
        "{said:?}"
    );
}

#[test]
fn quotas_need_mailboxes() {
    let said = said(&[(MAILBOXES, "off"), (ACCOUNTS, "a:pw:quota=5G b:pw")]);
    assert!(
        said.len() == 1 && said[0].contains("entry 1, a: has a quota"),
        "{said:?}"
    );
}

#[test]
fn wrong_accounts_are_named_by_their_entries() {
    let said = said(&[
        ("MAILROOM_DOMAINS", "b.test"),
        (
            ACCOUNTS,
            "a:pw-1 a@metabuilder.local:pw-2 ../x:pw c@c.test:pw d e: f:p:w b.test:pw a+x:pw",
        ),
    ]);
    let all = said.join("\n");
    for reason in [
        "entry 2, a@metabuilder.local: is declared twice, there and in entry 1",
        "entry 3, ../x: a name has letters",
        "entry 4, c@c.test: c.test is no domain of this server, which has metabuilder.local, b.test",
        "entry 5, d: has no password",
        "entry 6, e: has no password",
        "entry 7, f: what stands behind the password must be a role (admin, relay or user) or a quota",
        "entry 8, b.test: is the name of the domain",
        "entry 9, a+x@metabuilder.local: is a sub-address of a@metabuilder.local",
    ] {
        assert!(all.contains(reason), "{reason}: {all}");
    }
    assert_eq!(said.len(), 8, "{all}");
    assert!(!all.contains("pw-"), "{all}");
}

#[test]
fn aliases_lead_to_somebody() {
    let accounts = (ACCOUNTS, "alice:pw bob:pw");
    let text = "info:alice,bob,x@example.org\nsales:info\n@metabuilder.local:bob alice:alice,y@example.org";
    let found = declared(&[accounts, (ALIASES, text)]).aliases;
    assert_eq!(
        found[0].alias.targets,
        ["alice@metabuilder.local", "bob@metabuilder.local", "x@example.org"]
    );
    assert_eq!(found[2].alias.address, "@metabuilder.local");
    let all = said(&[
        accounts,
        (ALIASES, "a:b b:c,bob c:a info:alicia info2 x@c.test:bob a:bob"),
    ])
    .join("\n");
    for reason in [
        "a@metabuilder.local: leads back to itself",
        "c@metabuilder.local: leads back to itself",
        "alicia@metabuilder.local is neither an account nor an alias; did you mean alice@metabuilder.local?",
        "info2: has no target",
        "x@c.test: c.test is no domain",
        "a: is declared twice",
    ] {
        assert!(all.contains(reason), "{reason}: {all}");
    }
}

#[test]
fn test_accounts_may_have_aliases() {
    assert_eq!(declared(&[(ALIASES, "info:user hello:postmaster")]).aliases.len(), 2);
    assert_eq!(
        said(&[("MAILROOM_TEST_ACCOUNTS", "off"), (ALIASES, "info:user")]).len(),
        1
    );
    let said = said(&[(MAILBOXES, "off"), (ALIASES, "info:user")]);
    assert!(said.len() == 1 && said[0].contains("keep one of the two"), "{said:?}");
}
