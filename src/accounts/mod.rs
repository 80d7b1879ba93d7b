//! Accounts: virtual users, stored under their full address.

pub mod address;
pub mod change;
pub mod declared;
pub mod entries;
pub mod external;
pub mod import;
pub mod known;
pub mod names;
pub mod password;
pub mod records;
pub mod rename;
pub mod statement;
pub mod url;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::external::External;
use self::known::Known;
use self::records::{Record, Records};
use crate::layout::MAIL_DIRECTORY;
use crate::site::Site;
pub use crate::values::quota::Quota;

/// What an account may do beyond reading its own mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Receives mail for postmaster, abuse and the like.
    #[serde(rename = "admin")]
    Administrator,
    /// May send with any sender address.
    Relay,
    /// Sends as itself and its aliases.
    #[default]
    User,
}

impl Role {
    /// Its name in entries, files and commands.
    pub fn name(self) -> &'static str {
        match self {
            Role::Administrator => "admin",
            Role::Relay => "relay",
            Role::User => "user",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let mut roles = [Role::Administrator, Role::Relay, Role::User].into_iter();
        let found = roles.find(|role| role.name() == text);
        found.ok_or_else(|| "must be admin, relay or user".to_owned())
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Local part, lower case.
    pub name: String,
    /// Domain, lower case.
    pub domain: String,
    /// What it may do.
    pub role: Role,
    /// The hash of its password, as `{SHA512-CRYPT}$6$…`.
    pub hash: String,
    /// Its password is public knowledge: logins only from trusted networks.
    pub trusted_networks_only: bool,
    /// How much it may store, where that is said of it alone.
    pub quota: Option<Quota>,
}

impl Account {
    /// As it is kept.
    fn of(address: &str, record: &Record) -> Account {
        let (name, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        Account {
            name: name.to_owned(),
            domain: domain.to_owned(),
            role: record.role,
            hash: record.hash.clone(),
            trusted_networks_only: false,
            quota: record.quota,
        }
    }

    /// The full address.
    pub fn address(&self) -> String {
        format!("{}@{}", self.name, self.domain)
    }

    /// How much it may store on this site, where there is a limit.
    pub fn limit(&self, site: &Site) -> Option<Quota> {
        Some(self.quota.unwrap_or(site.quota)).filter(|quota| quota.limit().is_some())
    }

    /// The names under which it logs in: a short one in the primary domain, too.
    pub fn logins(&self, primary_domain: &str) -> Vec<String> {
        let short = (self.domain == primary_domain).then(|| self.name.clone());
        short.into_iter().chain([self.address()]).collect()
    }

    /// The home directory: short for the primary domain, as in `/var/mail/admin`.
    pub fn home(&self, primary_domain: &str) -> PathBuf {
        Account::home_of(&self.address(), primary_domain)
    }

    /// The home directory of an address.
    pub fn home_of(address: &str, primary_domain: &str) -> PathBuf {
        let base = PathBuf::from(MAIL_DIRECTORY);
        match address.rsplit_once('@') {
            Some((name, domain)) if domain != primary_domain => base.join(domain).join(name),
            Some((name, _)) => base.join(name),
            None => base.join(address),
        }
    }
}

/// An alias: mail for its address goes to its targets instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// A full address, or `@domain` for all that is nobody's there.
    pub address: String,
    /// Full addresses, here or elsewhere.
    pub targets: Vec<String>,
}

/// All that has mail here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Domains that have mailboxes, the primary one first.
    pub domains: Vec<String>,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Addresses that are an account's, which is disabled or no longer declared: nobody else gets their mail.
    pub disabled: Vec<String>,
    /// Aliases; those of roles come beside them.
    pub aliases: Vec<Alias>,
    /// Who is asked about more of them.
    pub external: Option<External>,
}

