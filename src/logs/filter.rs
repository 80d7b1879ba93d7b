//! Which lines are the health probe's own and are dropped, and which refusals deserve an explanation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::record::Record;
use crate::layout::PROBE_ADDRESS;

/// Whether a line speaks of nothing but a health probe: its source address, and nothing that a probe never does.
pub(crate) fn is_probe(record: &Record) -> bool {
    if record.program() == "dovecot" {
        is_dovecot_probe(record.message())
    } else {
        is_postfix_probe(record.message())
    }
}

/// `connect from healthcheck[127.0.0.9]`, `disconnect from … quit=1 commands=1`, `Anonymous TLS connection established
/// from …`, `lost connection after CONNECT from …`. The client's name comes first in each, before any text of its own.
fn is_postfix_probe(message: &str) -> bool {
    const OPENINGS: [&str; 6] = [
        "connect from ",
        "disconnect from ",
        "Anonymous TLS connection established from ",
        "lost connection after CONNECT from ",
        "lost connection after QUIT from ",
        "SSL_accept error from ",
    ];
    // From 3.10 on lines without a message say NOQUEUE, where there was nothing before.
    let message = message.strip_prefix("NOQUEUE: ").unwrap_or(message);
    let Some(rest) = OPENINGS.iter().find_map(|opening| message.strip_prefix(opening)) else {
        return false;
    };
    let client = rest.split([' ', ':']).next().unwrap_or("");
    let from_probe = client
        .strip_suffix(']')
        .and_then(|client| client.strip_suffix(PROBE_ADDRESS));
    // `mail=1`, `rcpt=1` or `auth=0/1` in the summary would be a client's work.
    let worked = ["mail=", "rcpt=", "auth="].iter().any(|word| rest.contains(word));
    from_probe.is_some_and(|name| name.ends_with('[')) && !worked
}

/// `imap-login: Login aborted: … (no_auth_attempts): user=<>, rip=127.0.0.9, lip=…`. The first user is the
/// real one, and it is empty, so nothing before `rip=` is the client's own text.
fn is_dovecot_probe(message: &str) -> bool {
    let login = ["imap-login: ", "pop3-login: "]
        .iter()
        .any(|opening| message.starts_with(opening));
    let client = message.split_once("user=<").map_or("", |(_, client)| client);
    login && client.starts_with(&format!(">, rip={PROBE_ADDRESS}, "))
}

/// Explains refusals of the untrusted gateway, at most once a minute each.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    gateways: Vec<String>,
    told: BTreeMap<String, Instant>,
}

/// Time between two explanations of the same.
const QUIET: Duration = Duration::from_secs(60);

impl Hints {
    /// For these addresses.
    pub(crate) fn new(gateways: Vec<String>) -> Hints {
        Hints {
            gateways,
            told: BTreeMap::new(),
        }
    }

    /// What to tell beside this line, if anything.
    pub(crate) fn explain(&mut self, record: &Record, now: Instant) -> Option<String> {
        let message = record.message();
        let gateway = self
            .gateways
            .iter()
            .find(|gateway| is_refusal_of(message, gateway))?
            .clone();
        if self
            .told
            .get(&gateway)
            .is_some_and(|told| now.duration_since(*told) < QUIET)
        {
            return None;
        }
        let hint = format!(
            "Refused because {gateway} is the docker gateway, which is not trusted: strangers may arrive with its \
             address (MAILROOM_TRUST_GATEWAY in the README)"
        );
        self.told.insert(gateway, now);
        Some(hint)
    }
}

fn is_refusal_of(message: &str, gateway: &str) -> bool {
    let relaying = message.contains("Relay access denied") && message.contains(&format!("[{gateway}]: "));
    let test_account = message.contains(&format!(
        "allow_nets check failed: IP {gateway} not in allowed networks"
    ));
    let in_clear = message.contains("cleartext auth") && message.contains(&format!("rip={gateway}, "));
    relaying || test_account || in_clear
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::parse(text.as_bytes())
    }

    #[test]
    fn probe_lines_are_dropped() {
        for text in [
            "postfix/smtpd[1]: connect from healthcheck[127.0.0.9]",
            "postfix/submission/smtpd[1]: disconnect from healthcheck[127.0.0.9] quit=1 commands=1",
            "postfix/submissions/smtpd[1]: Anonymous TLS connection established from unknown[127.0.0.9]: TLSv1.3 with cipher x",
            "postfix/smtpd[1]: lost connection after CONNECT from healthcheck[127.0.0.9]",
            "postfix/smtpd[1]: NOQUEUE: lost connection after CONNECT from healthcheck[127.0.0.9]",
            "dovecot: imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=127.0.0.9, lip=127.0.0.1, session=<x>",
        ] {
            assert!(is_probe(&record(text)), "{text}");
        }
    }

    #[test]
    fn other_lines_are_kept() {
        for text in [
            "postfix/smtpd[1]: connect from localhost[127.0.0.1]",
            "postfix/smtpd[1]: connect from healthcheck[127.0.0.99]",
            "postfix/smtpd[1]: disconnect from healthcheck[127.0.0.9] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
            "postfix/smtpd[1]: NOQUEUE: reject: RCPT from healthcheck[127.0.0.9]: 554 5.7.1",
            "postfix/smtpd[1]: connect from evil[127.0.0.9].example[192.0.2.1]",
            "dovecot: imap-login: Login: user=<x, user=<>, rip=127.0.0.9, >, rip=192.0.2.1, lip=1",
            "dovecot: auth: x rip=127.0.0.9, user=<>, rip=127.0.0.9, ",
        ] {
            assert!(!is_probe(&record(text)), "{text}");
        }
    }

    #[test]
    fn a_refused_gateway_is_explained_once_a_minute() {
        let mut hints = Hints::new(vec!["172.20.0.1".into()]);
        let now = Instant::now();
        let refused = record(
            "postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[172.20.0.1]: 554 5.7.1 <a@b>: Relay access denied; from=<>",
        );
        assert!(hints.explain(&refused, now).unwrap().contains("MAILROOM_TRUST_GATEWAY"));
        assert_eq!(hints.explain(&refused, now + Duration::from_secs(59)), None);
        assert!(hints.explain(&refused, now + Duration::from_secs(60)).is_some());
        let other = record(
            "postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[172.20.0.3]: 554 5.7.1 <a@b>: Relay access denied",
        );
        assert_eq!(hints.explain(&other, now + Duration::from_secs(200)), None);
    }
}
