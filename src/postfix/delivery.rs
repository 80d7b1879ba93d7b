//! Whose mail Dovecot delivers, by LMTP: that of accounts with a quota, and everybody's where filters are on or a directory of
//! the user's own is asked. All other mail is written straight into the Maildir by virtual(8), which knows neither.
//!
//! Whether a mailbox has room is asked at RCPT, by a class of restrictions of our own (RESTRICTION_CLASS_README), and of
//! accounts with a quota alone; beside a directory, of all recipients: Dovecot looks there. A question that is not answered
//! lets mail in. It is asked for the recipient as the client names it: mail for an alias of a full mailbox waits in the queue.
//!
//! A quota and filters do not decide where mail goes: routes of the user's own (`transport_maps`) are the same with them. Postfix
//! looks for an address in all tables before it looks for a domain in the first (transport(5)), so that a table of ours, which
//! holds addresses, would win over a route for a whole domain. Where there are routes, `virtual_transport` hands the mail of all
//! accounts to Dovecot instead.
//!
//! Restrictions of the user's own stay, too, behind ours: the first that permits would end the list.

use std::path::Path;

use super::settings::Settings;
use super::tables::is_caught;
use crate::daemon::Basis;
use crate::layout::{LMTP_SOCKET, POSTFIX_TABLES, QUEUE_DIRECTORY, QUOTA_SOCKET};
use crate::plan::Entry;

/// The class of restrictions.
pub(super) const CLASS: &str = "mailroom_quota";
/// As Postfix says of a name that no account has.
const REFUSED: &str = "550 5.1.1 User unknown in virtual mailbox table";

/// What Dovecot does for accounts, by their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Delivery<'a> {
    /// Those whose mail it delivers, where it does not deliver everybody's.
    pub(super) delivered: Vec<&'a str>,
    /// It delivers the mail of all accounts.
    pub(super) delivers_all: bool,
    /// Those whose mailboxes have a limit.
    pub(super) limited: Vec<&'a str>,
    /// Those that are disabled where somebody else would get their mail.
    pub(super) refused: Vec<&'a str>,
    /// Somebody may get the mail of all that is nobody's in a domain: whom to refuse is asked from then on, for a command that
    /// disables an account waits for no reload.
    pub(super) may_refuse: bool,
    /// What asks about each recipient, where only a directory knows who else has a limit; empty without one.
    pub(super) asks_of_all: String,
}

impl<'a> Delivery<'a> {
    /// Where all mail is kept in one mailbox, virtual(8) delivers it.
    pub(super) fn of(settings: &Settings, basis: &Basis<'a>) -> Delivery<'a> {
        let site = basis.site;
        if !site.mailboxes || site.catch_all().is_some() {
            return Delivery::default();
        }
        let accounts = || basis.directory.accounts.iter();
        let limited = accounts().filter(|account| account.limit(site).is_some());
        let delivered = accounts().filter(|account| site.sieve || account.limit(site).is_some());
        let delivered: Vec<&str> = delivered.map(|account| account.address).collect();
        let has_routes = settings.all_set().any(|setting| setting.name == "transport_maps");
        // virtual(8) looks at no name before it makes a path of it, and takes no table of a directory from proxymap(8).
        let delivers_all = basis.directory.external.is_some() || (has_routes && !delivered.is_empty());
        Delivery {
            delivered: if delivers_all { Vec::new() } else { delivered },
            delivers_all,
            limited: limited.map(|account| account.address).collect(),
            may_refuse: basis
                .directory
                .aliases
                .iter()
                .any(|alias| alias.address.starts_with('@')),
            refused: basis
                .directory
                .disabled
                .iter()
                .copied()
                .filter(|address| is_caught(basis.directory, address))
                .collect(),
            asks_of_all: if basis.directory.limits_external(site) {
                question_of_all(settings)
            } else {
                String::new()
            },
        }
    }

    /// The settings of the user's own, with ours beside them.
    pub(super) fn beside(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        if let Some(question) = self.question() {
            settings.change_all("smtpd_restriction_classes", |value| behind(value, CLASS));
            settings.change_all("smtpd_recipient_restrictions", |value| before(value, &question));
        }
        settings
    }

    /// `virtual_transport`.
    pub(super) fn transport(&self) -> String {
        if self.delivers_all {
            by_dovecot()
        } else {
            "virtual".to_owned()
        }
    }

    /// `transport_maps`: account and transport.
    pub(super) fn transports(&self) -> impl Iterator<Item = Entry<'a>> {
        let by_dovecot = by_dovecot();
        let transport = move |address: &&'a str| (*address, by_dovecot.clone().into());
        self.delivered.iter().map(transport)
    }

