//! One change of what was added live, as the command line asks for it. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::known::Known;
use super::names::{Names, split_by_lmtp};
use super::records::{Record, Records, Targets};
use super::{Quota, Role, password};
use crate::site::{MAILBOXES, Site};
use crate::values::{counted, domain, nearest};

/// What shall change. Addresses are as the user wrote them; passwords are hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new account.
    AddAccount {
        /// Its address.
        address: String,
        /// The hash of its password.
        hash: String,
        /// What it may do.
        role: Role,
        /// How much it may store, where that is said of it alone.
        quota: Option<Quota>,
    },
    /// Another password, role or quota; what is none stays.
    SetAccount {
        /// Its address.
        address: String,
        /// The hash of its password.
        hash: Option<String>,
        /// What it may do.
        role: Option<Role>,
        /// How much it may store.
        quota: Option<Quota>,
    },
    /// Neither logins nor mail, or both again.
    EnableAccount {
        /// Its address.
        address: String,
        /// Whether it is enabled.
        enabled: bool,
    },
    /// It is no account any more; its mail stays where it is.
    RemoveAccount {
        /// Its address.
        address: String,
    },
    /// A new alias, or more targets of one.
    AddAlias {
        /// Its address, or `@domain`.
        address: String,
        /// Where its mail goes.
        targets: Vec<String>,
    },
    /// An alias less, or only some of its targets where they are named.
    RemoveAlias {
        /// Its address, or `@domain`.
        address: String,
        /// Targets that go; none for the whole alias.
        targets: Vec<String>,
    },
    /// A new domain.
    AddDomain {
        /// Its name.
        domain: String,
    },
    /// A domain less.
    RemoveDomain {
        /// Its name.
        domain: String,
    },
    /// Accounts, aliases and domains that come from elsewhere.
    Import {
        /// All of them, by full addresses.
        records: Records,
        /// Those that are there are replaced; otherwise they are a mistake.
        replace: bool,
    },
}

impl Change {
    /// Makes the change, and returns it in words. An error says why it cannot be made; nothing has changed then.
    pub fn apply(self, known: &mut Known, site: &Site) -> Result<String, String> {
        let mut changed = Changed {
            site,
            known: known.clone(),
        };
        let said = match self {
            Change::AddAccount {
                address,
                hash,
                role,
                quota,
            } => changed.add_account(&address, hash, role, quota),
            Change::SetAccount {
                address,
                hash,
                role,
                quota,
            } => changed.set_account(&address, hash, role, quota),
            Change::EnableAccount { address, enabled } => changed.enable_account(&address, enabled),
            Change::RemoveAccount { address } => changed.remove_account(&address),
            Change::AddAlias { address, targets } => changed.add_alias(&address, &targets),
            Change::RemoveAlias { address, targets } => changed.remove_alias(&address, &targets),
            Change::AddDomain { domain } => changed.add_domain(&domain),
            Change::RemoveDomain { domain } => changed.remove_domain(&domain),
            Change::Import { records, replace } => changed.import(&records, replace).map_err(|objections| {
                let lines = objections
                    .iter()
                    .map(|(address, reason)| format!("{address}: {reason}"));
                lines.collect::<Vec<_>>().join("\n")
            }),
        }?;
        changed.known.live.had_accounts |= !known.is_without_accounts();
        *known = changed.known;
        Ok(said)
    }
}

/// An address, or a domain, and why it cannot be imported.
pub type Objection = (String, String);

/// What an import would be, in words, or all that is in its way.
pub fn rehearse_import(records: &Records, replace: bool, known: &Known, site: &Site) -> Result<String, Vec<Objection>> {
    let known = known.clone();
    Changed { site, known }.import(records, replace)
}

/// The domains that records need: their own, and those of their addresses.
fn domains_of(records: &Records) -> BTreeSet<String> {
    let addresses = records.accounts.keys().chain(records.aliases.keys());
    let of_addresses = addresses.filter_map(|address| address.rsplit_once('@'));
    let of_addresses = of_addresses.map(|(_, domain)| domain.to_owned());
    of_addresses.chain(records.domains.iter().cloned()).collect()
}

/// How many accounts and aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    accounts: usize,
    aliases: usize,
}

impl Counts {
    fn of(records: &Records) -> Counts {
        Counts {
            accounts: records.accounts.len(),
            aliases: records.aliases.len(),
        }
    }

