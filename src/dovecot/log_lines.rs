//! What Dovecot's log lines mean. Its log process writes them all, under one name.

use crate::logs::lines::LogLines;

/// For the log router.
pub const LOG_LINES: LogLines = LogLines {
    service: "dovecot",
    file: "/var/log/dovecot.log",
    is_own: |program| program == "dovecot",
    is_probe: |record, address| is_probe(record.message(), address),
    refuses,
    means: |_| None,
};

/// `imap-login: Login aborted: … (no_auth_attempts): user=<>, rip=127.0.0.9, lip=…`. The first user is the
/// real one, and it is empty, so nothing before `rip=` is the client's own text.
fn is_probe(message: &str, address: &str) -> bool {
    let login = ["imap-login: ", "pop3-login: "]
        .iter()
        .any(|opening| message.starts_with(opening));
    let client = message.split_once("user=<").map_or("", |(_, client)| client);
    login && client.starts_with(&format!(">, rip={address}, "))
}

/// A test account from outside its networks, or a password in clear.
fn refuses(message: &str, address: Option<&str>) -> bool {
    let (test_account, in_clear) = match address {
        Some(address) => (
            format!("allow_nets check failed: IP {address} not in allowed networks"),
            format!("rip={address}, "),
        ),
        None => ("allow_nets check failed: IP ".to_owned(), "rip=".to_owned()),
    };
    message.contains(&test_account) || (message.contains("cleartext auth") && message.contains(&in_clear))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::PROBE_ADDRESS;
    use crate::logs::record::Record;

    fn is_probe(text: &str) -> bool {
        (LOG_LINES.is_probe)(&Record::parse(text.as_bytes()), PROBE_ADDRESS)
    }

    #[test]
    fn probe_lines() {
        for text in [
            "dovecot: imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=127.0.0.9, lip=127.0.0.1, session=<x>",
            "dovecot: pop3-login: Disconnected: Aborted login (no auth attempts in 0 secs): user=<>, rip=127.0.0.9, lip=1, x",
        ] {
            assert!(is_probe(text), "{text}");
        }
        for text in [
            "dovecot: imap-login: Login: user=<x, user=<>, rip=127.0.0.9, >, rip=192.0.2.1, lip=1",
            "dovecot: auth: x rip=127.0.0.9, user=<>, rip=127.0.0.9, ",
        ] {
            assert!(!is_probe(text), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for message in [
            "auth: passwd-file(user,172.20.0.1,<x>): allow_nets check failed: IP 172.20.0.1 not in allowed networks",
            "imap-login: Login aborted: tried to use disallowed cleartext auth: user=<>, rip=172.20.0.1, lip=172.20.0.2",
        ] {
            assert!(
                refuses(message, Some("172.20.0.1")) && refuses(message, None),
                "{message}"
            );
            for other in ["172.20.0.10", "172.20.0.3"] {
                assert!(!refuses(message, Some(other)), "{message}");
            }
        }
    }

    #[test]
    fn programs() {
        assert!((LOG_LINES.is_own)("dovecot"));
        assert!(!(LOG_LINES.is_own)("postfix/lmtp") && !(LOG_LINES.is_own)("dovecot-x"));
    }
}
