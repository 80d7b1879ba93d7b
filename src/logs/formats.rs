//! How lines look, in text: those of daemons as syslogd(8) writes them, our own in the shape that this image has always had.

use jiff::{Timestamp, tz::TimeZone};

/// The text format.
#[derive(Debug)]
pub(super) struct Text {
    time_zone: TimeZone,
    host: String,
}

impl Default for Text {
    /// Until the settings are read.
    fn default() -> Text {
        Text::new(TimeZone::UTC, "localhost".to_owned())
    }
}

impl Text {
    /// Stamps of this time zone, and this host name.
    pub(super) fn new(time_zone: TimeZone, host: String) -> Text {
        Text { time_zone, host }
    }

    /// A line that came through /dev/log, with its tag: `Jan  4 12:35:01 mail postfix/smtpd[13]: connect from …` (RFC 3164).
    pub(super) fn syslog(&self, at: Timestamp, text: &str) -> String {
        format!("{} {} {text}\n", self.stamp(at, "%b %e %H:%M:%S"), self.host)
    }

    /// A line that a service printed, in the same shape.
    pub(super) fn printed(&self, at: Timestamp, service: &str, text: &str) -> String {
        self.syslog(at, &format!("{service}: {text}"))
    }

    /// A line of ours: `[POSTFIX] 2026-01-24 12:34:56 message`.
    pub(super) fn own(&self, at: Timestamp, text: &str) -> String {
        format!("[POSTFIX] {} {text}\n", self.stamp(at, "%Y-%m-%d %H:%M:%S"))
    }

    fn stamp(&self, at: Timestamp, format: &str) -> String {
        at.to_zoned_datetime(self.time_zone.clone())
            .strftime(format)
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let at: Timestamp = "2026-01-04T11:35:01.9Z".parse().unwrap();
        let text = Text::new(TimeZone::fixed(jiff::tz::Offset::constant(1)), "mail".to_owned());
        assert_eq!(text.syslog(at, "dovecot: x"), "Jan  4 12:35:01 mail dovecot: x\n");
        assert_eq!(text.printed(at, "dovecot", "x"), "Jan  4 12:35:01 mail dovecot: x\n");
        assert_eq!(text.own(at, "x"), "[POSTFIX] 2026-01-04 12:35:01 x\n");
        assert_eq!(Text::default().syslog(at, "x"), "Jan  4 11:35:01 localhost x\n");
    }
}
