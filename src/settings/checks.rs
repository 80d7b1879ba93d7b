//! What is wrong in the whole though each value alone is right: what `postfix check` does not see and what breaks mail, or
//! opens the relay.

use ipnet::IpNet;

use super::kind::Value;
use super::{Mistake, Reader};
use crate::values::network::is_public;

/// All of them.
pub(super) fn all(reader: &Reader) -> Vec<Mistake> {
    let checks = [mailbox_limits, restrictions, relay_login, public_networks, listeners];
    checks
        .into_iter()
        .flat_map(|check| check(reader))
        .map(|(variable, reason)| reader.make_mistake(&variable, reason))
        .collect()
}

type Wrong = Vec<(String, String)>;

/// The variable, by its name in the environment, that sets a parameter.
fn variable_of(reader: &Reader, parameter: &str) -> Option<String> {
    let given = reader.parameters.get(parameter).filter(|given| given.explicit)?;
    let by_origin = reader.origins.iter().find(|(_, origin)| **origin == given.variable);
    Some(by_origin.map_or_else(|| given.variable.clone(), |(variable, _)| variable.clone()))
}

fn number(reader: &Reader, parameter: &str) -> Option<u64> {
    reader.parameters.get(parameter)?.value.parse().ok()
}

/// virtual(8) and local(8) are fatal when a mailbox may not be as large as a message.
fn mailbox_limits(reader: &Reader) -> Wrong {
    let message = number(reader, "message_size_limit").unwrap_or(0);
    let mut wrong = Wrong::new();
    for parameter in ["virtual_mailbox_limit", "mailbox_size_limit"] {
        let (Some(variable), Some(limit)) = (variable_of(reader, parameter), number(reader, parameter)) else {
            continue;
        };
        if limit > 0 && (limit < message || message == 0) {
            let needed = if message == 0 {
                "0".to_owned()
            } else {
                format!("0, or at least {message}")
            };
            wrong.push((
                variable,
                format!("is below POSTFIX_MESSAGE_SIZE_LIMIT, with which Postfix delivers nothing: must be {needed}"),
            ));
        }
    }
    wrong
}

/// smtpd(8) refuses to work without one of these in smtpd_relay_restrictions or smtpd_recipient_restrictions.
const CLOSING: [&str; 6] = [
    "reject",
    "defer",
    "defer_if_permit",
    "reject_unauth_destination",
    "defer_unauth_destination",
    "check_relay_domains",
];

fn restrictions(reader: &Reader) -> Wrong {
    let Some(variable) = variable_of(reader, "smtpd_relay_restrictions") else {
        return Wrong::new();
    };
    let value = &reader.parameters["smtpd_relay_restrictions"].value;
    let words: Vec<&str> = value.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    let closes = words.iter().position(|word| CLOSING.contains(word));
    let opens = words.iter().position(|word| *word == "permit");
    let allowed = matches!(
        reader.values.get("MAILROOM_ALLOW_OPEN_RELAY"),
        Some(Value::Switch(true))
    );
    let reason = match (closes, opens) {
        _ if value.contains('$') || words.iter().any(|word| word.starts_with("check_")) => return Wrong::new(),
        (closes, Some(opens)) if !allowed && closes.is_none_or(|closes| opens < closes) => {
            "lets everybody relay through this server: put reject_unauth_destination before permit, or set \
             MAILROOM_ALLOW_OPEN_RELAY=yes"
        }
        (None, _) if !reader.parameters.contains_key("smtpd_recipient_restrictions") => {
            "lets nobody in and nobody out: Postfix wants reject_unauth_destination, reject or defer in it"
        }
        _ => return Wrong::new(),
    };
    vec![(variable, reason.to_owned())]
}

fn relay_login(reader: &Reader) -> Wrong {
    let set = |name: &str| !reader.text(name).is_empty();
    let (username, password) = ("MAILROOM_RELAYHOST_USERNAME", "MAILROOM_RELAYHOST_PASSWORD");
    let wrong = |variable: &str, reason: &str| vec![(variable.to_owned(), reason.to_owned())];
    match (set(username), set(password)) {
        (true, false) => wrong(
            username,
            "needs MAILROOM_RELAYHOST_PASSWORD, or MAILROOM_RELAYHOST_PASSWORD_FILE",
        ),
        (false, true) => wrong(password, "needs MAILROOM_RELAYHOST_USERNAME"),
        (true, true) if set("POSTFIX_SMTP_SASL_PASSWORD_MAPS") => wrong(
            username,
            "is a login at the relay host, and so is POSTFIX_SMTP_SASL_PASSWORD_MAPS: keep one of them",
        ),
        (true, true) if !set("POSTFIX_RELAYHOST") => {
            wrong(username, "needs POSTFIX_RELAYHOST: the server to log in at")
        }
        (true, true) if reader.text(username).contains(':') => wrong(username, "must not hold a colon"),
        _ => Wrong::new(),
    }
}

/// A single public address may be a server of one's own; a range of them holds strangers.
fn public_networks(reader: &Reader) -> Wrong {
    if reader.switch("MAILROOM_ALLOW_OPEN_RELAY") {
        return Wrong::new();
    }
    let networks = reader.networks().unwrap_or_default();
    let public = networks
        .nets
        .iter()
        .find(|network| !network.excluded && is_public(network.net));
    let reason = |net: IpNet| {
        format!(
            "{net} holds public addresses, whose owners could relay through this server: name private networks or \
             single addresses, or set MAILROOM_ALLOW_OPEN_RELAY=yes"
        )
    };
    public
        .map(|network| ("POSTFIX_MYNETWORKS".to_owned(), reason(network.net)))
        .into_iter()
        .collect()
}

/// At least one listener has to be left.
fn listeners(reader: &Reader) -> Wrong {
    let off: Vec<&str> = reader
        .master
        .iter()
        .filter(|setting| setting.change == super::master::Change::Off)
        .map(|setting| setting.variable.as_str())
        .collect();
    match off.last() {
        Some(last) if off.len() >= super::master::OPTIONAL.len() => {
            vec![(
                (*last).to_owned(),
                "switches off the last of the SMTP listeners: keep one of them".to_owned(),
            )]
        }
        _ => Wrong::new(),
    }
}
