//! Accounts and aliases as they are declared: `MAILROOM_ACCOUNTS` and `MAILROOM_ALIASES`, or the files that
//! `MAILROOM_ACCOUNTS_FILE` and `MAILROOM_ALIASES_FILE` name. Entries stand on lines of their own, or between blanks; what
//! follows a `#` at the beginning of a word is a comment. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::address::Address;
use super::external::{self, External};
use super::{ADMINISTRATOR_ALIASES, Alias, Role, password};
use crate::report::Mistake;
use crate::secrets::HIDDEN;
use crate::settings::Values;
use crate::settings::reader::Entry as Value;
use crate::site::{ACCOUNTS, ALIASES, MAILBOXES, Site};
use crate::values::{nearest, words};

/// A password as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself.
    Clear(String),
    /// `{SCHEME}hash`.
    Hash(String),
}

/// A declared account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its address.
    pub address: Address,
    /// Its password.
    pub password: Password,
    /// What it may do.
    pub role: Role,
}

/// All that is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Accounts.
    pub accounts: Vec<Declared>,
    /// Aliases.
    pub aliases: Vec<Alias>,
    /// Where more of both are.
    pub external: Option<External>,
}

/// Where an entry stands, for messages.
#[derive(Debug, Clone)]
struct Place {
    /// The variable, or `file:line`.
    origin: String,
    /// Stands before the reason where the variable holds several entries.
    prefix: String,
}

impl Place {
    fn said(&self) -> &str {
        match self.prefix.trim_end_matches(", ") {
            "" => &self.origin,
            entry => entry,
        }
    }

    fn mistake(&self, name: &str, reason: &str) -> Mistake {
        let value = if self.origin.starts_with('/') { name } else { HIDDEN };
        Mistake::new(&self.origin, value, format!("{}{reason}", self.prefix))
    }
}

/// Reads everything; with what is wrong with it. A wrong entry is left out.
pub fn read(values: &Values, site: &Site) -> (Declaration, Vec<Mistake>) {
    let mut reading = Reading {
        site,
        found: Declaration::default(),
        mistakes: Vec::new(),
    };
    (reading.found.external, reading.mistakes) = external::read(values);
    reading.accounts(values.entry(ACCOUNTS));
    let places = reading.aliases(values.entry(ALIASES));
    reading.check_aliases(&places);
    (reading.found, reading.mistakes)
}

struct Reading<'a> {
    site: &'a Site,
    found: Declaration,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn accounts(&mut self, value: Option<&Value>) {
        let mut places: BTreeMap<Address, Place> = BTreeMap::new();
        for (place, entry) in value.map(entries).unwrap_or_default() {
            let name = entry.split(':').next().unwrap_or_default();
            let declared = account(entry, self.site).and_then(|declared| match places.get(&declared.address) {
                Some(other) => Err(format!("is declared twice, there and in {}", other.said())),
                None => Ok(declared),
            });
            match declared {
                Ok(declared) => {
                    places.insert(declared.address.clone(), place);
                    self.found.accounts.push(declared);
                }
                Err(reason) => self.mistakes.push(place.mistake(name, &format!("{name}: {reason}"))),
            }
        }
        self.sub_addresses(&places);
    }

    /// Mail to a sub-address of one account must not be another's.
    fn sub_addresses(&mut self, places: &BTreeMap<Address, Place>) {
        for (address, place) in places {
            let short = self.site.without_extension(&address.name);
            let other = Address {
                name: short.to_owned(),
                domain: address.domain.clone(),
            };
            if other != *address && places.contains_key(&other) {
                let (name, other) = (address.text(), other.text());
                self.mistakes.push(place.mistake(
                    &name,
                    &format!("{name}: is a sub-address of {other} (POSTFIX_RECIPIENT_DELIMITER): choose another name"),
                ));
            }
        }
    }

    fn aliases(&mut self, value: Option<&Value>) -> BTreeMap<String, Place> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        if let Some(value) = value.filter(|value| value.explicit && !self.site.mailboxes) {
            let reason = format!("are names of mailboxes, and {MAILBOXES}=off leaves none: keep one of the two");
            self.mistakes.push(Mistake::new(&value.origin, HIDDEN, reason));
            return places;
        }
        for (place, entry) in value.map(entries).unwrap_or_default() {
            let name = entry.split(':').next().unwrap_or_default();
            let read = alias(entry, self.site).and_then(|alias| match places.get(&alias.address) {
                Some(other) => Err(format!(
                    "is declared twice, there and in {}: name all its targets in one entry, with commas",
                    other.said()
                )),
                None => Ok(alias),
            });
            match read {
                Ok(alias) => {
                    places.insert(alias.address.clone(), place);
                    self.found.aliases.push(alias);
                }
                Err(reason) => self.mistakes.push(place.mistake(name, &format!("{name}: {reason}"))),
            }
        }
        places
    }

    /// Each alias leads to somebody, and none in a circle.
    fn check_aliases(&mut self, places: &BTreeMap<String, Place>) {
        let accounts: BTreeSet<String> = self
            .found
            .accounts
            .iter()
            .map(|account| account.address.text())
            .collect();
        let aliases: BTreeMap<&str, &Alias> = self
            .found
            .aliases
            .iter()
            .map(|alias| (alias.address.as_str(), alias))
            .collect();
        let mut wrong = Vec::new();
        for alias in &self.found.aliases {
            let Some(place) = places.get(&alias.address) else {
                continue;
            };
            let name = &alias.address;
            for target in &alias.targets {
                let known = || accounts.iter().map(String::as_str).chain(aliases.keys().copied());
                if self.is_served(target)
                    && self.found.external.is_none()
                    && !self.is_somebody(target, &accounts, &aliases)
                {
                    let nearest = nearest(target, known()).map(|nearest| format!("; did you mean {nearest}?"));
                    wrong.push(place.mistake(
                        name,
                        &format!(
                            "{name}: {target} is neither an account nor an alias{}",
                            nearest.unwrap_or_default()
                        ),
                    ));
                }
            }
            if leads_back(name, &aliases) {
                wrong.push(place.mistake(name, &format!("{name}: leads back to itself over other aliases")));
            }
        }
        self.mistakes.extend(wrong);
    }

    fn is_served(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| self.site.domains().any(|served| served == domain))
    }

    /// Whether mail to an address of ours is delivered: test accounts are gone when there are aliases of accounts.
    fn is_somebody(&self, address: &str, accounts: &BTreeSet<String>, aliases: &BTreeMap<&str, &Alias>) -> bool {
        let (name, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let short = self.site.without_extension(name);
        let is_role = ADMINISTRATOR_ALIASES.contains(&name);
        let is_test = accounts.is_empty() && self.site.test_accounts && super::test_names().contains(&short);
        [name, short].iter().any(|name| {
            let address = format!("{name}@{domain}");
            accounts.contains(&address) || aliases.contains_key(address.as_str())
        }) || aliases.contains_key(format!("@{domain}").as_str())
            || is_role
            || is_test
    }
}

