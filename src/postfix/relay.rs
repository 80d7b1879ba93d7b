//! The relay host: what its port says of TLS, and what the level of TLS says of its login.

use super::check;
use super::main_cf::Given;
use super::settings::Settings;
use crate::report::Mistake;
use crate::site::MAILBOXES;
use crate::system::processes::Processes;
use crate::values::relay_host::{self, RelayHost};

const RELAY_HOST: &str = "relayhost";
const WRAPPER: &str = "smtp_tls_wrappermode";
const LEVEL: &str = "smtp_tls_security_level";

/// The relay hosts, and who sets them.
pub(super) fn hosts(settings: &Settings) -> Option<(&Given, Vec<RelayHost>)> {
    let given = settings.parameters.get(RELAY_HOST)?;
    let hosts = relay_host::parse_list(&given.value).ok()?;
    (!hosts.is_empty()).then_some((given, hosts))
}

/// What is wrong with the relay host in the whole.
pub(super) fn wrong(settings: &Settings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if let Some((given, hosts)) = hosts(settings) {
        let encrypted = hosts.iter().filter(|host| host.port_number() == 465).count();
        if encrypted > 0 && encrypted < hosts.len() {
            let reason = "mixes port 465, where TLS begins at once, with others: name hosts of one kind";
            mistakes.push(Mistake::new(&given.variable, &given.value, reason));
        }
    }
    if is_wrapped(settings)
        && let Some(level) = settings.parameters.get(LEVEL)
        && level.explicit
        && level.value == "none"
    {
        let reason = "must be encrypt or more: port 465 and smtp_tls_wrappermode are TLS from the first byte";
        mistakes.push(Mistake::new(&level.variable, &level.value, reason));
    }
    mistakes
}

/// Whether sessions with the relay host begin with TLS.
fn is_wrapped(settings: &Settings) -> bool {
    match settings.parameters.get(WRAPPER) {
        Some(given) => given.value == "yes",
        None => hosts(settings).is_some_and(|(_, hosts)| hosts.iter().all(|host| host.port_number() == 465)),
    }
}

/// smtp(8) defers all mail to port 465 without these.
pub(super) fn complete(settings: &mut Settings) {
    if !is_wrapped(settings) {
        return;
    }
    let by = [WRAPPER, RELAY_HOST]
        .into_iter()
        .find_map(|name| settings.parameters.get(name));
    let variable = by.map(|given| given.variable.clone()).unwrap_or_default();
    let given = |value: &str| Given {
        variable: variable.clone(),
        value: value.to_owned(),
        explicit: true,
    };
    let level = settings.parameters.get(LEVEL).map(|given| given.value.clone());
    if level.is_none_or(|level| ["", "may"].contains(&level.as_str())) {
        settings.parameters.insert(LEVEL.to_owned(), given("encrypt"));
    }
    settings.parameters.entry(WRAPPER.to_owned()).or_insert(given("yes"));
}

/// What a user should know.
pub(super) fn notes(settings: &Settings) -> Vec<String> {
    let value = |name: &str| settings.parameters.get(name);
    let is_by_us = value(WRAPPER)
        .zip(value(RELAY_HOST))
        .filter(|(one, other)| one.variable == other.variable);
    let wrapped = is_by_us.map(|(_, relay)| {
        format!(
            "{}: TLS begins at once on port 465: {WRAPPER} = yes, {LEVEL} = encrypt for all hosts",
            relay.variable
        )
    });
    let is_unverified = settings.relay_login() && value(LEVEL).is_some_and(|level| level.value == "encrypt");
    let unverified = is_unverified.then(|| {
        "POSTFIX_SMTP_TLS_SECURITY_LEVEL: encrypt does not ask who the relay host is before it gets the password; secure does"
            .to_owned()
    });
    let notes = [wrapped, unverified, without_tls(settings), without_brackets(settings)];
    notes.into_iter().flatten().collect()
}

/// A password is not sent without TLS, unless the user says so.
fn without_tls(settings: &Settings) -> Option<String> {
    let level = settings.parameters.get(LEVEL).filter(|level| level.value == "none")?;
    let options = settings.parameters.get("smtp_sasl_security_options");
    let holds_back = options.is_none_or(|options| options.value.contains("noplaintext"));
    (settings.relay_login() && holds_back).then(|| {
        format!(
            "Warning: {}=none leaves out TLS, and without it the password is not sent (PLAIN, LOGIN): where the relay host \
             offers nothing else, all mail waits; set secure, or, where the way to it is safe, \
             POSTFIX_SMTP_SASL_SECURITY_OPTIONS=noanonymous",
            level.variable
        )
    })
}

