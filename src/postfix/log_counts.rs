//! What Postfix's log lines count for: a look at the program and the first words of each, for it is done for every line.

use super::log_reasons::reason;
use crate::logs::record::Record;
use crate::metrics::{Destination, Event, Outcome, Protocol, TlsVersion};

/// Tells what a line counts for: nothing as a rule, several things at times.
pub(super) fn counts(record: &Record, count: &mut dyn FnMut(Event)) {
    let (program, message) = (record.program(), record.message());
    match program.rsplit_once('/').map_or(program, |(_, name)| name) {
        "smtpd" => of_client(protocol(program), message, count),
        "pickup" if without_id(message).is_some_and(|rest| rest.starts_with("uid=")) => count(Event::Received),
        "cleanup" => refusal(message).into_iter().for_each(count),
        "virtual" => delivery(Destination::Mailbox, message).into_iter().for_each(count),
        "lmtp" => delivery(Destination::Lmtp, message).into_iter().for_each(count),
        "smtp" => delivery(Destination::Relay, message).into_iter().for_each(count),
        "local" | "pipe" | "error" | "retry" | "discard" => {
            delivery(Destination::Other, message).into_iter().for_each(count);
        }
        "qmgr" if message.contains(", status=expired, ") => count(Event::Delivery {
            to: Destination::Other,
            outcome: Outcome::Expired,
            delay: 0.0,
        }),
        _ => {}
    }
}

/// `postfix/smtpd` is port 25; the ports of submission have names of their own.
fn protocol(program: &str) -> Protocol {
    if program == "postfix/smtpd" {
        Protocol::Smtp
    } else {
        Protocol::Submission
    }
}

/// `4gT6PR5gZZz1V: client=…`: what stands behind the queue id.
fn without_id(message: &str) -> Option<&str> {
    let (id, rest) = message.split_once(": ")?;
    let is_id = id.len() >= 6 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then_some(rest)
}

fn of_client(protocol: Protocol, message: &str, count: &mut dyn FnMut(Event)) {
    if message.starts_with("connect from ") {
        count(Event::Session(protocol));
    } else if let Some(version) = tls(message) {
        count(Event::Tls(protocol, version));
    } else if let Some(summary) = message.strip_prefix("disconnect from ") {
        logins(protocol, summary, count);
    } else if without_id(message).is_some_and(|rest| rest.starts_with("client=")) {
        count(Event::Received);
    } else {
        refusal(message).into_iter().for_each(count);
    }
}

/// `Anonymous TLS connection established from host[192.0.2.1]: TLSv1.3 with cipher …`. The client's name holds no blank.
fn tls(message: &str) -> Option<TlsVersion> {
    let (_, rest) = message.split_once(" TLS connection established from ")?;
    let (_, version) = rest.split_once("]: ")?;
    Some(TlsVersion::of(version))
}

/// `host[192.0.2.1] ehlo=2 starttls=1 auth=1/3 mail=1 commands=5/7`: of three logins two were refused.
fn logins(protocol: Protocol, summary: &str, count: &mut dyn FnMut(Event)) {
    let mut words = summary.split(' ').skip(1);
    let Some(figures) = words.find_map(|word| word.strip_prefix("auth=")) else {
        return;
    };
    let (good, all) = figures.split_once('/').unwrap_or((figures, figures));
    let (Ok(good), Ok(all)) = (good.parse::<u32>(), all.parse::<u32>()) else {
        return;
    };
    (0..good).for_each(|_| count(Event::Login(protocol)));
    (good..all).for_each(|_| count(Event::LoginFailed(protocol)));
}

/// `NOQUEUE: reject: RCPT from …`, `4gT6PR5gZZz1V: milter-reject: END-OF-MESSAGE from …`, and the warning of a limit on clients.
fn refusal(message: &str) -> Option<Event> {
    let rest = message.strip_prefix("NOQUEUE: ").or_else(|| without_id(message))?;
    let refused = rest
        .strip_prefix("reject: ")
        .or_else(|| rest.strip_prefix("milter-reject: "));
    refused.map(|refused| Event::Rejected(reason(refused, rest.starts_with("milter-"))))
}

