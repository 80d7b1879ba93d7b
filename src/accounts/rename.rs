//! Another name for a domain, in all that is kept of accounts.
//!
//! A rename moves mailboxes and writes several files. What it is stands in a file of its own until all of that is done, so that one
//! that was interrupted can be finished, and nothing else begins meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::known::Known;
use super::records::{Record, Records, Targets};
use crate::layout::RENAME_FILE;
use crate::plan::File;
use crate::report::Unusable;
use crate::system::files::Owner;

/// The two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The one that it has.
    pub from: String,
    /// The one that it gets.
    pub to: String,
}

/// One name that becomes another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// What it is the name of.
    pub what: &'static str,
    /// The old name.
    pub from: String,
    /// The new one.
    pub to: String,
}

impl Rename {
    /// The one that has begun, and has not ended.
    pub fn begun() -> anyhow::Result<Option<Rename>> {
        let text = match fs::read_to_string(RENAME_FILE) {
            Ok(text) => text,
            // `mailroom check` may be run by anybody.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(None),
            Err(error) => return Err(Unusable(format!("{RENAME_FILE}: {error}")).into()),
        };
        let rename = serde_json::from_str(&text).map_err(|error| Unusable(format!("{RENAME_FILE}: {error}")))?;
        Ok(Some(rename))
    }

    /// The file that is there while it is done.
    pub fn file(&self) -> anyhow::Result<File> {
        Ok(File {
            path: RENAME_FILE.into(),
            bytes: format!("{}\n", serde_json::to_string(self)?).into_bytes(),
            owner: Owner::ROOT,
            mode: 0o600,
        })
    }

    /// What to do about one that was interrupted.
    pub fn interrupted(&self) -> String {
        let Rename { from, to } = self;
        format!(
            "{from} was about to become {to}, and that was interrupted: finish it with mailroom domain rename {from} {to}, in a \
             container with the same volumes"
        )
    }

    /// All that is known, with the new name.
    pub fn of_known(&self, known: &Known) -> Known {
        Known {
            declared: Arc::new(self.of_records(&known.declared)),
            live: self.of_records(&known.live),
        }
    }

    /// What an account that was declared under the old name and is declared under the new one now has kept under the old one is
    /// left out.
    fn of_records(&self, records: &Records) -> Records {
        let mut renamed = Records {
            domains: records.domains.iter().map(|domain| self.of_domain(domain)).collect(),
            accounts: records.accounts.clone(),
            aliases: records.aliases.clone(),
            seal: records.seal.clone(),
            had_accounts: records.had_accounts,
        };
        for (address, record) in &records.accounts {
            if let Some(new) = self.of_address(address) {
                renamed.accounts.remove(address);
                renamed.accounts.entry(new).or_insert_with(|| record.clone());
            }
        }
        for (address, kept) in &records.aliases {
            let new = Targets {
                targets: self.of_targets(&kept.targets),
                origin: kept.origin.clone(),
            };
            renamed.aliases.remove(address);
            renamed
                .aliases
                .insert(self.of_address(address).unwrap_or_else(|| address.clone()), new);
        }
        renamed
    }

    fn of_domain(&self, domain: &str) -> String {
        if domain == self.from { &self.to } else { domain }.to_owned()
    }

    /// The new address; nothing where it stays as it is.
    fn of_address(&self, address: &str) -> Option<String> {
        let (name, domain) = address.rsplit_once('@')?;
        (domain == self.from).then(|| format!("{name}@{}", self.to))
    }

    fn of_targets(&self, targets: &[String]) -> Vec<String> {
        let new = |target: &String| self.of_address(target).unwrap_or_else(|| target.clone());
        targets.iter().map(new).collect()
    }

    /// Whether accounts, aliases or the list of domains have the old name.
    pub fn is_kept(&self, known: &Known) -> bool {
        let has_name = |records: &Records| {
            let mut addresses = records.accounts.keys().chain(records.aliases.keys());
            records.domains.contains(&self.from) || addresses.any(|address| self.of_address(address).is_some())
        };
        has_name(&known.declared) || has_name(&known.live)
    }

