//! Postfix's lookup tables for accounts: where mail is delivered, and which login may use which sender address.

use crate::accounts::{ADMINISTRATOR_ALIASES, Account, Role};
use crate::layout::MAIL_DIRECTORY;
use crate::plan::TABLE_HEADER;

/// virtual_mailbox_maps: the Maildir below virtual_mailbox_base; the slash at the end makes it one (virtual(8)).
pub(super) fn mailboxes(domain: &str, accounts: &[Account]) -> Vec<(String, String)> {
    let maildir = |account: &Account| {
        let home = account.home(domain);
        let relative = home.strip_prefix(MAIL_DIRECTORY).unwrap_or(&home).display().to_string();
        format!("{relative}/Maildir/")
    };
    accounts
        .iter()
        .map(|account| (account.address(), maildir(account)))
        .collect()
}

/// virtual_alias_maps: the administrator's roles.
pub(super) fn aliases(accounts: &[Account]) -> Vec<(String, String)> {
    let administrators = accounts.iter().filter(|account| account.role == Role::Administrator);
    administrators
        .flat_map(|account| {
            ADMINISTRATOR_ALIASES.map(|alias| (format!("{alias}@{}", account.domain), account.address()))
        })
        .collect()
}

/// smtpd_sender_login_maps: who owns which sender address. The login is what SASL returns, the full address.
pub(super) fn sender_logins(accounts: &[Account]) -> Vec<(String, String)> {
    accounts
        .iter()
        .map(|account| (account.address(), account.address()))
        .chain(aliases(accounts))
        .collect()
}

/// Owners that a plain table cannot express: any address for the relay role, `user+detail` for its user.
///
/// The first match ends a regexp table, so each line names all its owners, and the one for all addresses comes last.
pub(super) fn sender_login_patterns(accounts: &[Account], delimiters: &str) -> String {
    let relays: Vec<String> = accounts
        .iter()
        .filter(|account| account.role == Role::Relay)
        .map(Account::address)
        .collect();
    let with_relays = |address: String| {
        std::iter::once(address)
            .chain(relays.iter().cloned())
            .collect::<Vec<_>>()
    };
    let alternatives: Vec<String> = delimiters
        .chars()
        .map(|sign| escape_pattern(&sign.to_string()))
        .collect();
    let between = match alternatives.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join("|")),
    };
    let detail = |account: &Account| {
        let pattern = format!(
            "/^{}{between}[^@]*@{}$/",
            escape_pattern(&account.name),
            escape_pattern(&account.domain)
        );
        format!("{pattern} {}\n", with_relays(account.address()).join(", "))
    };
    let details = accounts
        .iter()
        .filter(|account| account.role != Role::Relay && !delimiters.is_empty())
        .map(detail);
    let any = (!relays.is_empty()).then(|| format!("/^/ {}\n", relays.join(", ")));
    std::iter::once(TABLE_HEADER.to_owned())
        .chain(details)
        .chain(any)
        .collect()
}

fn escape_pattern(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] })
        .collect()
}
