//! What Dovecot's log lines mean. Its log process writes them all, under one name.

use std::ops::Range;

use crate::logs::bare::Bare;
use crate::logs::lines::{Kind, LogLines, Trouble};
use crate::logs::record::Record;

/// For the log router.
pub const LOG_LINES: LogLines = LogLines {
    service: "dovecot",
    file: "/var/log/dovecot.log",
    is_own: |program| program == "dovecot",
    credentials,
    is_probe: |record, address| is_probe(record.message(), address) || is_mere_lmtp(record.message()),
    trouble,
    bare,
    fields: super::log_fields::fields,
    counts: super::log_counts::counts,
    means: |_| None,
};

/// `imap-login: Login aborted: … (no_auth_attempts): user=<>, rip=127.0.0.9, lip=…`. The first user is the
/// real one, and it is empty, so nothing before `rip=` is the client's own text.
fn is_probe(message: &str, address: &str) -> bool {
    let login = ["imap-login: ", "pop3-login: ", "managesieve-login: "]
        .iter()
        .any(|opening| message.starts_with(opening));
    let client = message.split_once("user=<").map_or("", |(_, client)| client);
    login && client.starts_with(&format!(">, rip={address}, "))
}

/// `imap-login: Login aborted: Connection closed (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=192.0.2.1, lip=…`, or
/// with `(tls_handshake_not_finished)`.
fn bare(record: &Record) -> Option<Bare> {
    const CODES: [&str; 2] = ["(no_auth_attempts)", "(tls_handshake_not_finished)"];
    let (event, client) = record.message().split_once(": user=<>, rip=")?;
    if !event.contains("-login: ") || !CODES.iter().any(|code| event.ends_with(code)) {
        return None;
    }
    Some(Bare::Ended(client.split(',').next()?.parse().ok()?))
}

/// `lmtp(96): Connect from local`, `lmtp(96): Disconnect from local: Connection closed (state=GREETING)`: nothing was delivered, or
/// the delivery has lines of its own.
fn is_mere_lmtp(message: &str) -> bool {
    let Some((pid, said)) = message.strip_prefix("lmtp(").and_then(|rest| rest.split_once("): ")) else {
        return false;
    };
    let is_greeted = said.starts_with("Disconnect from local: ") && said.ends_with(" (state=GREETING)");
    pid.bytes().all(|byte| byte.is_ascii_digit()) && (said == "Connect from local" || is_greeted)
}

/// With `auth_debug_passwords` and `auth_verbose_passwords`: base64 of a client, a given password, one that was compared.
fn credentials(message: &str) -> Option<Range<usize>> {
    // Each of them stands beside a bracket.
    if !message.contains('(') {
        return None;
    }
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

/// `imap-login: Login aborted: … (auth_failed): user=<user>, method=PLAIN, rip=172.20.0.1, lip=…, TLS, session=<x>`. Without
/// TLS, LOGIN and USER are refused with the same words as a wrong password, AUTHENTICATE with others; and a client that sees no
/// login offered may leave at once, as curl does. The client's own text is its name alone, which comes first.
fn trouble(message: &str) -> Option<Trouble> {
    let is_refused = ["(auth_failed): user=<", "(cleartext_auth_disabled): user=<"];
    let is_refused = is_refused.iter().any(|reason| message.contains(reason));
    let gave_up = message.contains("(no_auth_attempts): user=<>");
    let (before, after) = message.rsplit_once(", rip=").filter(|_| is_refused || gave_up)?;
    let (address, after) = after.split_once(',')?;
    let is_encrypted = after.contains(", TLS");
    let kind = if !is_refused {
        (!is_encrypted).then_some(Kind::GaveUp)?
    } else if is_encrypted {
        let (_, user) = before.split_once("user=<")?;
        Kind::Login(user.split('>').next()?.to_owned())
    } else {
        Kind::WithoutTls
    };
    let address = address.parse().ok()?;
    Some(Trouble { address, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::PROBE_ADDRESS;

    fn is_probe(text: &str) -> bool {
        (LOG_LINES.is_probe)(&Record::parse(text.as_bytes()), PROBE_ADDRESS)
    }

    #[test]
    fn probe_lines() {
        for text in [
            "dovecot: imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=127.0.0.9, lip=127.0.0.1, session=<x>",
            "dovecot: managesieve-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=127.0.0.9, lip=127.0.0.1, session=<x>",
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
    fn troubles() {
        let of = |kind| {
            let address = "172.20.0.1".parse().unwrap();
            Some(Trouble { address, kind })
        };
        let of_user = |user: &str| of(Kind::Login(user.to_owned()));
        for (message, expected) in [
            (
                "imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 0 secs) (auth_failed): user=<user>, rip=172.20.0.1, lip=172.20.0.2, session=<x>",
                of(Kind::WithoutTls),
            ),
            (
                "imap-login: Login aborted: Connection closed (tried to use disallowed cleartext auth, 1 attempts in 0 secs) (cleartext_auth_disabled): user=<>, method=PLAIN, rip=172.20.0.1, lip=172.20.0.2, session=<x>",
                of(Kind::WithoutTls),
            ),
            (
                "pop3-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<user@a.test>, method=PLAIN, rip=172.20.0.1, lip=172.20.0.2, TLS: Connection closed, session=<x>",
                of_user("user@a.test"),
            ),
            (
                "imap-login: Login aborted: x (auth_failed): user=<x>, rip=192.0.2.1, TLS>, method=PLAIN, rip=172.20.0.1, lip=172.20.0.2, TLS, session=<x>",
                of_user("x"),
            ),
            (
                "imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=172.20.0.1, lip=1, session=<x>",
                of(Kind::GaveUp),
            ),
            (
                "imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=172.20.0.1, lip=1, TLS, session=<x>",
                None,
            ),
            (
                "pop3-login: Login aborted: Connection closed (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=172.20.0.1, lip=1, session=<x>",
                of(Kind::GaveUp),
            ),
            (
                "imap-login: Login: user=<u@a.test>, method=PLAIN, rip=172.20.0.1, lip=172.20.0.2, TLS, session=<x>",
                None,
            ),
        ] {
            assert_eq!(trouble(message), expected, "{message}");
        }
    }

    #[test]
    fn programs() {
        assert!((LOG_LINES.is_own)("dovecot"));
        assert!(!(LOG_LINES.is_own)("postfix/lmtp") && !(LOG_LINES.is_own)("dovecot-x"));
    }
}
