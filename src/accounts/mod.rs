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

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::external::External;
use self::known::Known;
use self::records::Record;
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

/// One account, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a> {
    /// Its full address, lower case.
    pub address: &'a str,
    /// Its local part.
    pub name: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Its password's hash, role and quota.
    pub record: &'a Record,
    /// Its password is public knowledge: logins only from trusted networks.
    pub trusted_networks_only: bool,
}

impl<'a> Account<'a> {
    fn of((address, record): (&'a String, &'a Record)) -> Account<'a> {
        let (name, domain) = split(address);
        Account {
            address,
            name,
            domain,
            record,
            trusted_networks_only: false,
        }
    }

    /// How much it may store on this site, where there is a limit.
    pub fn limit(&self, site: &Site) -> Option<Quota> {
        Some(self.record.quota.unwrap_or(site.quota)).filter(|quota| quota.limit().is_some())
    }

    /// The names under which it logs in: a short one in the primary domain, too.
    pub fn logins(&self, primary_domain: &str) -> Vec<String> {
        let short = (self.domain == primary_domain).then_some(self.name);
        short.into_iter().chain([self.address]).map(str::to_owned).collect()
    }

    /// The home directory: short for the primary domain, as in `/var/mail/admin`.
    pub fn home(&self, primary_domain: &str) -> PathBuf {
        Path::new(MAIL_DIRECTORY).join(&*self.mailbox(primary_domain))
    }

    /// The same, below the directory of all mail: `admin`, or `example.net/admin`.
    pub fn mailbox(&self, primary_domain: &str) -> Cow<'a, str> {
        if self.domain == primary_domain || self.domain.is_empty() {
            self.name.into()
        } else {
            format!("{}/{}", self.domain, self.name).into()
        }
    }

    /// The home directory of an address.
    pub fn home_of(address: &str, primary_domain: &str) -> PathBuf {
        let (name, domain) = split(address);
        let base = PathBuf::from(MAIL_DIRECTORY);
        if domain == primary_domain || domain.is_empty() {
            base.join(name)
        } else {
            base.join(domain).join(name)
        }
    }
}

fn split(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap_or((address, ""))
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
pub struct Directory<'a> {
    /// Domains that have mailboxes, the primary one first.
    pub domains: Vec<&'a str>,
    /// Accounts: those that are declared, by address, then those that were added live.
    pub accounts: Vec<Account<'a>>,
    /// How many of them are declared.
    pub declared: usize,
    /// Addresses that are an account's, which is disabled or no longer declared: nobody else gets their mail.
    pub disabled: BTreeSet<&'a str>,
    /// Aliases; those of roles come beside them.
    pub aliases: Vec<Alias>,
    /// Who is asked about more of them.
    pub external: Option<&'a External>,
}

