//! The fields of Postfix's log lines, by the shapes that its programs write: what a client or another server wrote stands within
//! brackets, or at the end.

use crate::logs::fields::{Fields, bracketed};
use crate::logs::record::Record;

/// What a line says.
pub(super) fn fields(record: &Record) -> Fields<'_> {
    let mut fields = Fields::default();
    let (id, said) = split_id(record.message());
    fields.add_some("queue_id", id);
    let program = record.program();
    match program.rsplit_once('/').map_or(program, |(_, name)| name) {
        "smtpd" => of_smtpd(said, &mut fields),
        "cleanup" => of_cleanup(said, &mut fields),
        "qmgr" | "pickup" | "bounce" => of_queue(said, &mut fields),
        "smtp" | "lmtp" if tls(said, " TLS connection established to ", &mut fields) => {}
        _ => delivery(said, &mut fields),
    }
    fields
}

/// `4gT6PR5gZZz1V: client=…`, `NOQUEUE: reject: …`, `connect from …`.
pub(super) fn split_id(message: &str) -> (Option<&str>, &str) {
    let Some((id, rest)) = message.split_once(": ") else {
        return (None, message);
    };
    let is_short = id
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
        && id.len() >= 6;
    let is_long = id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && id[10..].starts_with('z');
    match id {
        "NOQUEUE" => (None, rest),
        _ if is_short || is_long => (Some(id), rest),
        _ => (None, message),
    }
}

fn of_smtpd<'a>(said: &'a str, fields: &mut Fields<'a>) {
    if let Some(client) = said.strip_prefix("connect from ") {
        self::client(client, fields);
    } else if let Some(summary) = said.strip_prefix("disconnect from ") {
        self::client(summary.split(' ').next().unwrap_or_default(), fields);
    } else if let Some(client) = said.strip_prefix("client=") {
        accepted(client, fields);
    } else if let Some((action, refused)) = refusal(said) {
        fields.add("action", action);
        reject(refused, fields);
    } else if let Some(warning) = said.strip_prefix("warning: ") {
        failed_login(warning, fields);
    } else if !tls(said, " TLS connection established from ", fields) {
        ended(said, fields);
    }
}

/// `host.example.org[192.0.2.1]`; the name holds no bracket.
fn client<'a>(text: &'a str, fields: &mut Fields<'a>) {
    fields.add("client", text);
    let address = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    fields.add_some("client_address", address.map(|(address, _)| address));
}

/// `host[192.0.2.1], sasl_method=PLAIN, sasl_username=user@example.org`.
fn accepted<'a>(text: &'a str, fields: &mut Fields<'a>) {
    let (peer, rest) = text.split_once(", ").unwrap_or((text, ""));
    client(peer, fields);
    let after = |key: &str| rest.split_once(key).map(|(_, value)| value);
    let method = after("sasl_method=").and_then(|value| value.split(", ").next());
    fields.add_some("method", method);
    let user = after("sasl_username=").and_then(|value| value.split(", sasl_sender=").next());
    fields.add_some("user", user);
}

fn refusal(said: &str) -> Option<(&'static str, &str)> {
    let actions = [
        "reject",
        "milter-reject",
        "hold",
        "discard",
        "redirect",
        "warn",
        "reject_warning",
    ];
    let mut found = actions.into_iter().filter_map(|action| {
        let rest = said.strip_prefix(action)?.strip_prefix(": ")?;
        Some((action, rest))
    });
    found.next()
}