impl Directory {
    /// What is declared and what was added live, a declared one before a live one of its name; where there is no account at all,
    /// the test accounts, unless they are off. An error says why a password could not be hashed.
    pub fn of(site: &Site, known: &Known, external: Option<&External>) -> Result<Directory, String> {
        let Known { declared, live } = known;
        let is_served = |address: &str| {
            let domain = address.rsplit_once('@').map(|(_, domain)| domain);
            domain.is_some_and(|domain| site.domains().any(|served| served == domain))
        };
        let of_live = live.accounts.iter().filter(|(address, _)| !known.is_shadowed(address));
        let accounts = declared.accounts.iter().chain(of_live);
        let accounts = accounts.filter(|(address, record)| record.enabled && is_served(address));
        let mut accounts: Vec<Account> = accounts.map(|(address, record)| Account::of(address, record)).collect();
        if known.never_had_accounts() && site.has_test_accounts() {
            accounts = test_accounts(&site.domain)?;
        }
        let is_enabled =
            |records: &Records, address: &String| records.accounts.get(address).is_some_and(|record| record.enabled);
        let all = declared.accounts.iter().chain(&live.accounts);
        let disabled: BTreeSet<&String> = all
            .filter(|(address, record)| !record.enabled && is_served(address))
            .map(|(address, _)| address)
            .filter(|address| !is_enabled(declared, address))
            .filter(|address| known.is_shadowed(address) || !is_enabled(live, address))
            .collect();
        // An alias goes on without a target that is gone, unless that is its only one.
        let without_disabled = |alias: Alias| {
            let left: Vec<String> = alias
                .targets
                .iter()
                .filter(|target| !disabled.contains(target))
                .cloned()
                .collect();
            let targets = if left.is_empty() { alias.targets } else { left };
            Alias { targets, ..alias }
        };
        let is_hidden = |alias: &Alias| declared.aliases.contains_key(&alias.address);
        let of_live = live.all_aliases().filter(|alias| !is_hidden(alias));
        let aliases = declared.all_aliases().chain(of_live);
        Ok(Directory {
            domains: site.domains().map(str::to_owned).collect(),
            accounts,
            aliases: aliases
                .filter(|alias| is_served(&alias.address))
                .map(without_disabled)
                .collect(),
            disabled: disabled.into_iter().cloned().collect(),
            external: external.cloned(),
        })
    }

    /// Whether there may be a limit for anybody.
    pub fn has_quotas(&self, site: &Site) -> bool {
        self.accounts.iter().any(|account| account.limit(site).is_some()) || self.limits_external(site)
    }

    /// Whether an account of which only the directory knows may have a limit.
    pub fn limits_external(&self, site: &Site) -> bool {
        let external = self.external.as_ref().filter(|_| site.mailboxes);
        external.is_some_and(|external| site.quota.limit().is_some() || external.has_quotas())
    }

    /// Whose mail is whose: the aliases that are declared, and those of roles for which none is.
    pub fn all_aliases(&self) -> Vec<Alias> {
        let taken: BTreeSet<&str> = self.aliases.iter().map(|alias| alias.address.as_str()).collect();
        let addresses: BTreeSet<String> = self.accounts.iter().map(Account::address).collect();
        let administrators = self
            .accounts
            .iter()
            .filter(|account| account.role == Role::Administrator);
        let targets: Vec<String> = administrators.map(Account::address).collect();
        let roles = self.domains.iter().flat_map(|domain| {
            ADMINISTRATOR_ALIASES.map(|role| Alias {
                address: format!("{role}@{domain}"),
                targets: targets.clone(),
            })
        });
        let is_free = |alias: &Alias| {
            !targets.is_empty() && !taken.contains(alias.address.as_str()) && !addresses.contains(&alias.address)
        };
        self.aliases.iter().cloned().chain(roles.filter(is_free)).collect()
    }
}

/// The accounts that exist while there are no others: their passwords stand in the README.
const TEST_ACCOUNTS: [(&str, &str, Role); 3] = [
    ("admin", "adminpass123", Role::Administrator),
    ("relay", "relaypass123", Role::Relay),
    ("user", "userpass123", Role::User),
];

/// The names of the test accounts.
pub fn test_names() -> [&'static str; 3] {
    TEST_ACCOUNTS.map(|(name, ..)| name)
}

/// The local parts whose mail goes to the administrator (RFC 2142); answers to bounces are addressed to the last.
pub const ADMINISTRATOR_ALIASES: [&str; 5] = ["postmaster", "abuse", "hostmaster", "root", "mailer-daemon"];

/// The test accounts, in `domain`.
pub fn test_accounts(domain: &str) -> Result<Vec<Account>, String> {
    let account = |(name, clear, role): (&str, &str, Role)| {
        Ok(Account {
            name: name.to_owned(),
            domain: domain.to_owned(),
            role,
            hash: password::hash_of_public(clear)?,
            trusted_networks_only: true,
            quota: None,
        })
    };
    TEST_ACCOUNTS.into_iter().map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_logins_are_short_in_the_primary_domain() {
        let mut account = test_accounts("a.test").unwrap().remove(2);
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/user"));
        assert_eq!(account.logins("a.test"), ["user", "user@a.test"]);
        account.domain = "b.test".into();
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/b.test/user"));
        assert_eq!(account.logins("a.test"), ["user@b.test"]);
    }
}