    /// Everything that gets another name.
    pub fn changes(&self, known: &Known) -> Vec<Renamed> {
        let mut changes = BTreeSet::new();
        for records in [&*known.declared, &known.live] {
            if records.domains.contains(&self.from) {
                changes.insert(("domain", self.from.clone(), self.to.clone()));
            }
            for address in records.accounts.keys() {
                let new = self.of_address(address);
                changes.extend(new.map(|new| ("account", address.clone(), new)));
            }
            for (address, kept) in &records.aliases {
                let alias = self.of_address(address);
                let new_alias = alias.as_ref().unwrap_or(address);
                for target in &kept.targets {
                    let new = self.of_address(target);
                    changes.extend(new.map(|new| {
                        (
                            "target",
                            format!("{address} to {target}"),
                            format!("{new_alias} to {new}"),
                        )
                    }));
                }
                changes.extend(alias.map(|new| ("alias", address.clone(), new)));
            }
        }
        let change = |(what, from, to)| Renamed { what, from, to };
        changes.into_iter().map(change).collect()
    }

    /// What there is of the new name already: a rename never makes one domain of two. `primary_domain` is that of the old names.
    pub fn objections(&self, known: &Known, primary_domain: &str) -> Vec<String> {
        let Rename { from, to } = self;
        let end = format!("@{to}");
        let mut objections = BTreeSet::new();
        let names = [from, to].into_iter().filter(|name| *name != primary_domain);
        for name in names {
            let account = format!("{name}@{primary_domain}");
            if known.declared.accounts.contains_key(&account) || known.live.accounts.contains_key(&account) {
                objections.insert(format!(
                    "{name} is the name of the account {account}, whose mail lies where that of the domain would"
                ));
            }
        }
        for records in [&*known.declared, &known.live] {
            for (address, record) in &records.accounts {
                if address.ends_with(&end) && !self.is_same(&known.declared, address, record) {
                    objections.insert(format!("there is an account {address} already: remove it first"));
                }
            }
            for address in records.aliases.keys().filter(|address| address.ends_with(&end)) {
                if self.has_old(known, address) {
                    objections.insert(format!("there is an alias {address} already: remove it first"));
                }
            }
        }
        objections.into_iter().collect()
    }

    /// Whether an account or alias would get this address.
    fn has_old(&self, known: &Known, address: &str) -> bool {
        let declared = &known.declared.accounts;
        let declared = declared.iter().filter(|(_, record)| record.origin.is_some());
        let accounts = declared.map(|(old, _)| old).chain(known.live.accounts.keys());
        let aliases = known.declared.aliases.keys().chain(known.live.aliases.keys());
        let mut new = accounts.chain(aliases).filter_map(|old| self.of_address(old));
        new.any(|new| new == address)
    }

