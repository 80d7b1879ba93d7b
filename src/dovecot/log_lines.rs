//! What Dovecot's log lines mean. Its log process writes them all, under one name.

use std::ops::Range;

use crate::logs::lines::LogLines;

/// For the log router.
pub const LOG_LINES: LogLines = LogLines {
    service: "dovecot",
    file: "/var/log/dovecot.log",
    is_own: |program| program == "dovecot",
    credentials,
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

/// With `auth_debug_passwords` and `auth_verbose_passwords`: base64 of a client, a given password, one that was compared.
fn credentials(message: &str) -> Option<Range<usize>> {
    let base64 = || {
        let end = message.find(" (previous base64 data may contain sensitive data)")?;
        // Tabs stand between the fields; here they are escapes.
        let field = message[..end].rfind("\\t").map_or(0, |at| at + 2);
        let name = if message[field..end].starts_with("resp=") { 5 } else { 0 };
        Some(field + name..end)
    };
    let given = || {
        let begin = message.find("given password: ")? + "given password: ".len();
        let end = message.rfind(')').filter(|end| *end >= begin);
        Some(begin..end.unwrap_or(message.len()))
    };
    let compared = || {
        let before = &message[..message.find(") != '")?];
        let is_scheme = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-_.".contains(c);
        let begins = before
            .match_indices('(')
            .filter(|(at, _)| before[..*at].ends_with(is_scheme));
        begins.map(|(at, _)| at + 1..message.len()).next()
    };
    base64().or_else(given).or_else(compared)
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
    fn passwords_are_hidden() {
        let sensitive = "(previous base64 data may contain sensitive data)";
        for (message, hidden) in [
            (
                format!("auth: Debug: client in: AUTH\\t1\\tPLAIN\\trport=5\\tresp=AHVz== {sensitive}"),
                "AHVz==",
            ),
            (
                format!("auth: Debug: client in: CONT\\t3\\tAHVzZXIA {sensitive}"),
                "AHVzZXIA",
            ),
            (
                "auth(u@d,::1,sasl:plain)<x>: accounts: Password mismatch (given password: my) (word)".to_owned(),
                "my) (word",
            ),
            (
                "auth(u@d,::1,sasl:plain)<x>: Debug: accounts: SHA512-CRYPT(my(word) != '$6$x'".to_owned(),
                "my(word) != '$6$x'",
            ),
        ] {
            assert_eq!(&message[credentials(&message).unwrap()], hidden, "{message}");
        }
        assert_eq!(credentials("auth: Debug: client in: CONT<hidden>"), None);
        assert_eq!(
            credentials("imap(user)<1><x>: Disconnected: Logged out in=1 out=2 (x)"),
            None
        );
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
