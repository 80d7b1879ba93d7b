//! Dovecot's passwd-files: who may log in, with which password, from where; and what is computed where there is no account.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::accounts::{Account, password};
use crate::layout::{MAIL_DIRECTORY, VMAIL_UID};
use crate::plan::{TABLE_HEADER, table_of};
use crate::site::Site;
use crate::trust::Trust;

/// `address:hash:uid:gid:gecos:home:shell:extra fields`. `local` in allow_nets stands for logins without an address,
/// such as those of `doveadm auth test`.
pub(super) fn users(site: &Site, trust: &Trust, accounts: &[Account]) -> String {
    let networks: Vec<String> = trust.cidrs().iter().map(ToString::to_string).collect();
    let networks = format!("allow_nets={},local", networks.join(","));
    let extra = |account: &Account| {
        let networks = account.trusted_networks_only.then(|| networks.clone());
        let quota = account.limit(site);
        let quota = quota.map(|quota| format!("userdb_quota_storage_size={quota}"));
        networks.into_iter().chain(quota).collect::<Vec<_>>().join(" ")
    };
    let before_home = format!(":{VMAIL_UID}:{VMAIL_UID}::{MAIL_DIRECTORY}/");
    let mut text = table_of(accounts.len());
    for account in accounts {
        let (user, mailbox) = (key(account.address), account.mailbox(&site.domain));
        text.extend([&*user, ":", &account.record.hash, &before_home, &mailbox, "::"]);
        text.extend([extra(account).as_str(), "\n"]);
    }
    text
}

/// An address as Dovecot looks it up: with a backslash before what has a meaning in quotes (str_escape() of 2.4).
pub(super) fn key(address: &str) -> Cow<'_, str> {
    if address.contains('\'') {
        address.replace('\'', "\\'").into()
    } else {
        address.into()
    }
}

/// One of so many hashes is computed for a name that no account has, so that the time tells nothing. Which one follows from
/// the name. Each cost that accounts have is among them, the most frequent most often.
pub(super) const UNKNOWN: usize = 16;

/// Stands for the hashes in a directory, which nobody sees here: one as `doveadm pw -s BLF-CRYPT -r 10` makes them.
const IN_A_DIRECTORY: &str = "{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A passwd-file of hashes that no password fits, by the numbers from 0.
pub(super) fn unknown(accounts: &[Account], has_directory: bool) -> String {
    if has_directory {
        let line = |number| format!("{number}:{}::::::\n", password::fits_no_password(IN_A_DIRECTORY));
        return std::iter::once(TABLE_HEADER.to_owned())
            .chain((0..UNKNOWN).map(line))
            .collect();
    }
    let hashes = || accounts.iter().map(|account| account.record.hash.as_str());
    let mut costs = BTreeMap::new();
    let mut before = None;
    for hash in hashes() {
        let cost = password::cost(hash);
        if before != Some(cost) {
            costs.insert(cost, hash);
            before = Some(cost);
        }
    }
    let others = UNKNOWN.saturating_sub(costs.len());
    let in_proportion = (0..others).filter_map(|at| hashes().nth(at * accounts.len() / others));
    let chosen = costs.into_values().chain(in_proportion).take(UNKNOWN);
    let line = |(number, hash)| format!("{number}:{}::::::\n", password::fits_no_password(hash));
    std::iter::once(TABLE_HEADER.to_owned())
        .chain((0..).zip(chosen).map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::TestAccounts;
    use crate::accounts::records::Record;

    #[test]
    fn names_without_account_cost_what_accounts_cost() {
        let tests = TestAccounts::all("a.test").unwrap();
        let mut accounts: Vec<Account> = tests.accounts().collect();
        let record = Record {
            hash: format!("{{BLF-CRYPT}}$2y$10${}", "x".repeat(53)),
            ..accounts[2].record.clone()
        };
        accounts[2].record = &record;
        let file = unknown(&accounts, false);
        let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), UNKNOWN, "{file}");
        let of = |scheme: &str| lines.iter().filter(|line| line.contains(scheme)).count();
        assert_eq!((of("{SHA512-CRYPT}"), of("{BLF-CRYPT}")), (11, 5), "{file}");
        assert!(lines[0].starts_with("0:{") && lines[15].starts_with("15:{") && lines[15].ends_with("::::::"));
        assert!(accounts.iter().all(|account| !file.contains(&account.record.hash)));
        assert_eq!(unknown(&[], false).lines().count(), 1, "the header");
    }
}
