//! Accounts and aliases as they are declared: `MAILROOM_ACCOUNTS` and `MAILROOM_ALIASES`, or the files that
//! `MAILROOM_ACCOUNTS_FILE` and `MAILROOM_ALIASES_FILE` name. Entries stand on lines of their own, or between blanks; what
//! follows a `#` at the beginning of a word is a comment. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::address::Address;
use super::names::{Names, split_by_lmtp};
use super::records::Records;
use super::{Alias, Quota, Role, password};
use crate::report::Mistake;
use crate::secrets::HIDDEN;
use crate::settings::Values;
use crate::settings::reader::Entry as Value;
use crate::site::{ACCOUNTS, ALIASES, MAILBOXES, Site};
use crate::values::words;

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
    /// How much it may store, where that is said of it alone.
    pub quota: Option<Quota>,
    /// Where it stands: the variable, or `file:line`.
    pub origin: String,
}

/// A declared alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredAlias {
    /// The alias.
    pub alias: Alias,
    /// Where it stands.
    pub origin: String,
}

/// All that is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Accounts.
    pub accounts: Vec<Declared>,
    /// Aliases.
    pub aliases: Vec<DeclaredAlias>,
}

/// An entry that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, and where.
    pub mistake: Mistake,
    /// What it declares.
    pub entry: Entry,
    /// Its address, where that can be read.
    pub address: Option<String>,
    /// It stands in a file, which may be mended while the server runs.
    pub is_in_file: bool,
}

/// What an entry declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An account.
    Account,
    /// An alias.
    Alias,
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

    /// The same for those who do not see the variable beside it.
    fn whole(&self) -> String {
        match self.prefix.as_str() {
            "" => self.origin.clone(),
            _ => format!("{} ({})", self.origin, self.said()),
        }
    }

    /// What is wrong with the entry of this name.
    fn wrong(&self, entry: Entry, name: &str, reason: &str, site: &Site) -> Wrong {
        let is_in_file = self.origin.starts_with('/');
        let value = if is_in_file { name } else { HIDDEN };
        Wrong {
            mistake: Mistake::new(&self.origin, value, format!("{}{name}: {reason}", self.prefix)),
            entry,
            address: match name.strip_prefix('@') {
                Some(_) => Some(name.to_ascii_lowercase()),
                None => Address::read(name, &site.domain).ok().map(|address| address.text()),
            },
            is_in_file,
        }
    }
}

/// Reads everything; with what is wrong with it. A wrong entry is left out. `live` is what there is beside it.
pub fn read(values: &Values, site: &Site, live: &Records) -> (Declaration, Vec<Wrong>) {
    let mut reading = Reading {
        site,
        found: Declaration::default(),
        wrong: Vec::new(),
    };
    reading.accounts(values.entry(ACCOUNTS), live);
    let places = reading.aliases(values.entry(ALIASES));
    reading.check_aliases(&places, live);
    if let Some(value) = values.entry(ALIASES).filter(|value| value.file.is_none()) {
        reading.show_aliases(value);
    }
    (reading.found, reading.wrong)
}

/// Files without an entry, where `kept` has some that were declared: a file that is about to be written is empty for a moment.
pub fn emptied(values: &Values, kept: &Records) -> Vec<Wrong> {
    let accounts = kept.accounts.values().any(|record| record.origin.is_some());
    let asked = [
        (ACCOUNTS, Entry::Account, "accounts", accounts),
        (ALIASES, Entry::Alias, "aliases", !kept.aliases.is_empty()),
    ];
    let emptied = |(name, entry, what, had_some): (&str, Entry, &str, bool)| {
        let value = values.entry(name)?;
        let file = value.file.as_ref()?;
        (had_some && entries(value).is_empty()).then(|| Wrong {
            mistake: Mistake::new(
                file,
                "",
                format!("holds no entry any more: all {what} stay as they were (to declare none, unset {name}_FILE)"),
            ),
            entry,
            address: None,
            is_in_file: true,
        })
    };
    asked.into_iter().filter_map(emptied).collect()
}

struct Reading<'a> {
    site: &'a Site,
    found: Declaration,
    wrong: Vec<Wrong>,
}

