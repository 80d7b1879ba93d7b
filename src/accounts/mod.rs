//! Accounts: virtual users, stored under their full address.

pub mod address;
pub mod entries;
pub mod external;
pub mod password;
pub mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use self::entries::{Declaration, Declared, Password};
use self::external::External;
use crate::layout::{MAIL_DIRECTORY, USERS_FILE};
use crate::site::Site;

/// What an account may do beyond reading its own mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives mail for postmaster, abuse and the like.
    Administrator,
    /// May send with any sender address.
    Relay,
    /// Sends as itself and its aliases.
    User,
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
}

impl Account {
    /// The full address.
    pub fn address(&self) -> String {
        format!("{}@{}", self.name, self.domain)
    }

    /// The names under which it logs in: a short one in the primary domain, too.
    pub fn logins(&self, primary_domain: &str) -> Vec<String> {
        let short = (self.domain == primary_domain).then(|| self.name.clone());
        short.into_iter().chain([self.address()]).collect()
    }

    /// The home directory: short for the primary domain, as in `/var/mail/admin`.
    pub fn home(&self, primary_domain: &str) -> PathBuf {
        let base = PathBuf::from(MAIL_DIRECTORY);
        if self.domain == primary_domain {
            base.join(&self.name)
        } else {
            base.join(&self.domain).join(&self.name)
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
    /// Aliases that were declared; those of roles come beside them.
    pub aliases: Vec<Alias>,
    /// Who is asked about more of them.
    pub external: Option<External>,
}

impl Directory {
    /// What is declared; where that is no account and no directory is asked, the test accounts, unless they are off. `kept` are the hashes of an earlier
    /// start: one that still fits is used again. An error says why a password could not be hashed.
    pub fn of(site: &Site, declaration: &Declaration, kept: &Hashes) -> Result<Directory, String> {
        let accounts = match declaration.accounts.as_slice() {
            [] if site.test_accounts && declaration.external.is_none() => test_accounts(&site.domain, kept)?,
            [] => Vec::new(),
            declared => hashed(declared, kept)?,
        };
        Ok(Directory {
            domains: site.domains().map(str::to_owned).collect(),
            accounts,
            aliases: declaration.aliases.clone(),
            external: declaration.external.clone(),
        })
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

/// Hashes the passwords that are given in clear, on all processors: one takes some 50 ms.
fn hashed(declared: &[Declared], kept: &Hashes) -> Result<Vec<Account>, String> {
    let account = |declared: &Declared| {
        let address = declared.address.text();
        let hash = match &declared.password {
            Password::Hash(hash) => hash.clone(),
            Password::Clear(clear) => {
                let hash = kept.or_new(&address, clear, password::hash);
                hash.map_err(|reason| format!("{address}: {reason}"))?
            }
        };
        Ok(Account {
            name: declared.address.name.clone(),
            domain: declared.address.domain.clone(),
            role: declared.role,
            hash,
            trusted_networks_only: false,
        })
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = declared.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let shares = declared.chunks(share);
        let works: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(account).collect::<Result<Vec<_>, String>>()))
            .collect();
        let mut accounts = Vec::with_capacity(declared.len());
        for work in works {
            accounts.extend(work.join().map_err(|_| "a password cannot be hashed".to_owned())??);
        }
        Ok(accounts)
    })
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

/// The test accounts, in `domain`. `kept` are the hashes of an earlier start: one that still fits is used again.
pub fn test_accounts(domain: &str, kept: &Hashes) -> Result<Vec<Account>, String> {
    let account = |(name, clear, role): (&str, &str, Role)| {
        let address = format!("{name}@{domain}");
        let hash = kept.or_new(&address, clear, password::hash_of_public)?;
        Ok(Account {
            name: name.to_owned(),
            domain: domain.to_owned(),
            role,
            hash,
            trusted_networks_only: true,
        })
    };
    TEST_ACCOUNTS.into_iter().map(account).collect()
}

/// Password hashes by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// Those that an earlier start has made; none at the first.
    pub fn kept() -> Hashes {
        Hashes::from_passwd_file(&std::fs::read_to_string(USERS_FILE).unwrap_or_default())
    }

    /// The one of this address that fits its password, or else a new one.
    fn or_new(&self, address: &str, clear: &str, new: fn(&str) -> Result<String, String>) -> Result<String, String> {
        let kept = self.0.get(address).filter(|hash| password::verifies(clear, hash));
        kept.map_or_else(|| new(clear), |hash| Ok(hash.clone()))
    }

    /// Reads them from a passwd-file (Dovecot docs, "Passwd-file").
    pub fn from_passwd_file(text: &str) -> Hashes {
        let entry = |line: &str| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        };
        Hashes(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(entry)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kept_while_they_fit() {
        let first = test_accounts("metabuilder.local", &Hashes::default()).unwrap();
        let file = format!(
            "# header\n{}:{}:5000:5000::/var/mail/admin::\n",
            first[0].address(),
            first[0].hash
        );
        let second = test_accounts("metabuilder.local", &Hashes::from_passwd_file(&file)).unwrap();
        assert_eq!(first[0].hash, second[0].hash);
        assert_ne!(first[1].hash, second[1].hash, "another salt");
    }

    #[test]
    fn homes_and_logins_are_short_in_the_primary_domain() {
        let mut account = test_accounts("a.test", &Hashes::default()).unwrap().remove(2);
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/user"));
        assert_eq!(account.logins("a.test"), ["user", "user@a.test"]);
        account.domain = "b.test".into();
        assert_eq!(account.home("a.test"), PathBuf::from("/var/mail/b.test/user"));
        assert_eq!(account.logins("a.test"), ["user@b.test"]);
    }
}
