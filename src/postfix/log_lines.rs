//! What Postfix's log lines mean (postlogd(8); the texts are those of its sources, 3.7 to 3.10).

use std::net::IpAddr;

use crate::logs::bare::Bare;
use crate::logs::lines::{Kind, LogLines, Meaning, Trouble};
use crate::logs::record::Record;

/// For the log router. A `syslog_name` of the user's that does not begin with `postfix` makes its lines those of no daemon.
pub const LOG_LINES: LogLines = LogLines {
    service: "postfix",
    file: "/var/log/mail.log",
    is_own: |program| program == "postfix" || program.starts_with("postfix/"),
    credentials: super::credentials::credentials,
    is_probe: |record, address| is_probe(record.message(), address) || is_asked_cleanup(record),
    trouble,
    bare,
    fields: super::log_fields::fields,
    counts: super::log_counts::counts,
    means,
};

/// `connect from healthcheck[127.0.0.9]`, `disconnect from … quit=1 commands=1`, `Anonymous TLS connection established
/// from …`, `lost connection after CONNECT from …`. The client's name comes first in each, before any text of its own.
fn is_probe(message: &str, address: &str) -> bool {
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
    let client = rest.split(' ').next().unwrap_or("").trim_end_matches(':');
    let from_probe = client.strip_suffix(']').and_then(|client| client.strip_suffix(address));
    // A probe says nothing but QUIT: anything else in the summary would be a client's work.
    let worked = ["helo=", "ehlo=", "starttls=", "mail=", "rcpt=", "auth="]
        .iter()
        .any(|word| rest.contains(word));
    from_probe.is_some_and(|name| name.ends_with('[')) && !worked
}

/// `connect from …`, `lost connection after CONNECT from …`, `SSL_accept error from …`, and at the end `disconnect from … commands=0/0`.
fn bare(record: &Record) -> Option<Bare> {
    if !record.program().ends_with("/smtpd") {
        return None;
    }
    let message = record.message();
    let message = message.strip_prefix("NOQUEUE: ").unwrap_or(message);
    let opens = [
        "connect from ",
        "lost connection after CONNECT from ",
        "SSL_accept error from ",
    ];
    if opens.iter().any(|opening| message.starts_with(opening)) {
        return Some(Bare::Open);
    }
    let client = message
        .strip_prefix("disconnect from ")?
        .strip_suffix(" commands=0/0")?;
    let (_, address) = client.strip_suffix(']')?.rsplit_once('[')?;
    Some(Bare::Ended(address.parse().ok()?))
}

/// cleanup(8) says so of each message that is taken back; where a client has taken it back, smtpd(8) says that, too.
fn is_asked_cleanup(record: &Record) -> bool {
    record.program() == "postfix/cleanup" && record.message().ends_with(": removed (canceled)")
}

/// `NOQUEUE: reject: RCPT from unknown[172.20.0.1]: 554 5.7.1 <a@b>: Relay access denied; …`,
/// `timeout after DATA (123 bytes) from unknown[172.20.0.3]`,
/// `warning: unknown[172.20.0.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=user`.
fn trouble(message: &str) -> Option<Trouble> {
    let ends_in_data = |(before, _): &(&str, &str)| {
        let ends = ["timeout after DATA (", "lost connection after DATA ("];
        ends.iter().any(|end| before.contains(end)) && before.ends_with(" bytes)") && !before.ends_with("(0 bytes)")
    };
    let (client, kind) = if let Some(warning) = message.strip_prefix("warning: ") {
        let (_, user) = warning
            .rsplit_once(", sasl_username=")
            .filter(|_| warning.contains("]: SASL "))?;
        (warning, Kind::Login(user.to_owned()))
    } else if let Some((_, client)) = message.split_once(" from ").filter(ends_in_data) {
        (client, Kind::NoEnd)
    } else {
        let (_, client) = message.split_once("reject: RCPT from ")?;
        client
            .contains("Relay access denied")
            .then_some((client, Kind::Relay))?
    };
    // The client's name, which a stranger's DNS gives, holds no brackets.
    let (_, address) = client.split_once('[')?;
    let (address, _) = address.split_once(']')?;
    let address = address.parse().ok()?;
    Some(Trouble { address, kind })
}

/// `… status=deferred (SASL authentication failed; cannot authenticate to server …: no mechanism available)`, or the other
/// server's `530` (RFC 4954).
fn wants_a_login(message: &str) -> bool {
    let status = message.split_once(" status=").map(|(_, status)| status);
    status.is_some_and(|status| status.contains(": no mechanism available") || status.contains(" said: 530 "))
}