/// Whether mail to an alias comes back to it over at least one other. One that names itself keeps a copy.
fn leads_back(name: &str, aliases: &BTreeMap<&str, &Alias>) -> bool {
    let mut seen = BTreeSet::new();
    let others = |alias: &Alias| {
        alias
            .targets
            .iter()
            .filter(|target| **target != alias.address)
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut open = aliases.get(name).map(|alias| others(alias)).unwrap_or_default();
    while let Some(target) = open.pop() {
        if target == name {
            return true;
        }
        if let Some(alias) = aliases.get(target.as_str()).filter(|_| seen.insert(target.clone())) {
            open.extend(others(alias));
        }
    }
    false
}

/// The entries of a variable or a file, each with its place.
fn entries(value: &Value) -> Vec<(Place, &str)> {
    let text = value.raw.trim_start_matches(words::BYTE_ORDER_MARK);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entries = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        for entry in entries {
            let place = match &value.file {
                Some(file) => Place {
                    origin: format!("{file}:{number}"),
                    prefix: String::new(),
                },
                None => Place {
                    origin: value.origin.clone(),
                    prefix: format!("entry {}, ", found.len() + 1),
                },
            };
            found.push((place, entry));
        }
    }
    found
}

/// `user[@domain]:password-or-{SCHEME}hash[:role]`.
fn account(entry: &str, site: &Site) -> Result<Declared, String> {
    let mut fields = entry.split(':');
    let address = served(Address::read(fields.next().unwrap_or_default(), &site.domain)?, site)?;
    if let Some(domain) = site.domains().find(|domain| **domain == address.name) {
        return Err(format!(
            "is the name of the domain {domain}, whose mailboxes lie there: choose another one"
        ));
    }
    let password = match fields.next() {
        None | Some("") => return Err("has no password: write name:password, or name:{SCHEME}hash".to_owned()),
        Some(hash) if password::is_hash(hash) => {
            password::check_scheme(hash)?;
            Password::Hash(hash.to_owned())
        }
        Some(clear) => {
            password::check_clear(clear)?;
            Password::Clear(clear.to_owned())
        }
    };
    let mut role = Role::User;
    for field in fields {
        role = match field {
            "admin" => Role::Administrator,
            "relay" => Role::Relay,
            "user" => Role::User,
            _ => {
                return Err(
                    "what stands behind the password must be a role: admin, relay or user; a password with a colon or a blank \
                     in it is given as a hash (doveadm pw)"
                        .to_owned(),
                );
            }
        };
    }
    Ok(Declared {
        address,
        password,
        role,
    })
}

/// `alias[@domain]:target[,target…]`, or `@domain:target` for all that is nobody's.
fn alias(entry: &str, site: &Site) -> Result<Alias, String> {
    let (name, targets) = entry
        .split_once(':')
        .ok_or("has no target: write alias:target, or alias:target,target")?;
    let address = match name.strip_prefix('@') {
        Some(domain) => {
            let domain = domain.to_ascii_lowercase();
            served_domain(&domain, site)?;
            format!("@{domain}")
        }
        None => served(Address::read(name, &site.domain)?, site)?.text(),
    };
    let targets = targets.split(',').filter(|target| !target.is_empty());
    let targets: Vec<String> = targets
        .map(|target| {
            let address = Address::read(target, &site.domain);
            address
                .map(|address| address.text())
                .map_err(|reason| format!("{target}: {reason}"))
        })
        .collect::<Result<_, _>>()?;
    if targets.is_empty() {
        return Err("has no target: write alias:target, or alias:target,target".to_owned());
    }
    Ok(Alias { address, targets })
}

fn served(address: Address, site: &Site) -> Result<Address, String> {
    served_domain(&address.domain, site).map(|()| address)
}

fn served_domain(domain: &str, site: &Site) -> Result<(), String> {
    if site.domains().any(|served| served == domain) {
        return Ok(());
    }
    let domains: Vec<&str> = site.domains().collect();
    Err(format!(
        "{domain} is no domain of this server, which has {}: name it in MAILROOM_DOMAINS",
        domains.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::read::tests::read_all;

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
            "entry 7, f: what stands behind the password must be a role",
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
            found[0].targets,
            ["alice@metabuilder.local", "bob@metabuilder.local", "x@example.org"]
        );
        assert_eq!(found[2].address, "@metabuilder.local");
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
}
