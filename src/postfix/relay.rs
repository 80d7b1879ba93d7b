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
    wrapped.into_iter().chain(unverified).collect()
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