impl Reading<'_> {
    fn accounts(&mut self, value: Option<&Value>, live: &Records) {
        let mut places: BTreeMap<Address, Place> = BTreeMap::new();
        let mut entries = value.map(entries).unwrap_or_default().into_iter().peekable();
        while let Some((place, entry)) = entries.next() {
            let name = entry.split(':').next().unwrap_or_default();
            let is_followed = entries.peek().is_some_and(|(next, _)| next.origin == place.origin);
            let declared = account(entry, self.site).map_err(|reason| with_separator(entry, reason));
            let declared = declared.and_then(|declared| match places.get(&declared.address) {
                _ if is_followed && entry.ends_with(',') => Err(format!(
                    "ends with a comma, and another entry follows: {SEPARATORS} (a password that ends with one is given as a hash: \
                     doveadm pw)"
                )),
                Some(other) => Err(format!("is declared twice, there and in {}", other.said())),
                None => Ok(declared),
            });
            match declared {
                Ok(mut declared) => {
                    declared.origin = place.whole();
                    places.insert(declared.address.clone(), place);
                    self.found.accounts.push(declared);
                }
                Err(reason) => self.wrong.push(place.wrong(Entry::Account, name, &reason, self.site)),
            }
        }
        self.whole_lines(&places);
        self.sub_addresses(&places, live);
    }

    /// A line of a file is wrong as a whole: behind a blank may stand the rest of a password, which reads as an entry.
    fn whole_lines(&mut self, places: &BTreeMap<Address, Place>) {
        let wrong = self.wrong.iter().filter(|wrong| wrong.is_in_file);
        let reasons: BTreeMap<&String, &Mistake> =
            wrong.map(|wrong| (&wrong.mistake.variable, &wrong.mistake)).collect();
        let beside = |declared: &Declared| reasons.contains_key(&declared.origin);
        let found = std::mem::take(&mut self.found.accounts);
        let (beside, right): (Vec<Declared>, Vec<Declared>) = found.into_iter().partition(beside);
        self.found.accounts = right;
        for declared in beside {
            let reason = "stands on one line with a wrong entry, and may be a part of it: give each its own line";
            if let Some(place) = places.get(&declared.address) {
                let name = declared.address.text();
                self.wrong.push(place.wrong(Entry::Account, &name, reason, self.site));
            }
        }
    }

    /// Mail to a sub-address of one account must not be another's.
    fn sub_addresses(&mut self, places: &BTreeMap<Address, Place>, live: &Records) {
        let short = |address: &Address| Address {
            name: self.site.without_extension(&address.name).to_owned(),
            domain: address.domain.clone(),
        };
        let mut wrong = Vec::new();
        for (address, place) in places {
            let other = short(address);
            if other != *address && (places.contains_key(&other) || live.accounts.contains_key(&other.text())) {
                let reason = format!(
                    "is a sub-address of {} (POSTFIX_RECIPIENT_DELIMITER): choose another name",
                    other.text()
                );
                wrong.push((address, place, reason));
            }
        }
        for address in live.accounts.keys() {
            let Some(other) = Address::read(address, "").ok().map(|read| short(&read)) else {
                continue;
            };
            if other.text() != *address
                && let Some((other, place)) = places.get_key_value(&other)
            {
                let reason = format!(
                    "{address}, which a command has added, would be a sub-address of it (POSTFIX_RECIPIENT_DELIMITER): choose another \
                     name, or remove that account"
                );
                wrong.push((other, place, reason));
            }
        }
        for (address, place, reason) in wrong {
            let name = address.text();
            self.wrong.push(place.wrong(Entry::Account, &name, &reason, self.site));
            self.found.accounts.retain(|declared| declared.address != *address);
        }
    }

    fn aliases(&mut self, value: Option<&Value>) -> BTreeMap<String, Place> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        if let Some(value) = value.filter(|value| value.explicit && !self.site.mailboxes) {
            let reason = format!("are names of mailboxes, and {MAILBOXES}=off leaves none: keep one of the two");
            self.wrong.push(Wrong {
                mistake: Mistake::new(&value.origin, HIDDEN, reason),
                entry: Entry::Alias,
                address: None,
                is_in_file: false,
            });
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
                    let origin = place.whole();
                    places.insert(alias.address.clone(), place);
                    self.found.aliases.push(DeclaredAlias { alias, origin });
                }
                Err(reason) => self.wrong.push(place.wrong(Entry::Alias, name, &reason, self.site)),
            }
        }
        places
    }

    /// Aliases are no secret.
    fn show_aliases(&mut self, value: &Value) {
        let shown = words::cut(
            &value.raw.split_whitespace().collect::<Vec<_>>().join(" "),
            LONGEST_SHOWN,
        );
        let wrong = self.wrong.iter_mut();
        for wrong in wrong.filter(|wrong| wrong.entry == Entry::Alias && !wrong.is_in_file) {
            wrong.mistake.value.clone_from(&shown);
        }
    }

    /// Each alias leads to somebody, and none in a circle.
    fn check_aliases(&mut self, places: &BTreeMap<String, Place>, live: &Records) {
        let declared = self.found.accounts.iter().map(|account| account.address.text());
        // A wrong account is meant to be one.
        let meant = self.wrong.iter().filter(|wrong| wrong.entry == Entry::Account);
        let meant = meant.filter_map(|wrong| wrong.address.clone());
        let declared: Vec<String> = declared.chain(meant).collect();
        let mut aliases: BTreeMap<&str, &[String]> = live
            .aliases
            .iter()
            .map(|(address, kept)| (address.as_str(), kept.targets.as_slice()))
            .collect();
        let found = self.found.aliases.iter().map(|declared| &declared.alias);
        aliases.extend(found.map(|alias| (alias.address.as_str(), alias.targets.as_slice())));
        let names = Names {
            site: self.site,
            accounts: declared
                .iter()
                .chain(live.accounts.keys())
                .map(String::as_str)
                .collect(),
            aliases,
        };
        let mut wrong = Vec::new();
        for DeclaredAlias { alias, .. } in &self.found.aliases {
            let name = &alias.address;
            let Some(place) = places.get(name) else { continue };
            let targets = alias.targets.iter().filter_map(|target| names.wrong_target(target));
            let circle = names
                .leads_back(name)
                .then(|| "leads back to itself over other aliases".to_owned());
            let reasons = targets.chain(circle);
            wrong.extend(reasons.map(|reason| place.wrong(Entry::Alias, name, &reason, self.site)));
        }
        let names: BTreeSet<&String> = wrong.iter().filter_map(|wrong| wrong.address.as_ref()).collect();
        self.found
            .aliases
            .retain(|declared| !names.contains(&declared.alias.address));
        self.wrong.extend(wrong);
    }
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

