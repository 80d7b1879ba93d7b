//! Postfix's lookup tables for accounts: where mail is delivered, and which login may use which sender address.

use std::collections::{BTreeMap, BTreeSet};

use crate::accounts::{Account, Alias, Directory, Role};
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

/// virtual_alias_maps: aliases, and the administrators' roles. `@domain` would take the mail of accounts, too, so that in such a
/// domain each of them is an alias for itself.
pub(super) fn aliases(directory: &Directory) -> Vec<(String, String)> {
    let aliases = directory.all_aliases();
    let caught: BTreeSet<&str> = aliases
        .iter()
        .filter_map(|alias| alias.address.strip_prefix('@'))
        .collect();
    let named: BTreeSet<&str> = aliases.iter().map(|alias| alias.address.as_str()).collect();
    let caught = directory
        .accounts
        .iter()
        .filter(|account| caught.contains(account.domain.as_str()));
    let themselves = caught
        .map(Account::address)
        .filter(|address| !named.contains(address.as_str()));
    let themselves = themselves.map(|address| (address.clone(), address));
    let entry = |alias: &Alias| (alias.address.clone(), alias.targets.join(", "));
    aliases.iter().map(entry).chain(themselves).collect()
}

/// smtpd_sender_login_maps: who owns which sender address. The login is what SASL returns, the full address. An alias belongs to
/// all accounts that it leads to; that of a whole domain is looked up after all others there.
pub(super) fn sender_logins(directory: &Directory) -> Vec<(String, String)> {
    let accounts: BTreeSet<String> = directory.accounts.iter().map(Account::address).collect();
    let aliases = directory.all_aliases();
    let targets: BTreeMap<&str, &Alias> = aliases.iter().map(|alias| (alias.address.as_str(), alias)).collect();
    let owners = |alias: &Alias| {
        let (mut owners, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<&String> = alias.targets.iter().collect();
        while let Some(target) = open.pop() {
            if accounts.contains(target) {
                owners.insert(target.as_str());
            } else if let Some(next) = targets.get(target.as_str()).filter(|_| seen.insert(target)) {
                open.extend(&next.targets);
            }
        }
        owners.into_iter().collect::<Vec<_>>().join(", ")
    };
    let of_aliases = aliases.iter().filter(|alias| !accounts.contains(&alias.address));
    let of_aliases = of_aliases.map(|alias| (alias.address.clone(), owners(alias)));
    let of_accounts = accounts.iter().map(|address| (address.clone(), address.clone()));
    of_accounts
        .chain(of_aliases.filter(|(_, owners)| !owners.is_empty()))
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

/// Letters of a pattern that stand for themselves.
pub(super) fn escape_pattern(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] })
        .collect()
}
