//! `mailroom status`: how the server is, for people, or as one JSON object.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::output::{complain, print};
use super::table::Table;
use crate::metrics::{History, Sample};
use crate::status::gather::gather;
use crate::status::{Remembered, Status};
use crate::values::{counted, span};

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// Clears the terminal, and goes to its first line (ECMA-48).
const CLEAR: &str = "\x1b[2J\x1b[H";
/// Lines of the log that are shown.
const WARNINGS: usize = 5;
const DAY: i64 = 86_400;

/// Prints it; exit code 1 where clients are not served.
pub fn run(as_json: bool, watch: bool) -> anyhow::Result<u8> {
    if !nix::unistd::geteuid().is_root() {
        complain("the status needs root: docker exec -u root …, or the page that MAILROOM_HTTP_LISTEN says");
        return Ok(1);
    }
    loop {
        let status = gather();
        if as_json {
            print(serde_json::to_string(&status)?);
        } else if watch && io::stdout().is_terminal() {
            print(format_args!("{CLEAR}{}", text(&status)));
        } else {
            print(text(&status));
        }
        if !watch {
            return Ok(u8::from(!status.health.is_ready()));
        }
        sleep(PAUSE);
    }
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let up = status.remembered.as_ref().map_or(String::new(), |remembered| {
        format!(", up {}", ago(status.time, remembered.started))
    });
    let _ = writeln!(text, "mailroom {} on {}{up}", status.version, status.host);
    let _ = writeln!(text, "{}\n", status.health);
    let _ = writeln!(text, "{}\n", services(status));
    let _ = writeln!(text, "queue        {}", queue(status));
    let _ = writeln!(text, "accounts     {}", accounts(status));
    let _ = writeln!(text, "certificate  {}", certificate(status));
    if let Some(remembered) = &status.remembered {
        let _ = write!(text, "\n{}\n\n{}", recent(&remembered.history), warnings(remembered));
    }
    text
}

fn ago(now: i64, then: i64) -> String {
    span::shown(Duration::from_secs(u64::try_from(now - then).unwrap_or_default()))
}

fn services(status: &Status) -> Table {
    let mut table = Table::new(&["DAEMON", "STATE", "FOR", "PROCESS", "RESTARTS"]);
    for service in &status.services {
        let pid = service.pid.map_or("-".to_owned(), |pid| pid.to_string());
        table.row(&[
            &service.name,
            &service.state,
            &ago(status.time, service.since),
            &pid,
            &service.restarts.to_string(),
        ]);
    }
    table
}

fn queue(status: &Status) -> String {
    let filled = status.queues.iter().filter(|queue| queue.messages > 0);
    let each: Vec<String> = filled
        .map(|queue| format!("{} {}", queue.messages, queue.name.word()))
        .collect();
    let oldest = status.queues.iter().filter_map(|queue| queue.oldest).min();
    match oldest {
        _ if each.is_empty() => "empty".to_owned(),
        None => each.join(", "),
        Some(oldest) => format!("{}; the oldest waits for {}", each.join(", "), ago(status.time, oldest)),
    }
}

fn accounts(status: &Status) -> String {
    let others = if status.has_directory {
        ", and those of the directory"
    } else {
        ""
    };
    format!("{}{others}", status.accounts)
}

fn certificate(status: &Status) -> String {
    let Some(certificate) = &status.certificate else {
        return "none that can be read".to_owned();
    };
    let days = (certificate.expires - status.time) / DAY;
    let day =
        Timestamp::from_second(certificate.expires).map_or(String::new(), |at| at.strftime("%Y-%m-%d").to_string());
    let ends = if certificate.expires <= status.time {
        format!("expired on {day}")
    } else {
        format!("until {day}, {}", counted(days, "day", "days"))
    };
    let by = if certificate.is_ours {
        "self-signed".to_owned()
    } else {
        certificate.issuer.clone()
    };
    format!("{ends}; for {}; {by}", certificate.names.join(", "))
}

fn recent(history: &History) -> Table {
    let mut table = Table::new(&[
        "LAST",
        "RECEIVED",
        "DELIVERED",
        "DEFERRED",
        "BOUNCED",
        "REJECTED",
        "LOGINS",
        "REFUSED",
    ]);
    for (name, samples) in [("hour", &history.hour), ("day", &history.day)] {
        let sum = |figure: fn(&Sample) -> u64| samples.iter().map(figure).sum::<u64>().to_string();
        table.row(&[
            name,
            &sum(|sample| sample.received),
            &sum(|sample| sample.delivered),
            &sum(|sample| sample.deferred),
            &sum(|sample| sample.bounced),
            &sum(|sample| sample.rejected),
            &sum(|sample| sample.logins),
            &sum(|sample| sample.login_failures),
        ]);
    }
    table
}

fn warnings(remembered: &Remembered) -> String {
    let last = &remembered.warnings[remembered.warnings.len().saturating_sub(WARNINGS)..];
    if last.is_empty() {
        return "no warnings".to_owned();
    }
    let line = |warning: &crate::logs::Warning| {
        let at = Timestamp::from_second(warning.time)
            .unwrap_or_default()
            .to_zoned_datetime(TimeZone::system());
        format!(
            "  {} {}: {}",
            at.strftime("%b %e %H:%M:%S"),
            warning.service,
            warning.text
        )
    };
    let lines: Vec<String> = last.iter().map(line).collect();
    format!("last warnings:\n{}", lines.join("\n"))
}