    /// Whether an account was declared under the old name, no longer is, and is declared under the new one.
    fn is_same(&self, declared: &Records, address: &str, record: &Record) -> bool {
        let old = address
            .strip_suffix(&self.to)
            .and_then(|name| declared.accounts.get(&format!("{name}{}", self.from)));
        record.origin.is_some() && old.is_some_and(|old| old.origin.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;

    fn record(origin: Option<&str>) -> Record {
        Record {
            hash: "{BLF-CRYPT}$2y$10$x".to_owned(),
            role: Role::User,
            quota: None,
            enabled: true,
            origin: origin.map(str::to_owned),
        }
    }

    fn records(domains: &[&str], accounts: &[(&str, Option<&str>)], aliases: &[(&str, &str)]) -> Records {
        let targets = |target: &str| Targets {
            targets: target.split(',').map(str::to_owned).collect(),
            origin: None,
        };
        Records {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            accounts: accounts
                .iter()
                .map(|(address, origin)| ((*address).to_owned(), record(*origin)))
                .collect(),
            aliases: aliases
                .iter()
                .map(|(address, target)| ((*address).to_owned(), targets(target)))
                .collect(),
            seal: Some("x".to_owned()),
            had_accounts: true,
        }
    }

    fn rename() -> Rename {
        Rename {
            from: "old.test".to_owned(),
            to: "new.test".to_owned(),
        }
    }

    fn live(live: Records) -> Known {
        Known {
            live,
            ..Known::default()
        }
    }

    #[test]
    fn everything_gets_the_name_and_nothing_else_does() {
        let aliases = [
            ("info@old.test", "a@old.test,a@b.test,x@very.old.test"),
            ("@old.test", "a@old.test"),
            ("all@b.test", "a@old.test"),
        ];
        let known = live(records(
            &["old.test", "c.test"],
            &[("a@old.test", None), ("a@b.test", None), ("old.test@b.test", None)],
            &aliases,
        ));
        let expected = records(
            &["new.test", "c.test"],
            &[("a@new.test", None), ("a@b.test", None), ("old.test@b.test", None)],
            &[
                ("info@new.test", "a@new.test,a@b.test,x@very.old.test"),
                ("@new.test", "a@new.test"),
                ("all@b.test", "a@new.test"),
            ],
        );
        let renamed = rename().of_known(&known);
        assert_eq!(renamed.live, expected);
        assert_eq!(rename().of_known(&renamed), renamed, "it may be done again");
        assert!(rename().is_kept(&known) && !rename().is_kept(&renamed));
        let changes = rename().changes(&known);
        let shown: Vec<String> = changes
            .iter()
            .map(|change| format!("{} {} {}", change.what, change.from, change.to))
            .collect();
        assert_eq!(
            shown,
            [
                "account a@old.test a@new.test",
                "alias @old.test @new.test",
                "alias info@old.test info@new.test",
                "domain old.test new.test",
                "target @old.test to a@old.test @new.test to a@new.test",
                "target all@b.test to a@old.test all@b.test to a@new.test",
                "target info@old.test to a@old.test info@new.test to a@new.test",
            ]
        );
        assert!(rename().changes(&renamed).is_empty());
    }

    #[test]
    fn two_domains_are_never_made_one() {
        let objections = |known: &Known| rename().objections(known, "b.test").join("\n");
        for (accounts, aliases, said) in [
            (vec!["a@new.test"], vec![], "account a@new.test already"),
            (vec!["a@old.test"], vec!["a@new.test"], "alias a@new.test already"),
            (vec![], vec!["@old.test", "@new.test"], "alias @new.test already"),
            (
                vec!["new.test@b.test"],
                vec![],
                "new.test is the name of the account new.test@b.test",
            ),
            (vec!["old.test@b.test"], vec![], "old.test is the name of the account"),
            (vec!["a@old.test"], vec!["info@new.test"], ""),
        ] {
            let accounts: Vec<_> = accounts.into_iter().map(|address| (address, None)).collect();
            let aliases: Vec<_> = aliases.into_iter().map(|address| (address, "x@c.test")).collect();
            let known = live(records(&["old.test"], &accounts, &aliases));
            let said_of_it = objections(&known);
            assert!(
                said_of_it.contains(said) && said_of_it.is_empty() == said.is_empty(),
                "{said}: {said_of_it}"
            );
        }
        let mut primary = live(records(
            &[],
            &[("new.test@old.test", None), ("old.test@old.test", None)],
            &[],
        ));
        let said = rename().objections(&primary, "old.test");
        assert_eq!(
            said.len(),
            1,
            "no mail of the primary domain lies by its name: {said:?}"
        );
        primary.live.accounts.remove("new.test@old.test");
        assert!(rename().objections(&primary, "old.test").is_empty());
    }

    #[test]
    fn an_account_whose_declaration_was_renamed_first_is_the_same() {
        let accounts = [("a@new.test", Some("MAILROOM_ACCOUNTS")), ("a@old.test", None)];
        let mut known = Known {
            declared: Arc::new(records(&[], &accounts, &[])),
            ..Known::default()
        };
        assert!(rename().objections(&known, "b.test").is_empty());
        let renamed = rename().of_known(&known).declared;
        assert_eq!(renamed.accounts.keys().collect::<Vec<_>>(), ["a@new.test"]);
        assert!(renamed.accounts["a@new.test"].origin.is_some());
        known.live = records(&[], &[("a@new.test", None)], &[]);
        assert_eq!(rename().objections(&known, "b.test").len(), 1, "that one is another");
    }
}