/// `RCPT from host[192.0.2.1]: 554 5.7.1 <a@example.org>: Relay access denied; from=<b> to=<a@example.org> proto=ESMTP helo=<x>`.
fn reject<'a>(refused: &'a str, fields: &mut Fields<'a>) {
    let Some((stage, rest)) = refused.split_once(" from ") else {
        return;
    };
    fields.add("stage", stage);
    let Some((peer, answer)) = rest.split_once("]: ") else {
        return;
    };
    client(&rest[..=peer.len()], fields);
    let (code, answer) = number(answer, 3).unzip_or(answer);
    fields.add_some("code", code);
    let (dsn, answer) = enhanced(answer).unzip_or(answer);
    fields.add_some("dsn", dsn);
    // The answer may quote the client first; what the client said as a whole comes last.
    let quoted = bracketed(answer).map_or(0, |(_, rest)| answer.len() - rest.len());
    let end = answer[quoted..]
        .find("; from=<")
        .or_else(|| answer[quoted..].find("; proto="));
    let end = end.map_or(answer.len(), |at| quoted + at);
    fields.add("reason", &answer[..end]);
    envelope(answer[end..].trim_start_matches("; "), fields);
}

/// `from=<b> to=<a@example.org> proto=ESMTP helo=<x>`.
fn envelope<'a>(text: &'a str, fields: &mut Fields<'a>) {
    let mut rest = text;
    for name in ["from", "to", "proto", "sasl_username", "helo"] {
        let Some(value) = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else {
            continue;
        };
        let (value, behind) = match bracketed(value) {
            Some(within) => within,
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
        };
        fields.add(if name == "sasl_username" { "user" } else { name }, value);
        rest = behind.trim_start();
    }
}

/// `host[192.0.2.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=user`.
fn failed_login<'a>(warning: &'a str, fields: &mut Fields<'a>) {
    let Some((peer, failure)) = warning.split_once("]: SASL ") else {
        return;
    };
    client(&warning[..=peer.len()], fields);
    let Some((method, failure)) = failure.split_once(" authentication failed: ") else {
        return;
    };
    fields.add("method", method);
    let (reason, user) = failure.rsplit_once(", sasl_username=").unwrap_or((failure, ""));
    fields.add("reason", reason);
    fields.add_some("user", Some(user).filter(|user| !user.is_empty()));
}

/// `Anonymous TLS connection established from host[192.0.2.1]: TLSv1.3 with cipher X (256/256 bits) …`.
fn tls<'a>(said: &'a str, words: &str, fields: &mut Fields<'a>) -> bool {
    let Some((_, rest)) = said.split_once(words) else {
        return false;
    };
    let Some((peer, session)) = rest.split_once(": TLSv").or_else(|| rest.split_once(": SSLv")) else {
        return false;
    };
    if words.ends_with("from ") {
        client(peer, fields);
    } else {
        fields.add("relay", peer);
    }
    let (version, rest) = session.split_once(" with cipher ").unwrap_or((session, ""));
    fields.add("tls_version", version);
    fields.add_some("cipher", rest.split(' ').next());
    true
}

/// `lost connection after DATA (123 bytes) from host[192.0.2.1]`, `timeout after RCPT from …`, `too many errors after AUTH from …`.
fn ended<'a>(said: &'a str, fields: &mut Fields<'a>) {
    let ends = ["lost connection after ", "timeout after ", "too many errors after "];
    let Some(end) = ends.into_iter().find(|end| said.starts_with(end)) else {
        return;
    };
    let Some((stage, peer)) = said[end.len()..].rsplit_once(" from ") else {
        return;
    };
    fields.add("reason", end.trim_end_matches(" after "));
    fields.add("stage", stage);
    client(peer, fields);
}

fn of_cleanup<'a>(said: &'a str, fields: &mut Fields<'a>) {
    if let Some(id) = said.strip_prefix("message-id=") {
        fields.add("message_id", bracketed(id).map_or(id, |(id, _)| id));
    } else if let Some((action, refused)) = refusal(said) {
        fields.add("action", action);
        reject(refused, fields);
    }
}

