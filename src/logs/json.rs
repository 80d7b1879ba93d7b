//! The JSON format: one object a line, with the fields that each daemon finds in its lines. Names are those of the daemons; a value that
//! is a number is one here.

use std::fmt::Write;

use jiff::Timestamp;
use serde::Serializer;
use serde::ser::SerializeMap;
use tracing::Level;

use super::fields::Fields;
use super::queue::Own;
use super::record::Record;
use super::stamps::Stamps;

/// Fields whose values are numbers.
const NUMBERS: [&str; 12] = [
    "pid",
    "uid",
    "size",
    "nrcpt",
    "code",
    "conn_use",
    "delay",
    "delay_before_queue",
    "delay_in_queue",
    "delay_connection",
    "delay_transmission",
    "after_ms",
];

/// What every line begins with.
struct Head<'a> {
    at: Timestamp,
    service: &'a str,
    process: Option<&'a str>,
    pid: Option<&'a str>,
    level: Level,
}

/// Adds a line that came through /dev/log.
pub(super) fn syslog(
    stamps: &mut Stamps,
    at: Timestamp,
    service: &str,
    record: &Record,
    fields: &Fields,
    to: &mut String,
) {
    let head = Head {
        at,
        service,
        process: fields.get("process").or(Some(record.program())),
        pid: fields.get("pid").or(record.pid()),
        level: record.level,
    };
    let rest = fields.iter().filter(|(name, _)| !matches!(*name, "process" | "pid"));
    object(stamps, &head, record.message(), rest, to);
}

/// Adds a line that a service printed.
pub(super) fn printed(stamps: &mut Stamps, at: Timestamp, service: &str, text: &str, to: &mut String) {
    let head = Head {
        at,
        service,
        process: None,
        pid: None,
        level: Level::INFO,
    };
    object(stamps, &head, text, std::iter::empty(), to);
}

/// Adds a line of ours.
pub(super) fn own(stamps: &mut Stamps, own: &Own, to: &mut String) {
    let field = |name: &str| {
        own.fields
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    };
    let head = Head {
        at: own.at,
        service: "mailroom",
        process: None,
        pid: None,
        level: own.level,
    };
    let about = field("service").map(|service| ("about", service));
    let rest = own.fields.iter().filter(|(name, _)| *name != "service");
    let rest = rest.map(|(name, value)| (*name, value.as_str()));
    object(stamps, &head, &own.text, about.into_iter().chain(rest), to);
}

fn object<'a>(
    stamps: &mut Stamps,
    head: &Head<'_>,
    message: &str,
    fields: impl Iterator<Item = (&'static str, &'a str)>,
    to: &mut String,
) {
    let mut bytes = Vec::with_capacity(512);
    let written = (|| {
        let mut json = serde_json::Serializer::new(&mut bytes);
        let mut map = json.serialize_map(None)?;
        map.serialize_entry("time", stamps.rfc3339(head.at))?;
        map.serialize_entry("host", stamps.host())?;
        map.serialize_entry("service", head.service)?;
        for (name, value) in [("process", head.process), ("pid", head.pid)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                entry(&mut map, name, value)?;
            }
        }
        map.serialize_entry("level", word(head.level))?;
        map.serialize_entry("message", message)?;
        for (name, value) in fields {
            entry(&mut map, name, value)?;
        }
        SerializeMap::end(map)
    })();
    if written.is_ok() {
        let _ = writeln!(to, "{}", String::from_utf8_lossy(&bytes));
    }
}

fn entry<M: SerializeMap>(map: &mut M, name: &str, value: &str) -> Result<(), M::Error> {
    let number = NUMBERS.contains(&name).then(|| value.parse::<f64>().ok()).flatten();
    match (number, value.parse::<i64>()) {
        (Some(_), Ok(whole)) => map.serialize_entry(name, &whole),
        (Some(number), Err(_)) if number.is_finite() => map.serialize_entry(name, &number),
        _ => map.serialize_entry(name, value),
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