/// `4gT6PR5gZZz1V: to=<a@example.org>, relay=…, delay=1.2, delays=…, dsn=2.0.0, status=sent (250 2.0.0 Ok)`. The address comes first
/// and may hold anything within its brackets, the answer comes last: what is between them is Postfix's own.
fn delivery(to: Destination, message: &str) -> Option<Event> {
    let rest = without_id(message)?.strip_prefix("to=<")?;
    let (_, rest) = rest.split_once(">, ")?;
    let at = rest
        .find(", status=")
        .map(|at| (&rest[..at], &rest[at + ", status=".len()..]));
    let (figures, status) = at?;
    let outcome = match status.split([' ', ',']).next()? {
        "sent" => Outcome::Sent,
        "deferred" => Outcome::Deferred,
        "bounced" => Outcome::Bounced,
        "expired" => Outcome::Expired,
        // Probes of addresses (verify(8)): `deliverable`, `undeliverable`.
        _ => return None,
    };
    let (_, delay) = figures.split_once("delay=")?;
    let delay = delay.split(',').next()?.parse().ok()?;
    Some(Event::Delivery { to, outcome, delay })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Reason;

    fn counted(text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        counts(&Record::parse(text.as_bytes()), &mut |event| events.push(event));
        events
    }

    #[test]
    fn lines_of_a_message() {
        use Protocol::{Smtp, Submission};
        let delivery = |to, outcome, delay| vec![Event::Delivery { to, outcome, delay }];
        for (text, events) in [
            (
                "postfix/smtpd[1]: connect from unknown[192.0.2.1]",
                vec![Event::Session(Smtp)],
            ),
            (
                "postfix/submissions/smtpd[1]: Anonymous TLS connection established from unknown[192.0.2.1]: TLSv1.3 with cipher X (256/256 bits)",
                vec![Event::Tls(Submission, TlsVersion::V13)],
            ),
            (
                "postfix/submission/smtpd[1]: 4gT6PR5gZZz1V: client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=user",
                vec![Event::Received],
            ),
            (
                "postfix/pickup[1]: 4gT6PR5gZZz1V: uid=0 from=<root>",
                vec![Event::Received],
            ),
            (
                "postfix/submission/smtpd[1]: disconnect from a[192.0.2.1] ehlo=2 starttls=1 auth=1/3 mail=1 commands=5/7",
                vec![
                    Event::Login(Submission),
                    Event::LoginFailed(Submission),
                    Event::LoginFailed(Submission),
                ],
            ),
            (
                "postfix/smtpd[1]: disconnect from a[192.0.2.1] ehlo=1 mail=1 commands=2",
                Vec::new(),
            ),
            (
                "postfix/virtual[1]: 4gT6PR5gZZz1V: to=<user@example.org>, orig_to=<x@example.org>, relay=virtual, delay=0.03, delays=0.02/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)",
                delivery(Destination::Mailbox, Outcome::Sent, 0.03),
            ),
            (
                "postfix/relay/smtp[1]: 4gT6PR5gZZz1V: to=<a, status=sent (>, delay=9@example.org>, relay=none, delay=30, delays=0/0/30/0, dsn=4.4.1, status=deferred (connect to x[192.0.2.9]:25: Connection timed out)",
                Vec::new(),
            ),
            (
                "postfix/smtp[1]: 4gT6PR5gZZz1V: to=<a@example.org>, relay=none, delay=30, delays=0/0/30/0, dsn=4.4.1, status=deferred (x, status=sent (y))",
                delivery(Destination::Relay, Outcome::Deferred, 30.0),
            ),
            (
                "postfix/smtp[1]: 4gT6PR5gZZz1V: to=<a@example.org>, relay=x, delay=1, delays=0/0/1/0, dsn=2.0.0, status=deliverable (ok)",
                Vec::new(),
            ),
            (
                "postfix/qmgr[1]: 4gT6PR5gZZz1V: from=<a@example.org>, status=expired, returned to sender",
                delivery(Destination::Other, Outcome::Expired, 0.0),
            ),
            (
                "postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 <a@example.org>: Relay access denied; from=<b> to=<a@example.org> proto=ESMTP helo=<x>",
                vec![Event::Rejected(Reason::RelayDenied)],
            ),
            ("postfix/cleanup[1]: 4gT6PR5gZZz1V: message-id=<reject: x>", Vec::new()),
        ] {
            assert_eq!(counted(text), events, "{text}");
        }
    }
}