    /// Of those that stand in others in the same way.
    fn of_equal(records: &Records, others: &Records) -> Counts {
        let accounts = records.accounts.iter();
        let aliases = records.aliases.iter();
        Counts {
            accounts: accounts
                .filter(|(address, record)| others.accounts.get(*address) == Some(*record))
                .count(),
            aliases: aliases
                .filter(|(address, targets)| others.aliases.get(*address) == Some(*targets))
                .count(),
        }
    }

    fn without(self, others: Counts) -> Counts {
        Counts {
            accounts: self.accounts - others.accounts,
            aliases: self.aliases - others.aliases,
        }
    }

    fn is_none(self) -> bool {
        self.accounts + self.aliases == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = counted(self.accounts, "account", "accounts");
        let aliases = counted(self.aliases, "alias", "aliases");
        write!(f, "{accounts} and {aliases}")
    }
}

/// What an import did, in words.
fn imported(all: Counts, there: Counts, domains: &[String]) -> String {
    if all == there && domains.is_empty() {
        return format!("nothing changes: {there} are there already");
    }
    let already = if there.is_none() {
        String::new()
    } else {
        format!("; {there} are there already")
    };
    let domains = match domains {
        [] => String::new(),
        domains => format!("; new domains: {}", domains.join(", ")),
    };
    format!("{} are imported{already}{domains}", all.without(there))
}

fn gets_mail_of(name: &str, alias: &str) -> String {
    format!("{name} gets the mail of {alias}: remove or change that alias first")
}

fn no_aliases() -> String {
    format!("aliases are names of mailboxes, and {MAILBOXES}=off leaves none")
}

/// It leads to somebody, and not in a circle.
fn check_alias_among(names: &Names<'_>, address: &str) -> Result<(), String> {
    let targets = names.aliases.get(address).copied().unwrap_or_default();
    if let Some(reason) = targets.iter().find_map(|target| names.wrong_target(target)) {
        return Err(reason);
    }
    if names.leads_back(address) {
        return Err("leads back to itself over other aliases".to_owned());
    }
    Ok(())
}

struct Changed<'a> {
    site: &'a Site,
    known: Known,
}

