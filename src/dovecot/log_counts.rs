//! What Dovecot's log lines count for: those of its login processes, one for each session that begins or is refused.

use crate::logs::record::Record;
use crate::metrics::{Event, Protocol, TlsVersion};

/// `imap-login: Logged in: user=<user@example.org>, method=PLAIN, rip=…, lip=…, mpid=7, TLS, TLSv1.3 with cipher …, session=<x>`,
/// `pop3-login: Login aborted: … (auth_failed): user=<user>, …`.
pub(super) fn counts(record: &Record, count: &mut dyn FnMut(Event)) {
    let message = record.message();
    let Some((program, said)) = message.split_once("-login: ") else {
        return;
    };
    let protocol = match program {
        "imap" => Protocol::Imap,
        "pop3" => Protocol::Pop3,
        "managesieve" => Protocol::Sieve,
        _ => return,
    };
    let is_login = said.starts_with("Logged in: user=<");
    let is_refused = said.starts_with("Login aborted: ");
    if !is_login && !is_refused {
        return;
    }
    count(Event::Session(protocol));
    // The client's own text, its name, comes before the addresses.
    let own = said.rsplit_once(", lip=").map_or("", |(_, own)| own);
    if let Some((_, version)) = own.split_once(", TLSv") {
        count(Event::Tls(protocol, TlsVersion::of(&format!("TLSv{version}"))));
    }
    if is_login {
        count(Event::Login(protocol));
    } else if ["(auth_failed): user=<", "(cleartext_auth_disabled): user=<"]
        .iter()
        .any(|why| said.contains(why))
    {
        count(Event::LoginFailed(protocol));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        counts(&Record::parse(text.as_bytes()), &mut |event| events.push(event));
        events
    }

    #[test]
    fn sessions_and_logins() {
        use Protocol::{Imap, Pop3};
        for (text, events) in [
            (
                "dovecot: imap-login: Logged in: user=<u@a.test>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, mpid=5, TLS, TLSv1.3 with cipher X (256/256 bits), session=<x>",
                vec![
                    Event::Session(Imap),
                    Event::Tls(Imap, TlsVersion::V13),
                    Event::Login(Imap),
                ],
            ),
            (
                "dovecot: pop3-login: Login aborted: Logged out (auth failed, 1 attempts in 2 secs) (auth_failed): user=<a, lip=1, TLSv1.0>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, session=<x>",
                vec![Event::Session(Pop3), Event::LoginFailed(Pop3)],
            ),
            (
                "dovecot: imap-login: Login aborted: Connection closed (no auth attempts in 0 secs) (no_auth_attempts): user=<>, rip=192.0.2.1, lip=192.0.2.2, session=<x>",
                vec![Event::Session(Imap)],
            ),
            (
                "dovecot: imap(u@a.test)<5><x>: Disconnected: Logged out in=1 out=2",
                Vec::new(),
            ),
        ] {
            assert_eq!(counted(text), events, "{text}");
        }
    }
}