/// A name with a port is nearly always meant as the host itself.
fn without_brackets(settings: &Settings) -> Option<String> {
    let (given, hosts) = hosts(settings)?;
    let host = hosts.iter().find(|host| host.port.is_some() && !host.in_brackets)?;
    let port = host.port.as_deref().unwrap_or_default();
    Some(format!(
        "{}: {} has no brackets: mail goes to the hosts in the MX records of {}, if it has any; the host itself is [{2}]:{port}",
        given.variable,
        host.text(),
        host.name
    ))
}

/// Why mail for the own domain does not go on to the relay host, where there is one.
pub(super) async fn explain_no_mailbox(processes: &Processes) -> anyhow::Result<Option<String>> {
    let values = check::in_force(&["relayhost", "mydomain"], processes).await?;
    let [relay_host, domain] = values.as_slice() else {
        return Ok(None);
    };
    Ok((!relay_host.is_empty()).then(|| {
        format!(
            "Refused because this server itself has the mailboxes of {domain} (POSTFIX_MYDOMAIN), and none of that name; where \
             {relay_host} or another server has them, set {MAILBOXES}=off, with which this one is a relay alone, or give it a \
             domain of its own, such as POSTFIX_MYDOMAIN=mailroom.{domain}"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::*;
    use crate::postfix::parameters::Parameters;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let known = Parameters::parse("smtp_tls_wrappermode = no\n", "lmdb\n");
        let read = read_with(sources(environment(pairs)), known);
        read.map(|whole| whole.postfix).map_err(|report| report.to_string())
    }

    #[test]
    fn port_465_begins_with_tls() {
        for port in ["465", "smtps", "submissions"] {
            let settings = read(&[("POSTFIX_RELAYHOST", &format!("[sink]:{port}"))]).unwrap();
            assert_eq!(settings.parameters[WRAPPER].value, "yes");
            assert_eq!(settings.parameters[LEVEL].value, "encrypt");
            assert_eq!(notes(&settings).len(), 1);
        }
        let settings = read(&[
            ("POSTFIX_RELAYHOST", "[sink]:465"),
            ("POSTFIX_SMTP_TLS_SECURITY_LEVEL", "secure"),
        ])
        .unwrap();
        assert_eq!(settings.parameters[LEVEL].value, "secure");
        let settings = read(&[("POSTFIX_SMTP_TLS_WRAPPERMODE", "yes")]).unwrap();
        assert_eq!(settings.parameters[LEVEL].value, "encrypt");
        assert!(
            !read(&[("POSTFIX_RELAYHOST", "[sink]:587")])
                .unwrap()
                .parameters
                .contains_key(WRAPPER)
        );
        let said = read(&[
            ("POSTFIX_RELAYHOST", "[sink]:465"),
            ("POSTFIX_SMTP_TLS_SECURITY_LEVEL", "none"),
        ])
        .unwrap_err();
        assert!(said.contains("encrypt or more"), "{said}");
        assert!(
            read(&[("POSTFIX_RELAYHOST", "[a]:465, [b]:587")])
                .unwrap_err()
                .contains("mixes")
        );
    }

    #[test]
    fn what_deserves_a_thought() {
        let said = |pairs: &[(&str, &str)]| notes(&read(pairs).unwrap());
        let host = ("POSTFIX_RELAYHOST", "[sink]:587");
        assert!(said(&[host]).is_empty());
        let note = said(&[("POSTFIX_RELAYHOST", "smtp.example.org:587")]).remove(0);
        assert!(note.ends_with("the host itself is [smtp.example.org]:587"), "{note}");
        assert!(said(&[("POSTFIX_RELAYHOST", "example.org")]).is_empty());
        let login = ("MAILROOM_RELAYHOST_USERNAME", "me");
        let password = ("MAILROOM_RELAYHOST_PASSWORD", "hunter22");
        let level = ("POSTFIX_SMTP_TLS_SECURITY_LEVEL", "none");
        let note = said(&[host, login, password, level]).remove(0);
        assert!(
            note.starts_with("Warning: POSTFIX_SMTP_TLS_SECURITY_LEVEL=none"),
            "{note}"
        );
        assert!(said(&[host, level]).is_empty());
    }

    #[test]
    fn a_relay_host_that_is_this_server() {
        for own in ["[127.0.0.1]:25", "[localhost]", "[postfix.metabuilder.local]:587"] {
            assert!(
                read(&[("POSTFIX_RELAYHOST", own)]).unwrap_err().contains("itself"),
                "{own}"
            );
        }
        assert!(read(&[("POSTFIX_RELAYHOST", "[127.0.0.1]:1025")]).is_ok());
    }
}