/// qmgr(8): `from=<a>, size=474, nrcpt=1 (queue active)`, `removed`, `from=<a>, status=expired, returned to sender`. pickup(8):
/// `uid=0 from=<root>`. bounce(8): `sender non-delivery notification: 4gT6PR5gZZz1W`.
fn of_queue<'a>(said: &'a str, fields: &mut Fields<'a>) {
    if said == "removed" {
        fields.add("action", "removed");
    } else if let Some((kind, id)) = said.split_once(" notification: ") {
        fields.add("action", kind);
        fields.add("notification", id);
    } else if let Some((uid, rest)) = said.strip_prefix("uid=").and_then(|rest| rest.split_once(' ')) {
        fields.add("uid", uid);
        envelope(rest, fields);
    } else if let Some((from, rest)) = said.strip_prefix("from=").and_then(bracketed) {
        fields.add("from", from);
        let value = |key: &str| {
            rest.split_once(key)
                .and_then(|(_, value)| value.split([',', ' ']).next())
        };
        fields.add_some("size", value(", size="));
        fields.add_some("nrcpt", value(", nrcpt="));
        fields.add_some("status", value(", status="));
    }
}

/// `to=<a@example.org>, orig_to=<b>, relay=mx[192.0.2.1]:25, conn_use=2, delay=1.2, delays=1/0.1/0.1/0, dsn=2.0.0, status=sent (250 …)`.
fn delivery<'a>(said: &'a str, fields: &mut Fields<'a>) {
    let Some((to, rest)) = said.strip_prefix("to=").and_then(bracketed) else {
        return;
    };
    fields.add("to", to);
    let mut rest = rest.trim_start_matches(", ");
    if let Some((original, behind)) = rest.strip_prefix("orig_to=").and_then(bracketed) {
        fields.add("orig_to", original);
        rest = behind.trim_start_matches(", ");
    }
    let (figures, status) = rest.split_once(", status=").unwrap_or((rest, ""));
    for figure in figures.split(", ") {
        match figure.split_once('=') {
            Some(("relay", relay)) => fields.add("relay", relay),
            Some(("conn_use", uses)) => fields.add("conn_use", uses),
            Some(("delay", delay)) => fields.add("delay", delay),
            Some(("delays", delays)) => parts_of_delay(delays, fields),
            Some(("dsn", dsn)) => fields.add("dsn", dsn),
            _ => {}
        }
    }
    let (word, reason) = status.split_once(' ').unwrap_or((status, ""));
    fields.add_some(
        "status",
        Some(word.trim_end_matches(',')).filter(|word| !word.is_empty()),
    );
    let reason = reason.strip_prefix('(').and_then(|reason| reason.strip_suffix(')'));
    fields.add_some("reason", reason);
}

/// Seconds before the queue manager, in it, for the connection, for the transmission (postconf(5), `delay_logging_resolution_limit`).
fn parts_of_delay<'a>(delays: &'a str, fields: &mut Fields<'a>) {
    let names = [
        "delay_before_queue",
        "delay_in_queue",
        "delay_connection",
        "delay_transmission",
    ];
    for (name, seconds) in names.into_iter().zip(delays.split('/')) {
        fields.add(name, seconds);
    }
}

/// A number of so many digits and a blank behind it, and the rest.
fn number(text: &str, digits: usize) -> Option<(&str, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number, rest.strip_prefix([' ', '-'])?)).filter(|_| is_number)
}

/// An enhanced status code, as 5.7.1 (RFC 3463), and the rest.
fn enhanced(text: &str) -> Option<(&str, &str)> {
    let (code, rest) = text.split_once(' ')?;
    let is_code = code.split('.').count() == 3 && code.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Some((code, rest)).filter(|_| is_code)
}

/// A part that may be there, and what is left either way.
trait OrAll<'a> {
    fn unzip_or(self, all: &'a str) -> (Option<&'a str>, &'a str);
}

impl<'a> OrAll<'a> for Option<(&'a str, &'a str)> {
    fn unzip_or(self, all: &'a str) -> (Option<&'a str>, &'a str) {
        self.map_or((None, all), |(part, rest)| (Some(part), rest))
    }
}
