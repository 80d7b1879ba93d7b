//! How lines look. In text: those of daemons as syslogd(8) writes them, our own in the shape that this image has always had. As JSON:
//! see `json`. The files in /var/log hold text in either case.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

use super::fields::Fields;
use super::json;
use super::queue::Own;
use super::record::Record;
use super::stamps::Stamps;

/// What standard output gets (`MAILROOM_LOG_FORMAT`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Writes lines.
#[derive(Debug)]
pub(super) struct Formatter {
    stamps: Stamps,
    format: Format,
}

impl Default for Formatter {
    /// Until the settings are read.
    fn default() -> Formatter {
        Formatter::new(TimeZone::UTC, "localhost".to_owned(), Format::Text)
    }
}

impl Formatter {
    /// Stamps of this time zone, and this host name.
    pub(super) fn new(time_zone: TimeZone, host: String, format: Format) -> Formatter {
        let stamps = Stamps::new(time_zone, host);
        Formatter { stamps, format }
    }

    /// A line of the files, with its tag: `Jan  4 12:35:01 mail postfix/smtpd[13]: connect from …` (RFC 3164).
    pub(super) fn text(&mut self, at: Timestamp, text: &str, to: &mut String) {
        to.push_str(self.stamps.syslog(at));
        let _ = writeln!(to, " {} {text}", self.stamps.host());
    }

    /// The same line for standard output. Whose it is, and what it says, is asked where that is shown.
    pub(super) fn syslog<'a>(
        &mut self,
        at: Timestamp,
        service: &str,
        record: &'a Record,
        fields: impl FnOnce(&'a Record) -> Fields<'a>,
        to: &mut String,
    ) {
        match self.format {
            Format::Text => self.text(at, &record.text, to),
            Format::Json => json::syslog(&mut self.stamps, at, service, record, &fields(record), to),
        }
    }

    /// A line that a service printed.
    pub(super) fn printed(&mut self, at: Timestamp, service: &str, text: &str, to: &mut String) {
        match self.format {
            Format::Text => self.text(at, &format!("{service}: {text}"), to),
            Format::Json => json::printed(&mut self.stamps, at, service, text, to),
        }
    }

    /// A line of ours: `[POSTFIX] 2026-01-24 12:34:56 message`.
    pub(super) fn own(&mut self, own: &Own, to: &mut String) {
        match self.format {
            Format::Text => {
                let _ = writeln!(to, "[POSTFIX] {} {}", self.stamps.own(own.at), own.text);
            }
            Format::Json => json::own(&mut self.stamps, own, to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use tracing::Level;

    fn formatter(format: Format) -> Formatter {
        let time_zone = TimeZone::fixed(jiff::tz::Offset::constant(1));
        Formatter::new(time_zone, "mail".to_owned(), format)
    }

    fn own() -> Own {
        Own {
            at: "2026-01-04T11:35:01.9Z".parse().unwrap(),
            level: Level::WARN,
            text: "x \"y\"".to_owned(),
            fields: vec![("service", "postfix".to_owned()), ("pid", "7".to_owned())],
        }
    }

    /// Both kinds of lines.
    fn lines(format: Format, datagram: &[u8]) -> [String; 3] {
        let mut formatter = formatter(format);
        let [mut syslog, mut printed, mut ours] = [String::new(), String::new(), String::new()];
        let record = Record::parse(datagram);
        let nothing = |_: &Record| Fields::default();
        formatter.syslog(own().at, "dovecot", &record, nothing, &mut syslog);
        formatter.printed(own().at, "dovecot", "x", &mut printed);
        formatter.own(&own(), &mut ours);
        [syslog, printed, ours]
    }

    #[test]
    fn text() {
        let lines = lines(Format::Text, b"<22>Jan  4 11:35:01 dovecot: x");
        assert_eq!(
            lines,
            [
                "Jan  4 12:35:01 mail dovecot: x\n",
                "Jan  4 12:35:01 mail dovecot: x\n",
                "[POSTFIX] 2026-01-04 12:35:01 x \"y\"\n"
            ]
        );
    }

    #[test]
    fn json() {
        let [syslog, _, ours] = lines(Format::Json, b"<20>Jan  4 11:35:01 postfix/smtpd[13]: x");
        assert_eq!(
            syslog,
            "{\"time\":\"2026-01-04T12:35:01.900+01:00\",\"host\":\"mail\",\"service\":\"dovecot\",\"process\":\"postfix/smtpd\",\
             \"pid\":13,\"level\":\"warn\",\"message\":\"x\"}\n"
        );
        assert_eq!(
            ours,
            "{\"time\":\"2026-01-04T12:35:01.900+01:00\",\"host\":\"mail\",\"service\":\"mailroom\",\"level\":\"warn\",\
             \"message\":\"x \\\"y\\\"\",\"about\":\"postfix\",\"pid\":7}\n"
        );
    }

    proptest! {
        #[test]
        fn any_datagram_is_one_line_of_json_with_all_that_it_says(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let [line, ..] = lines(Format::Json, &bytes);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&line).unwrap();
            let record = Record::parse(&bytes);
            prop_assert_eq!(value["message"].as_str(), Some(record.message()));
        }
    }
}
