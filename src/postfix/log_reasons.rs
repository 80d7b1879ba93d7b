//! Why smtpd(8) and cleanup(8) refuse, as a class: from the words of their answers (smtpd_check.c, cleanup_milter.c), which come
//! behind the client's name and the code, and before its own text.

use crate::metrics::Reason;

/// Words of an answer, and the class that they stand for. The first that is found decides.
const WORDS: [(&str, Reason); 30] = [
    ("Relay access denied", Reason::RelayDenied),
    ("User unknown", Reason::UnknownRecipient),
    ("undeliverable address", Reason::UnknownRecipient),
    ("not owned by user", Reason::SenderNotAllowed),
    ("not logged in", Reason::LoginRequired),
    ("Must issue a STARTTLS command first", Reason::LoginRequired),
    ("Authentication required", Reason::LoginRequired),
    ("Client host rejected: Access denied", Reason::LoginRequired),
    ("too many", Reason::RateLimit),
    ("Too many", Reason::RateLimit),
    ("too much mail", Reason::RateLimit),
    ("recipients an hour", Reason::RateLimit),
    ("exceeds fixed limit", Reason::Size),
    ("file too big", Reason::Size),
    ("size limit", Reason::Size),
    ("Mailbox is full", Reason::Size),
    ("mailbox is full", Reason::Size),
    ("Quota exceeded", Reason::Size),
    ("Insufficient system storage", Reason::Size),
    ("Domain not found", Reason::Dns),
    ("Host not found", Reason::Dns),
    ("cannot find your", Reason::Dns),
    ("does not accept mail (nullMX)", Reason::Dns),
    ("need fully-qualified", Reason::Dns),
    ("Invalid name", Reason::Protocol),
    ("Improper use of SMTP command pipelining", Reason::Protocol),
    ("bare <LF>", Reason::Protocol),
    ("send HELO/EHLO first", Reason::Protocol),
    ("Bad ", Reason::Protocol),
    ("Access denied", Reason::Policy),
];

/// Of what stands behind `reject: ` or `milter-reject: `.
pub(super) fn reason(refused: &str, is_milter: bool) -> Reason {
    if is_milter {
        return Reason::Policy;
    }
    // Behind the answer comes `; from=<…> to=<…>`, which the client wrote; before it, `<…>: ` may quote it.
    let answer = refused.split_once("]: ").map_or(refused, |(_, answer)| answer);
    let answer = answer.split("; from=<").next().unwrap_or(answer);
    let answer = answer.split_once(">: ").map_or(answer, |(_, words)| words);
    let found = WORDS.iter().find(|(words, _)| answer.contains(words));
    found.map_or(Reason::Other, |(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (refused, class) in [
            (
                "RCPT from unknown[192.0.2.1]: 554 5.7.1 <a@b.test>: Relay access denied; from=<User unknown@x> to=<a@b.test>",
                Reason::RelayDenied,
            ),
            (
                "RCPT from unknown[192.0.2.1]: 550 5.1.1 <Relay access denied@b.test>: Recipient address rejected: User unknown in virtual mailbox table; from=<>",
                Reason::UnknownRecipient,
            ),
            (
                "RCPT from a[192.0.2.1]: 553 5.7.1 <x@y.test>: Sender address rejected: not owned by user user@y.test; from=<x@y.test>",
                Reason::SenderNotAllowed,
            ),
            (
                "RCPT from a[192.0.2.1]: 450 4.7.1 <x>: Helo command rejected: Host not found; from=<x>",
                Reason::Dns,
            ),
            (
                "MAIL from a[192.0.2.1]: 552 5.3.4 Message size exceeds fixed limit; proto=ESMTP helo=<x>",
                Reason::Size,
            ),
            (
                "CONNECT from a[192.0.2.1]: 421 4.7.0 a[192.0.2.1] Error: too many connections",
                Reason::RateLimit,
            ),
            (
                "RCPT from a[192.0.2.1]: 554 5.7.1 <x>: Recipient address rejected: go away; from=<x>",
                Reason::Other,
            ),
        ] {
            assert_eq!(reason(refused, false), class, "{refused}");
        }
        assert_eq!(
            reason("END-OF-MESSAGE from a[192.0.2.1]: 5.7.1 spam", true),
            Reason::Policy
        );
    }
}