impl Changed<'_> {
    fn add_account(&mut self, name: &str, hash: String, role: Role, quota: Option<Quota>) -> Result<String, String> {
        let address = self.address(name)?;
        self.may_be_changed(&address)?;
        if self.known.live.accounts.contains_key(&address) {
            return Err(format!(
                "{address} is there already: mailroom account passwd gives it another password"
            ));
        }
        self.is_free(&address)?;
        password::check_scheme(&hash).map_err(|reason| format!("{address}: the password {reason}"))?;
        self.is_delivered(&address, quota)?;
        let record = Record {
            hash,
            role,
            quota,
            enabled: true,
            origin: None,
        };
        let was_first = self.known.never_had_accounts() && self.site.has_test_accounts();
        self.known.live.accounts.insert(address.clone(), record);
        let gone = if was_first { "; the test accounts are gone" } else { "" };
        let taken = self.taken(&address);
        Ok(format!("{address} is added ({}){gone}{taken}", role.name()))
    }

    fn set_account(
        &mut self,
        name: &str,
        hash: Option<String>,
        role: Option<Role>,
        quota: Option<Quota>,
    ) -> Result<String, String> {
        let address = self.address(name)?;
        if let Some(hash) = &hash {
            password::check_scheme(hash).map_err(|reason| format!("{address}: the password {reason}"))?;
        }
        let what = match (&hash, role, quota) {
            (Some(_), None, None) => "has another password".to_owned(),
            (None, Some(role), None) => format!("has the role {}", role.name()),
            (None, None, Some(quota)) => format!("has the quota {quota}"),
            _ => "is changed".to_owned(),
        };
        if quota.is_some() {
            self.is_delivered(&address, quota)?;
        }
        let account = self.account(&address)?;
        account.hash = hash.unwrap_or_else(|| account.hash.clone());
        account.role = role.unwrap_or(account.role);
        account.quota = quota.or(account.quota);
        Ok(format!("{address} {what}"))
    }

    fn enable_account(&mut self, name: &str, enabled: bool) -> Result<String, String> {
        let address = self.address(name)?;
        let account = self.account(&address)?;
        account.enabled = enabled;
        if enabled {
            return Ok(format!("{address} is enabled"));
        }
        Ok(format!(
            "{address} is disabled: it neither logs in nor gets mail; its mail is kept"
        ))
    }

    fn remove_account(&mut self, name: &str) -> Result<String, String> {
        // What is kept can go, also where its domain has gone.
        let read = Address::read(name, &self.site.domain).map_err(|reason| format!("{name}: {reason}"))?;
        let address = read.text();
        let Known { declared, live } = &self.known;
        if !declared.accounts.contains_key(&address) && !live.accounts.contains_key(&address) {
            self.served(&read.domain)?;
        }
        if let Some(alias) = self.names().led_here(&address) {
            return Err(gets_mail_of(&address, alias));
        }
        let is_left = |record: &Record| record.origin.is_none();
        if self.known.declared.accounts.get(&address).is_some_and(is_left) {
            Arc::make_mut(&mut self.known.declared).accounts.remove(&address);
            self.known.live.accounts.remove(&address);
        } else {
            self.account(&address)?;
            self.known.live.accounts.remove(&address);
        }
        let was_last = self.known.is_without_accounts() && !self.site.has_directory;
        let left = if was_last { "; no account is left" } else { "" };
        Ok(format!("{address} is removed{left}"))
    }

    fn add_alias(&mut self, name: &str, targets: &[String]) -> Result<String, String> {
        if !self.site.mailboxes {
            return Err(no_aliases());
        }
        let address = self.alias_address(name)?;
        self.alias_may_be_changed(&address)?;
        let targets = self.targets(targets)?;
        let new = Targets {
            targets: Vec::new(),
            origin: None,
        };
        let alias = self.known.live.aliases.entry(address.clone()).or_insert(new);
        for target in targets {
            if !alias.targets.contains(&target) {
                alias.targets.push(target);
            }
        }
        let said = format!("{address} leads to {}", alias.targets.join(", "));
        check_alias_among(&self.names(), &address).map_err(|reason| format!("{address}: {reason}"))?;
        Ok(said + &self.taken(&address))
    }

    fn remove_alias(&mut self, name: &str, targets: &[String]) -> Result<String, String> {
        let address = self.alias_address(name)?;
        self.alias_may_be_changed(&address)?;
        let targets = self.targets(targets)?;
        let known = self.known.live.aliases.keys().map(String::as_str);
        let nearest = nearest(&address, known).map(|nearest| format!("; did you mean {nearest}?"));
        let missing = || format!("{address} is no alias{}", nearest.unwrap_or_default());
        let alias = self.known.live.aliases.get_mut(&address).ok_or_else(missing)?;
        if let Some(missing) = targets.iter().find(|target| !alias.targets.contains(target)) {
            return Err(format!("{address} does not lead to {missing}"));
        }
        alias.targets.retain(|target| !targets.contains(target));
        if !targets.is_empty() && !alias.targets.is_empty() {
            return Ok(format!("{address} leads to {}", alias.targets.join(", ")));
        }
        let led = self.names().led_here(&address).map(str::to_owned);
        if let Some(alias) = led.filter(|_| !self.known.is_account(&address)) {
            return Err(gets_mail_of(&address, &alias));
        }
        let was_right = self.right_targets();
        self.known.live.aliases.remove(&address);
        let names = self.names();
        let lost = was_right
            .iter()
            .find(|(_, target)| names.wrong_target(target).is_some());
        if let Some((alias, _)) = lost.filter(|(alias, _)| *alias != address) {
            return Err(gets_mail_of(&address, alias));
        }
        Ok(format!("{address} is removed"))
    }

    fn add_domain(&mut self, name: &str) -> Result<String, String> {
        let domain = domain::read(name).map_err(|reason| format!("{name} {reason}"))?;
        if self.site.domains().any(|served| served == domain) {
            return Err(format!("{domain} is a domain of this server already"));
        }
        let mut accounts = self
            .known
            .declared
            .accounts
            .keys()
            .chain(self.known.live.accounts.keys());
        let home = format!("{domain}@{}", self.site.domain);
        if accounts.any(|address| *address == home) {
            return Err(format!(
                "{domain} is the name of the account {home}, whose mail lies where that of the domain would"
            ));
        }
        self.known.live.domains.insert(domain.clone());
        Ok(format!("{domain} is added"))
    }

    fn remove_domain(&mut self, name: &str) -> Result<String, String> {
        let domain = domain::read(name).map_err(|reason| format!("{name} {reason}"))?;
        if !self.known.live.domains.contains(&domain) {
            let is_served = self.site.domains().any(|served| served == domain);
            let why = if is_served {
                "is set by POSTFIX_MYDOMAIN or MAILROOM_DOMAINS: change it there"
            } else {
                "is no domain of this server"
            };
            return Err(format!("{domain} {why}"));
        }
        let end = format!("@{domain}");
        let names = self.names();
        let mut there = names.accounts.iter().chain(names.aliases.keys());
        if let Some(first) = there.find(|address| address.ends_with(&end)) {
            return Err(format!("{domain} has {first}: remove its accounts and aliases first"));
        }
        // Its mail would leave this server, for whoever has that domain elsewhere.
        let leads_there = |targets: &&[String]| targets.iter().any(|target| target.ends_with(&end));
        if let Some((alias, _)) = names.aliases.iter().find(|(_, targets)| leads_there(targets)) {
            return Err(gets_mail_of(&domain, alias));
        }
        self.known.live.domains.remove(&domain);
        Ok(format!("{domain} is removed"))
    }

    /// Everything, or nothing. What is there already as it is imported is no mistake.
    fn import(&mut self, records: &Records, replace: bool) -> Result<String, Vec<Objection>> {
        let there = Counts::of_equal(records, &self.known.live);
        let mut objections = Vec::new();
        let mut object = |address: &str, checked: Result<(), String>| {
            if let Err(reason) = checked {
                objections.push((address.to_owned(), reason));
            }
        };
        let mut added = Vec::new();
        for domain in domains_of(records) {
            let live = &self.known.live.domains;
            if self.site.domains().all(|served| served != domain) && !live.contains(&domain) {
                object(&domain, self.add_domain(&domain).map(drop));
                added.push(domain);
            }
        }
        for (address, record) in &records.accounts {
            object(address, self.import_account(address, record, replace));
        }
        for (address, targets) in &records.aliases {
            object(address, self.import_alias(address, targets, replace));
        }
        for address in records.accounts.keys() {
            object(address, self.is_free(address));
        }
        let names = self.names();
        for address in records.aliases.keys() {
            object(address, check_alias_among(&names, address));
        }
        if !objections.is_empty() {
            return Err(objections);
        }
        Ok(imported(Counts::of(records), there, &added))
    }

    fn import_account(&mut self, address: &str, record: &Record, replace: bool) -> Result<(), String> {
        self.may_be_changed(address)?;
        password::check_scheme(&record.hash).map_err(|reason| format!("the password {reason}"))?;
        self.is_delivered(address, record.quota)?;
        let old = self.known.live.accounts.insert(address.to_owned(), record.clone());
        if old.is_some_and(|old| old != *record) && !replace {
            return Err("is there already: --replace takes the imported one".to_owned());
        }
        Ok(())
    }

    fn import_alias(&mut self, address: &str, targets: &Targets, replace: bool) -> Result<(), String> {
        if !self.site.mailboxes {
            return Err(no_aliases());
        }
        self.alias_may_be_changed(address)?;
        let old = self.known.live.aliases.insert(address.to_owned(), targets.clone());
        if old.is_some_and(|old| old != *targets) && !replace {
            return Err("is there already with other targets: --replace takes the imported ones".to_owned());
        }
        Ok(())
    }

    /// A full address in a domain of this server.
    fn address(&self, name: &str) -> Result<String, String> {
        let address = Address::read(name, &self.site.domain).map_err(|reason| format!("{name}: {reason}"))?;
        self.served(&address.domain)?;
        Ok(address.text())
    }

    fn alias_address(&self, name: &str) -> Result<String, String> {
        let Some(domain) = name.strip_prefix('@') else {
            return self.address(name);
        };
        let domain = domain.to_ascii_lowercase();
        self.served(&domain)?;
        Ok(format!("@{domain}"))
    }

    fn served(&self, domain: &str) -> Result<(), String> {
        let live = self.known.live.domains.iter().map(String::as_str);
        let new = live.filter(|domain| self.site.domains().all(|served| served != *domain));
        let domains: Vec<&str> = self.site.domains().chain(new).collect();
        if domains.contains(&domain) {
            return Ok(());
        }
        Err(format!(
            "{domain} is no domain of this server, which has {}: mailroom domain add {domain} adds it",
            domains.join(", ")
        ))
    }

    fn targets(&self, names: &[String]) -> Result<Vec<String>, String> {
        let target = |name: &String| {
            let address = Address::read(name, &self.site.domain);
            address
                .map(|address| address.text())
                .map_err(|reason| format!("{name}: {reason}"))
        };
        names.iter().map(target).collect()
    }

    /// Aliases, each with a target that mail is delivered to.
    fn right_targets(&self) -> Vec<(String, String)> {
        let names = self.names();
        let targets = names
            .aliases
            .iter()
            .flat_map(|(alias, targets)| targets.iter().map(move |target| (*alias, target)));
        let right = targets.filter(|(_, target)| names.wrong_target(target).is_none());
        right
            .map(|(alias, target)| (alias.to_owned(), target.clone()))
            .collect()
    }

    /// What is declared is changed where it is declared.
    fn may_be_changed(&self, address: &str) -> Result<(), String> {
        let declared = self.known.declared.accounts.get(address);
        match declared.and_then(|record| record.origin.as_ref()) {
            Some(origin) => Err(format!("{address} is declared in {origin}: change it there")),
            None => Ok(()),
        }
    }

    fn alias_may_be_changed(&self, address: &str) -> Result<(), String> {
        let declared = self.known.declared.aliases.get(address);
        match declared.and_then(|targets| targets.origin.as_ref()) {
            Some(origin) => Err(format!("the alias {address} is declared in {origin}: change it there")),
            None => Ok(()),
        }
    }

    fn is_delivered(&self, address: &str, quota: Option<Quota>) -> Result<(), String> {
        let (name, _) = address.rsplit_once('@').unwrap_or((address, ""));
        split_by_lmtp(self.site, name, quota).map_or(Ok(()), Err)
    }

    /// Mail to a sub-address of one account must not be another's, and no mailbox lies where a domain's do.
    fn is_free(&self, address: &str) -> Result<(), String> {
        let (name, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let base = format!("{}@{domain}", self.site.without_extension(name));
        if base != address && self.known.is_account(&base) {
            return Err(format!(
                "{address} is a sub-address of {base} (POSTFIX_RECIPIENT_DELIMITER): choose another name"
            ));
        }
        let end = format!("@{domain}");
        for delimiter in self.site.recipient_delimiter.chars() {
            let begin = format!("{name}{delimiter}");
            let mut others = self.known.beginning_with(&begin);
            if let Some(other) = others.find(|other| other.ends_with(&end)) {
                return Err(format!(
                    "{other} would be a sub-address of {address} (POSTFIX_RECIPIENT_DELIMITER): choose another name"
                ));
            }
        }
        let live = self.known.live.domains.iter().map(String::as_str);
        if self.site.domains().chain(live).any(|domain| domain == name) {
            return Err(format!(
                "{name} is the name of a domain, whose mailboxes lie there: choose another one"
            ));
        }
        Ok(())
    }

    /// What is to be said where an alias of this name takes the mail of the account.
    fn taken(&self, address: &str) -> String {
        let Known { declared, live } = &self.known;
        let alias = declared.aliases.get(address).or_else(|| live.aliases.get(address));
        let takes_all = alias.is_some_and(|alias| alias.targets.iter().all(|target| target != address));
        if !takes_all || !self.known.is_account(address) {
            return String::new();
        }
        format!(
            "; the alias {address} takes all mail of the account {address}: with the account among its targets that gets a copy"
        )
    }

    /// A live account, for a change.
    fn account(&mut self, address: &str) -> Result<&mut Record, String> {
        self.may_be_changed(address)?;
        let is_there = self.known.live.accounts.contains_key(address);
        let nearest = (!is_there).then(|| nearest(address, self.names().accounts.into_iter()));
        let nearest = nearest.flatten().map(|nearest| format!("; did you mean {nearest}?"));
        let missing = || format!("{address} is no account{}", nearest.unwrap_or_default());
        self.known.live.accounts.get_mut(address).ok_or_else(missing)
    }

    fn names(&self) -> Names<'_> {
        let Known { declared, live } = &self.known;
        let aliases = live.aliases.iter().chain(&declared.aliases);
        let is_declared = |(_, record): &(&String, &Record)| record.origin.is_some();
        let accounts = declared.accounts.iter().filter(is_declared).map(|(address, _)| address);
        Names {
            site: self.site,
            accounts: accounts.chain(live.accounts.keys()).map(String::as_str).collect(),
            aliases: aliases
                .map(|(address, kept)| (address.as_str(), kept.targets.as_slice()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
