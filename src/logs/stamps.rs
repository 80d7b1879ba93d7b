//! Time stamps and the host name in the lines. Most lines come within the second of the line before, so what is written of a second is
//! kept.

use jiff::{Timestamp, tz::TimeZone};

/// What all formats put before a line.
#[derive(Debug)]
pub(super) struct Stamps {
    time_zone: TimeZone,
    host: String,
    syslog: Second,
    own: Second,
    rfc3339: Second,
    offset: Second,
    /// The last one with its fraction.
    full: String,
}

/// What is written of a second.
#[derive(Debug, Default)]
struct Second {
    second: Option<i64>,
    text: String,
}

impl Second {
    fn of(&mut self, at: Timestamp, time_zone: &TimeZone, format: &str) -> &str {
        let second = at.as_second();
        if self.second != Some(second) {
            self.text = at.to_zoned_datetime(time_zone.clone()).strftime(format).to_string();
            self.second = Some(second);
        }
        &self.text
    }
}

impl Stamps {
    /// Of this time zone and this host name.
    pub(super) fn new(time_zone: TimeZone, host: String) -> Stamps {
        Stamps {
            time_zone,
            host,
            syslog: Second::default(),
            own: Second::default(),
            rfc3339: Second::default(),
            offset: Second::default(),
            full: String::new(),
        }
    }

    /// The host name.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// `Jan  4 12:35:01` (RFC 3164).
    pub(super) fn syslog(&mut self, at: Timestamp) -> &str {
        self.syslog.of(at, &self.time_zone, "%b %e %H:%M:%S")
    }

    /// `2026-01-24 12:34:56`.
    pub(super) fn own(&mut self, at: Timestamp) -> &str {
        self.own.of(at, &self.time_zone, "%Y-%m-%d %H:%M:%S")
    }

    /// `2026-01-24T12:34:56.789+01:00` (RFC 3339).
    pub(super) fn rfc3339(&mut self, at: Timestamp) -> &str {
        let second = self.rfc3339.of(at, &self.time_zone, "%Y-%m-%dT%H:%M:%S");
        let offset = self.offset.of(at, &self.time_zone, "%:z");
        let milliseconds = at.subsec_millisecond();
        self.full = format!("{second}.{milliseconds:03}{offset}");
        &self.full
    }
}