/// `NOQUEUE: reject: RCPT from unknown[172.20.0.3]: 550 5.1.1 <a@b>: Recipient address rejected: User unknown in virtual
/// mailbox table; …`, to an address that no stranger has.
fn refuses_a_neighbour(message: &str) -> bool {
    const REFUSAL: &str = ": Recipient address rejected: User unknown in virtual mailbox table; ";
    let Some((client, _)) = message
        .strip_prefix("NOQUEUE: reject: RCPT from ")
        .filter(|rest| rest.contains(REFUSAL))
        .and_then(|rest| rest.split_once("]: 550 5.1.1 <"))
    else {
        return false;
    };
    let address = client.rsplit_once('[').map(|(_, address)| address.parse());
    matches!(address, Some(Ok(address)) if is_private(address))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

/// `warning: /usr/lib/postfix/sbin/cleanup: bad command startup -- throttling`: the program's name.
fn throttled(message: &str) -> Option<Meaning> {
    let path = message
        .strip_prefix("warning: ")?
        .strip_suffix(": bad command startup -- throttling")?;
    let (_, program) = path.rsplit_once('/')?;
    Some(Meaning::Throttled(program.to_owned()))
}

/// `postfix reload` logs before it signals the master, which logs once it has the signal.
fn means(record: &Record) -> Option<Meaning> {
    match (record.program(), record.message()) {
        ("postfix/postfix-script", "refreshing the Postfix mail system") => Some(Meaning::ReloadBegins),
        ("postfix/master", message) if message.starts_with("reload -- version") => Some(Meaning::Reloaded),
        ("postfix/master", message) if message.starts_with("warning: ") => throttled(message),
        ("postfix/smtp" | "postfix/relay/smtp", message) if wants_a_login(message) => Some(Meaning::NoLogin),
        (_, message) if refuses_a_neighbour(message) => Some(Meaning::NoMailbox),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{PROBE_ADDRESS, PROBE_ADDRESS_IPV6};

    fn record(text: &str) -> Record {
        Record::parse(text.as_bytes())
    }

    #[test]
    fn programs() {
        for own in ["postfix", "postfix/smtpd", "postfix/submission/smtpd"] {
            assert!((LOG_LINES.is_own)(own), "{own}");
        }
        for other in ["postfixed", "dovecot", "marker", ""] {
            assert!(!(LOG_LINES.is_own)(other), "{other}");
        }
    }

    #[test]
    fn connections_that_say_nothing() {
        let bare = |text: &str| (LOG_LINES.bare)(&record(text));
        for open in [
            "connect from a[192.0.2.1]",
            "NOQUEUE: lost connection after CONNECT from a[192.0.2.1]",
            "SSL_accept error from a[192.0.2.1]: -1",
        ] {
            assert_eq!(bare(&format!("postfix/smtpd[1]: {open}")), Some(Bare::Open));
        }
        let ended = Bare::Ended("2001:db8::1".parse().unwrap());
        assert_eq!(
            bare("postfix/submission/smtpd[1]: disconnect from a[2001:db8::1] commands=0/0"),
            Some(ended)
        );
        for other in [
            "disconnect from a[192.0.2.1] ehlo=1 quit=1 commands=2",
            "lost connection after EHLO from a[192.0.2.1]",
            "x",
        ] {
            assert_eq!(bare(&format!("postfix/smtpd[1]: {other}")), None);
        }
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let line = "postfix/master[9]: warning: /usr/lib/postfix/sbin/cleanup: bad command startup -- throttling";
        assert_eq!(
            (LOG_LINES.means)(&record(line)),
            Some(Meaning::Throttled("cleanup".to_owned()))
        );
    }

    #[test]
    fn probe_lines() {
        for text in [
            "postfix/smtpd[1]: connect from healthcheck[127.0.0.9]",
            "postfix/submission/smtpd[1]: disconnect from healthcheck[127.0.0.9] quit=1 commands=1",
            "postfix/submissions/smtpd[1]: Anonymous TLS connection established from unknown[127.0.0.9]: TLSv1.3 with cipher x",
            "postfix/smtpd[1]: lost connection after CONNECT from healthcheck[127.0.0.9]",
            "postfix/smtpd[1]: NOQUEUE: lost connection after CONNECT from healthcheck[127.0.0.9]",
        ] {
            assert!((LOG_LINES.is_probe)(&record(text), PROBE_ADDRESS), "{text}");
        }
    }

    #[test]
    fn probe_lines_where_ipv6_alone_is_served() {
        let is_probe = |text| (LOG_LINES.is_probe)(&record(text), PROBE_ADDRESS_IPV6);
        assert!(is_probe("postfix/smtpd[1]: connect from localhost[::1]"));
        assert!(is_probe(
            "postfix/smtpd[1]: disconnect from localhost[::1] quit=1 commands=1"
        ));
        assert!(!is_probe(
            "postfix/smtpd[1]: disconnect from localhost[::1] ehlo=1 quit=1 commands=2"
        ));
        assert!(!is_probe("postfix/smtpd[1]: connect from unknown[2001:db8::1]"));
    }

    #[test]
    fn lines_of_others() {
        for text in [
            "postfix/smtpd[1]: connect from localhost[127.0.0.1]",
            "postfix/smtpd[1]: connect from healthcheck[127.0.0.99]",
            "postfix/smtpd[1]: disconnect from healthcheck[127.0.0.9] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
            "postfix/smtpd[1]: NOQUEUE: reject: RCPT from healthcheck[127.0.0.9]: 554 5.7.1",
            "postfix/smtpd[1]: connect from evil[127.0.0.9].example[192.0.2.1]",
        ] {
            assert!(!(LOG_LINES.is_probe)(&record(text), PROBE_ADDRESS), "{text}");
        }
    }

    #[test]
    fn troubles() {
        let of = |address: &str, kind| {
            let address = address.parse().unwrap();
            Some(Trouble { address, kind })
        };
        for (message, expected) in [
            (
                "NOQUEUE: reject: RCPT from unknown[172.20.0.1]: 554 5.7.1 <a@b>: Relay access denied; from=<>",
                of("172.20.0.1", Kind::Relay),
            ),
            (
                "warning: unknown[2001:db8::1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=user",
                of("2001:db8::1", Kind::Login("user".to_owned())),
            ),
            (
                "4bXyZ12abcz1: timeout after DATA (120 bytes) from app.example.org[172.20.0.3]",
                of("172.20.0.3", Kind::NoEnd),
            ),
            (
                "lost connection after DATA (9 bytes) from app.example.org[172.20.0.3]",
                of("172.20.0.3", Kind::NoEnd),
            ),
            ("timeout after DATA (0 bytes) from app.example.org[172.20.0.3]", None),
            ("timeout after RCPT from unknown[172.20.0.3]", None),
            (
                "NOQUEUE: reject: RCPT from unknown[172.20.0.1]: 550 5.1.1 <a@b>: x",
                None,
            ),
            ("warning: hostname x does not resolve to address 172.20.0.1", None),
        ] {
            assert_eq!(trouble(message), expected, "{message}");
        }
    }

    #[test]
    fn neighbours_without_a_mailbox() {
        let line = |address: &str| {
            format!(
                "NOQUEUE: reject: RCPT from unknown[{address}]: 550 5.1.1 <a@b>: Recipient address rejected: User unknown in \
                 virtual mailbox table; from=<c@d> to=<a@b> proto=ESMTP helo=<x>"
            )
        };
        assert!(refuses_a_neighbour(&line("172.20.0.3")) && refuses_a_neighbour(&line("fd00::5")));
        assert!(
            !refuses_a_neighbour(&line("192.0.2.7"))
                && !refuses_a_neighbour("NOQUEUE: reject: RCPT from x[10.0.0.1]: 554 x")
        );
    }

    #[test]
    fn reloads() {
        let means = |text: &str| (LOG_LINES.means)(&record(text));
        assert_eq!(
            means("postfix/postfix-script[9]: refreshing the Postfix mail system"),
            Some(Meaning::ReloadBegins)
        );
        assert_eq!(
            means("postfix/master[9]: reload -- version 3.7.11, configuration /etc/postfix"),
            Some(Meaning::Reloaded)
        );
        assert_eq!(means("postfix/smtpd[9]: reload -- version"), None);
        for status in [
            "deferred (SASL authentication failed; cannot authenticate to server far[192.0.2.1]: no mechanism available)",
            "bounced (host far[192.0.2.1] said: 530 5.7.0 Authentication required (in reply to MAIL FROM command))",
        ] {
            let line = format!("postfix/smtp[9]: 4jZT: to=<a@b>, relay=far[192.0.2.1]:587, dsn=4.7.0, status={status}");
            assert_eq!(means(&line), Some(Meaning::NoLogin), "{line}");
            assert_eq!(means(&line.replace("smtp[", "virtual[")), None);
        }
        assert_eq!(
            means("postfix/postfix-script[9]: stopping the Postfix mail system"),
            None
        );
    }
}