impl<'a> Directory<'a> {
    /// What is declared and what was added live, a declared one before a live one of its name; `test_accounts` beside them.
    pub fn of(
        site: &'a Site,
        known: &'a Known,
        test_accounts: &'a TestAccounts,
        external: Option<&'a External>,
    ) -> Directory<'a> {
        let Known { declared, live } = known;
        let domains: BTreeSet<&str> = site.domains().collect();
        let is_served = |account: &Account| domains.contains(account.domain);
        let of_live = || live.accounts.iter().filter(|(address, _)| !known.is_shadowed(address));
        let is_enabled = |account: &Account| account.record.enabled && is_served(account);
        let mut accounts = Vec::with_capacity(declared.accounts.len());
        accounts.extend(declared.accounts.iter().map(Account::of).filter(is_enabled));
        let of_declared = accounts.len();
        accounts.extend(of_live().map(Account::of).filter(is_enabled));
        accounts.extend(test_accounts.accounts());
        let all = declared.accounts.iter().chain(of_live());
        let disabled = all.filter(|(_, record)| !record.enabled).map(Account::of);
        let disabled = disabled.filter(is_served).map(|account| account.address);
        // One that is no longer declared may have been added live since.
        let is_added = |address: &str| live.accounts.get(address).is_some_and(|record| record.enabled);
        let is_disabled = |address: &&str| known.is_shadowed(address) || !is_added(address);
        let disabled: BTreeSet<&str> = disabled.filter(is_disabled).collect();
        // An alias goes on without a target that is gone, unless that is its only one.
        let without_disabled = |alias: Alias| {
            let is_left = |target: &&String| !disabled.contains(target.as_str());
            let left: Vec<String> = alias.targets.iter().filter(is_left).cloned().collect();
            let targets = if left.is_empty() { alias.targets } else { left };
            Alias { targets, ..alias }
        };
        let is_served = |alias: &Alias| domains.contains(split(&alias.address).1);
        let is_hidden = |alias: &Alias| declared.aliases.contains_key(&alias.address);
        let of_live = live.all_aliases().filter(|alias| !is_hidden(alias));
        let aliases = declared.all_aliases().chain(of_live);
        Directory {
            domains: site.domains().collect(),
            accounts,
            declared: of_declared,
            aliases: aliases.filter(is_served).map(without_disabled).collect(),
            disabled,
            external,
        }
    }

    /// Whether an address is that of an account.
    pub fn is_account(&self, address: &str) -> bool {
        let (declared, live) = self.accounts.split_at(self.declared);
        let is_among = |accounts: &[Account]| {
            accounts
                .binary_search_by_key(&address, |account| account.address)
                .is_ok()
        };
        is_among(declared) || is_among(live)
    }

    /// Whether there may be a limit for anybody.
    pub fn has_quotas(&self, site: &Site) -> bool {
        self.accounts.iter().any(|account| account.limit(site).is_some()) || self.limits_external(site)
    }

    /// Whether an account of which only the directory knows may have a limit.
    pub fn limits_external(&self, site: &Site) -> bool {
        let external = self.external.filter(|_| site.mailboxes);
        external.is_some_and(|external| site.quota.limit().is_some() || external.has_quotas())
    }

    /// Whose mail is whose: the aliases that are declared, and those of roles for which none is.
    pub fn all_aliases(&self) -> Vec<Alias> {
        let is_administrator = |account: &&Account| account.record.role == Role::Administrator;
        let administrators = self.accounts.iter().filter(is_administrator);
        let targets: Vec<String> = administrators.map(|account| account.address.to_owned()).collect();
        let taken: BTreeSet<&str> = self.aliases.iter().map(|alias| alias.address.as_str()).collect();
        let roles = self.domains.iter().flat_map(|domain| role_addresses(domain));
        let free = roles
            .filter(|address| !targets.is_empty() && !taken.contains(address.as_str()) && !self.is_account(address));
        let of_roles = free.map(|address| Alias {
            address,
            targets: targets.clone(),
        });
        self.aliases.iter().cloned().chain(of_roles).collect()
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

fn role_addresses(domain: &str) -> [String; ADMINISTRATOR_ALIASES.len()] {
    ADMINISTRATOR_ALIASES.map(|role| format!("{role}@{domain}"))
}

/// The test accounts that there are: all of them, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestAccounts(BTreeMap<String, Record>);

impl TestAccounts {
    /// They exist while there never was another account, unless they are off. An error says why a password could not be hashed.
    pub fn beside(known: &Known, site: &Site) -> Result<TestAccounts, String> {
        if known.never_had_accounts() && site.has_test_accounts() {
            TestAccounts::all(&site.domain)
        } else {
            Ok(TestAccounts::default())
        }
    }

    /// All of them, in `domain`.
    pub fn all(domain: &str) -> Result<TestAccounts, String> {
        let account = |(name, clear, role): (&str, &str, Role)| {
            let record = Record {
                hash: password::hash_of_public(clear)?,
                role,
                quota: None,
                enabled: true,
                origin: None,
            };
            Ok((format!("{name}@{domain}"), record))
        };
        TEST_ACCOUNTS
            .into_iter()
            .map(account)
            .collect::<Result<_, _>>()
            .map(TestAccounts)
    }

    /// They, whose passwords are public.
    pub fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.0.iter().map(|account| Account {
            trusted_networks_only: true,
            ..Account::of(account)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_logins_are_short_in_the_primary_domain() {
        let tests = TestAccounts::all("a.test").unwrap();
        let account = tests.accounts().last().unwrap();
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/user"));
        assert_eq!(account.logins("a.test"), ["user", "user@a.test"]);
        let account = Account {
            address: "user@b.test",
            domain: "b.test",
            ..account
        };
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/b.test/user"));
        assert_eq!(Account::home_of("user@b.test", "a.test"), account.home("a.test"));
        assert_eq!(account.logins("a.test"), ["user@b.test"]);
    }
}
