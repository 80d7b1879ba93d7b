//! Dovecot's passwd-file: who may log in, with which password, from where.

use crate::accounts::Account;
use crate::layout::VMAIL_UID;
use crate::plan::TABLE_HEADER;
use crate::trust::Trust;

/// `address:hash:uid:gid:gecos:home:shell:extra fields`. `local` in allow_nets stands for logins without an address,
/// such as those of `doveadm auth test`.
pub(super) fn users(domain: &str, trust: &Trust, accounts: &[Account]) -> String {
    let networks: Vec<String> = trust.cidrs().iter().map(ToString::to_string).collect();
    let line = |account: &Account| {
        let (address, hash, home) = (key(&account.address()), &account.hash, account.home(domain));
        let extra = if account.trusted_networks_only {
            format!("allow_nets={},local", networks.join(","))
        } else {
            String::new()
        };
        format!(
            "{address}:{hash}:{VMAIL_UID}:{VMAIL_UID}::{}::{extra}\n",
            home.display()
        )
    };
    std::iter::once(TABLE_HEADER.to_owned())
        .chain(accounts.iter().map(line))
        .collect()
}

/// An address as Dovecot looks it up: with a backslash before what has a meaning in quotes (str_escape() of 2.4).
fn key(address: &str) -> String {
    address.replace('\'', "\\'")
}