    /// What `smtpd_recipient_restrictions` begins with, where a mailbox may be full or closed.
    pub(super) fn question(&self) -> Option<String> {
        let of_table = self
            .has_questions()
            .then(|| format!("check_recipient_access lmdb:{POSTFIX_TABLES}/quota"));
        let of_all = Some(self.asks_of_all.clone()).filter(|question| !question.is_empty());
        let both: Vec<String> = of_table.into_iter().chain(of_all).collect();
        (!both.is_empty()).then(|| both.join(", "))
    }

    /// Whether there is anybody of whom to ask first.
    pub(super) fn has_questions(&self) -> bool {
        self.may_refuse || (self.asks_of_all.is_empty() && !self.limited.is_empty())
    }

    /// Account and class of restrictions, or the answer (access(5)).
    pub(super) fn questions(&self) -> impl Iterator<Item = Entry<'a>> {
        let limited = self.limited.iter().map(|address| (*address, CLASS.into()));
        let refused = self.refused.iter().map(|address| (*address, REFUSED.into()));
        limited.chain(refused)
    }
}

/// The table of transports.
pub(super) fn transport_maps() -> String {
    format!("lmdb:{POSTFIX_TABLES}/transport")
}

/// What the class holds: a mailbox that is not told of is taken to have room.
pub(super) fn policy() -> String {
    format!(
        "check_policy_service {{ unix:{}, default_action=DUNNO, timeout=10s }}",
        in_queue(QUOTA_SOCKET)
    )
}

/// Postfix looks for the recipient first, as it does anyway in the end: while the directory does not answer it says so at once,
/// and Dovecot only after many seconds.
fn question_of_all(settings: &Settings) -> String {
    let refuses = settings.parameters.get("smtpd_reject_unlisted_recipient");
    if refuses.is_some_and(|given| given.value == "no") {
        return CLASS.to_owned();
    }
    format!("reject_unlisted_recipient, {CLASS}")
}

/// Dovecot's LMTP, as a transport.
fn by_dovecot() -> String {
    format!("lmtp:unix:{}", in_queue(LMTP_SOCKET))
}

/// As Postfix names a socket.
fn in_queue(socket: &str) -> String {
    let socket = Path::new(socket);
    socket
        .strip_prefix(QUEUE_DIRECTORY)
        .unwrap_or(socket)
        .display()
        .to_string()
}

fn behind(value: &mut String, ours: &str) {
    if !value.is_empty() {
        value.push_str(", ");
    }
    value.push_str(ours);
}

fn before(value: &mut String, ours: &str) {
    let theirs = std::mem::replace(value, ours.to_owned());
    if !theirs.is_empty() {
        value.push_str(", ");
        value.push_str(&theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::*;
    use crate::postfix::parameters::Parameters;

    fn beside(pairs: &[(&str, &str)]) -> Settings {
        let known = "transport_maps =\nsmtpd_recipient_restrictions =\nsmtpd_restriction_classes =\n";
        let settings = read_with(sources(environment(pairs)), Parameters::parse(known, "inline\n"));
        let one = || vec!["a@b.test"];
        let delivery = Delivery {
            delivered: one(),
            delivers_all: false,
            limited: one(),
            refused: Vec::new(),
            may_refuse: false,
            asks_of_all: String::new(),
        };
        delivery.beside(&settings.unwrap().postfix)
    }

    #[test]
    fn what_the_user_sets_stays() {
        let settings = beside(&[
            ("POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS", "permit_mynetworks, reject"),
            (
                "MAILROOM_MASTER_SMTP_INET_SMTPD_RECIPIENT_RESTRICTIONS",
                "reject_unauth_destination",
            ),
        ]);
        let value = |name: &str| settings.parameters[name].value.as_str();
        let question = format!("check_recipient_access lmdb:{POSTFIX_TABLES}/quota");
        let restrictions = "smtpd_recipient_restrictions";
        assert_eq!(value(restrictions), format!("{question}, permit_mynetworks, reject"));
        let mut options = settings
            .all_set()
            .filter(|setting| setting.origin.starts_with("MAILROOM_MASTER_"));
        let option = options.next().unwrap();
        assert_eq!(option.value, format!("{question}, reject_unauth_destination"));
    }

    #[test]
    fn what_is_not_set_is_the_templates() {
        let settings = beside(&[]);
        assert!(!settings.parameters.contains_key("smtpd_recipient_restrictions"));
        assert_eq!(
            policy(),
            "check_policy_service { unix:private/quota-status, default_action=DUNNO, timeout=10s }"
        );
    }
}
