//! The fields of Dovecot's log lines, by the shapes that its processes write: what a client wrote is a name within brackets.

use crate::logs::fields::{Fields, bracketed};
use crate::logs::record::Record;

/// What a line says.
pub(super) fn fields(record: &Record) -> Fields<'_> {
    let mut fields = Fields::default();
    let Some((origin, said)) = record.message().split_once(": ") else {
        return fields;
    };
    if let Some(process) = origin.strip_suffix("-login") {
        fields.add("process", origin);
        fields.add("protocol", if process == "managesieve" { "sieve" } else { process });
        login(said, &mut fields);
    } else {
        of_session(record.message(), &mut fields);
    }
    fields
}

/// `Logged in: user=<a@example.org>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, mpid=7, TLS, TLSv1.3 with cipher X (…), session=<x>`,
/// `Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<a>, …`.
fn login<'a>(said: &'a str, fields: &mut Fields<'a>) {
    let Some((event, rest)) = said.split_once(": user=") else {
        return;
    };
    let (action, reason) = event.split_once(": ").unwrap_or((event, ""));
    fields.add("action", action);
    fields.add_some("reason", Some(reason).filter(|reason| !reason.is_empty()));
    let Some((user, rest)) = bracketed(rest) else { return };
    fields.add_some("user", Some(user).filter(|user| !user.is_empty()));
    for element in rest.trim_start_matches(", ").split(", ") {
        match element.split_once('=') {
            Some(("method", method)) => fields.add("method", method),
            Some(("rip", address)) => fields.add("client_address", address),
            Some(("lip", address)) => fields.add("server_address", address),
            Some(("session", session)) => fields.add_some("session", bracketed(session).map(|(id, _)| id)),
            None => tls(element, fields),
            Some(_) => {}
        }
    }
}

/// `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)`.
fn tls<'a>(element: &'a str, fields: &mut Fields<'a>) {
    if let Some((version, cipher)) = element
        .strip_prefix("TLSv")
        .and_then(|rest| rest.split_once(" with cipher "))
    {
        fields.add("tls_version", version);
        fields.add_some("cipher", cipher.split(' ').next());
    }
}

/// `imap(a@example.org)<44><session>: Disconnected: Logged out in=0 out=457 …`, `lmtp(a@example.org)<44><session>: msgid=<x@y>: saved mail to
/// INBOX`, `auth(a@example.org,192.0.2.1,sasl:plain)<session>: …`, `master: Dovecot v2.4.1 starting up …`.
fn of_session<'a>(message: &'a str, fields: &mut Fields<'a>) {
    let process = message.split(['(', ':']).next().unwrap_or_default();
    fields.add("process", process);
    let Some(rest) = message[process.len()..].strip_prefix('(') else {
        return;
    };
    // A user's name may hold brackets: the last that is followed by a session ends it.
    let Some((who, rest)) = rest.split_once(")<") else {
        return;
    };
    let mut words = who.split(',');
    fields.add_some("user", words.next().filter(|user| !user.is_empty()));
    fields.add_some("client_address", words.next());
    let (first, rest) = rest.split_once('>').unwrap_or((rest, ""));
    let (session, rest) = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((session, rest)) => {
            fields.add("pid", first);
            (session, rest)
        }
        None => (first, rest),
    };
    fields.add_some("session", Some(session).filter(|session| !session.is_empty()));
    let said = rest.trim_start_matches(": ");
    let said = said.strip_prefix("sieve: ").unwrap_or(said);
    if let Some((id, said)) = said.strip_prefix("msgid=").and_then(bracketed) {
        fields.add("message_id", id);
        fields.add("action", said.trim_start_matches(": "));
    } else if let Some(reason) = said.strip_prefix("Disconnected: ") {
        fields.add("action", "Disconnected");
        fields.add_some("reason", reason.split(" in=").next());
    }
}