/// `user[@domain]:password-or-{SCHEME}hash[:role][:quota=5G]`.
fn account(entry: &str, site: &Site) -> Result<Declared, String> {
    check_quotes(entry)?;
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
    let (role, quota) = role_and_quota(fields)?;
    if quota.is_some() && !site.mailboxes {
        return Err(format!(
            "has a quota, and {MAILBOXES}=off leaves no mailbox: keep one of the two"
        ));
    }
    if let Some(reason) = split_by_lmtp(site, &address.name, quota) {
        return Err(reason);
    }
    Ok(Declared {
        address,
        password,
        role,
        quota,
        origin: String::new(),
    })
}

/// What stands behind the password, in any order.
fn role_and_quota<'a>(fields: impl Iterator<Item = &'a str>) -> Result<(Role, Option<Quota>), String> {
    let (mut role, mut quota) = (Role::User, None);
    for field in fields {
        match field {
            "admin" => role = Role::Administrator,
            "relay" => role = Role::Relay,
            "user" => role = Role::User,
            _ => match field.strip_prefix("quota=") {
                Some(text) => quota = Some(text.parse().map_err(|reason| format!("quota={text}: {reason}"))?),
                None => return Err(other_field(field)),
            },
        }
    }
    Ok((role, quota))
}

/// A list of a compose file takes quotes behind the equals sign for a part of the value.
fn check_quotes(entry: &str) -> Result<(), String> {
    if entry.starts_with(['"', '\'']) {
        return Err(
            "begins with a quotation mark, which is a part of the entry: leave the quotes out (in a compose file: NAME: value, or \
             - NAME=value, without quotes behind the =)"
                .to_owned(),
        );
    }
    Ok(())
}

/// What is wrong with an entry, with what a comma in it may be meant for.
fn with_separator(entry: &str, reason: String) -> String {
    if entry.contains(',') {
        format!("{reason}; {SEPARATORS}")
    } else {
        reason
    }
}

/// What stands between entries.
const SEPARATORS: &str = "between two entries stands a blank or a line break, and no comma";

fn other_field(field: &str) -> String {
    match field.to_ascii_lowercase().parse::<Role>() {
        Ok(role) => format!("the role is written in small letters: {}", role.name()),
        Err(_) => OTHER_FIELD.to_owned(),
    }
}

/// Letters of a variable that are shown.
const LONGEST_SHOWN: usize = 300;

/// It may be a part of the password: it is not shown.
const OTHER_FIELD: &str = "what stands behind the password must be a role (admin, relay or user) or a quota (quota=5G); a \
    password with a colon or a blank in it is given as a hash (doveadm pw)";

/// `alias[@domain]:target[,target…]`, or `@domain:target` for all that is nobody's.
fn alias(entry: &str, site: &Site) -> Result<Alias, String> {
    check_quotes(entry)?;
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
mod tests;
