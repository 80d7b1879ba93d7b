//! Who is somebody here: which addresses lead to a mailbox, over which aliases. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{ADMINISTRATOR_ALIASES, Quota, test_names};
use crate::site::{DELIMITER, Site};
use crate::values::nearest;

/// All addresses of this server.
#[derive(Debug)]
pub struct Names<'a> {
    /// The settings of the site.
    pub site: &'a Site,
    /// Addresses of accounts.
    pub accounts: BTreeSet<&'a str>,
    /// Targets of aliases, by their addresses.
    pub aliases: BTreeMap<&'a str, &'a [String]>,
}

impl Names<'_> {
    /// What is wrong with a target of an alias; nothing where mail to it is delivered, or leaves this server.
    pub fn wrong_target(&self, target: &str) -> Option<String> {
        // Who is in a directory is not known here.
        if !self.is_served(target) || self.site.has_directory || self.is_somebody(target) {
            return None;
        }
        let known = self.accounts.iter().chain(self.aliases.keys()).copied();
        let nearest = nearest(target, known).map(|nearest| format!("; did you mean {nearest}?"));
        Some(format!(
            "{target} is neither an account nor an alias{}",
            nearest.unwrap_or_default()
        ))
    }

    fn is_served(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| self.site.domains().any(|served| served == domain))
    }

    /// Whether mail to an address of ours is delivered. Test accounts have no other beside them.
    fn is_somebody(&self, address: &str) -> bool {
        let (name, _) = split(address);
        let is_test = self.accounts.is_empty()
            && self.site.has_test_accounts()
            && test_names().contains(&self.site.without_extension(name));
        self.is_account(address) || self.alias_of(address).is_some() || ADMINISTRATOR_ALIASES.contains(&name) || is_test
    }

    fn is_account(&self, address: &str) -> bool {
        self.accounts.contains(address) || self.accounts.contains(self.short(address).as_str())
    }

    /// The alias that takes mail to an address: its own, that of the address without extension, or that of the whole domain for
    /// what is nobody's.
    fn alias_of(&self, address: &str) -> Option<(&str, &[String])> {
        let (name, domain) = split(address);
        let of = |address: &str| {
            self.aliases
                .get_key_value(address)
                .map(|(name, targets)| (*name, *targets))
        };
        let own = of(address).or_else(|| of(&self.short(address)));
        let is_nobody = || !self.is_account(address) && !ADMINISTRATOR_ALIASES.contains(&name);
        own.or_else(|| of(&format!("@{domain}")).filter(|_| is_nobody()))
    }

    fn short(&self, address: &str) -> String {
        let (name, domain) = split(address);
        format!("{}@{domain}", self.site.without_extension(name))
    }

    /// Whether mail to an alias comes back to it over at least one other. One that names itself keeps a copy.
    pub fn leads_back(&self, alias: &str) -> bool {
        let mut seen = BTreeSet::new();
        let others = |name: &str, targets: &[String]| {
            let others = targets.iter().filter(|target| *target != name);
            others.cloned().collect::<Vec<_>>()
        };
        let own = self.aliases.get(alias).copied().unwrap_or_default();
        let mut open = others(alias, own);
        while let Some(target) = open.pop() {
            match self.alias_of(&target) {
                Some((next, _)) if next == alias => return true,
                Some((next, targets)) if seen.insert(next) => open.extend(others(next, targets)),
                _ => {}
            }
        }
        false
    }

    /// An alias that would lead nowhere without this address: to it, or to a sub-address of it.
    pub fn led_here(&self, address: &str) -> Option<&str> {
        let leads_here = |target: &String| {
            let is_another = self.accounts.contains(target.as_str()) || self.aliases.contains_key(target.as_str());
            target == address || !is_another && self.short(target) == address
        };
        let mut aliases = self.aliases.iter();
        let led = aliases.find(|(name, targets)| **name != address && targets.iter().any(leads_here));
        led.map(|(name, _)| *name)
    }
}

/// Why mail for an account of this local part would be returned: where Dovecot delivers, it takes what is behind a delimiter for
/// an extension, whoever has such a name.
pub fn split_by_lmtp(site: &Site, name: &str, quota: Option<Quota>) -> Option<String> {
    let is_limited = quota.unwrap_or(site.quota).limit().is_some();
    let delivers = site.mailboxes && site.catch_all().is_none() && (is_limited || site.sieve || site.has_directory);
    (delivers && site.without_extension(name) != name).then(|| {
        format!(
            "{name} holds a sign that begins a sub-address ({DELIMITER}), which Dovecot takes off where it delivers: for accounts with a \
             quota, and for all with filters or a directory of accounts; choose another name"
        )
    })
}

fn split(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap_or((address, ""))
}
