//! Accounts: virtual users, stored under their full address.

use std::collections::BTreeMap;
use std::path::PathBuf;

use password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use sha_crypt::{Params, ShaCrypt};

use crate::layout::{MAIL_DIRECTORY, USERS_FILE};

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

/// The accounts that exist while there are no others: their passwords stand in the README.
const TEST_ACCOUNTS: [(&str, &str, Role); 3] = [
    ("admin", "adminpass123", Role::Administrator),
    ("relay", "relaypass123", Role::Relay),
    ("user", "userpass123", Role::User),
];

/// The names of all accounts.
pub fn names() -> [&'static str; 3] {
    TEST_ACCOUNTS.map(|(name, ..)| name)
}

/// The local parts whose mail goes to the administrator (RFC 2142); answers to bounces are addressed to the last.
pub const ADMINISTRATOR_ALIASES: [&str; 5] = ["postmaster", "abuse", "hostmaster", "root", "mailer-daemon"];

/// The test accounts, in `domain`. `kept` are the hashes of an earlier start: one that still fits is used again.
pub fn test_accounts(domain: &str, kept: &Hashes) -> Result<Vec<Account>, String> {
    let account = |(name, password, role): (&str, &str, Role)| {
        let address = format!("{name}@{domain}");
        let hash = match kept.0.get(&address).filter(|hash| verifies(password, hash)) {
            Some(hash) => hash.clone(),
            None => hash(password)?,
        };
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

const SCHEME: &str = "{SHA512-CRYPT}";

/// crypt(3) reads at most 16 characters of salt, which is what 12 bytes become.
const SALT_BYTES: usize = 12;

fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| format!("no random numbers for a password's salt: {error}"))?;
    let hash = ShaCrypt::SHA512
        .hash_password_customized(password.as_bytes(), &salt, None, None, Params::default())
        .map_err(|error| format!("a password cannot be hashed: {error}"))?;
    Ok(format!("{SCHEME}{}", hash.as_str()))
}

fn verifies(password: &str, hash: &str) -> bool {
    hash.strip_prefix(SCHEME)
        .is_some_and(|hash| ShaCrypt::SHA512.verify_password(password.as_bytes(), hash).is_ok())
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
        assert!(verifies("adminpass123", &second[0].hash) && !verifies("userpass123", &second[0].hash));
        assert_eq!(
            first[0].hash.split('$').nth_back(1).map(str::len),
            Some(16),
            "{}",
            first[0].hash
        );
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
