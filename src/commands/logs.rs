//! `mailroom logs`: the log lines, or the whole story of a message, from the files in /var/log.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::output::{complain, print};
use super::story::{self, Line};
use crate::daemons::DAEMONS;
use crate::logs::record::Record;
use crate::values::span;

/// Between two looks for new lines.
const LOOK: Duration = Duration::from_millis(300);
/// `Jan  4 12:35:01 ` is so long (RFC 3164).
const STAMP: usize = 16;

/// What is shown.
#[derive(Debug, Args)]
pub struct Options {
    /// Go on with lines as they come
    #[arg(long, short)]
    follow: bool,
    /// The story of the message with this queue id
    #[arg(long, value_name = "ID", conflicts_with_all = ["message_id", "address", "follow"])]
    queue_id: Option<String>,
    /// The story of the message with this Message-ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["address", "follow"])]
    message_id: Option<String>,
    /// The stories of messages from and to this address, and what was refused to it
    #[arg(long, conflicts_with = "follow")]
    address: Option<String>,
    /// Nothing that is older than this, such as 1h
    #[arg(long, value_parser = span::read)]
    since: Option<Duration>,
}

/// Prints it; exit code 1 where there is nothing.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let paths = paths();
    let mut lines = Vec::new();
    for path in &paths {
        lines.extend(read(&format!("{path}.1")));
        lines.extend(read(path));
    }
    if lines.is_empty() && paths.iter().all(|path| !fs::exists(path).unwrap_or(false)) {
        complain("there are no files in /var/log (MAILROOM_LOG_FILES): docker logs shows all lines");
        return Ok(1);
    }
    if let Some(since) = options.since {
        let begin = Timestamp::now() - SignedDuration::try_from(since)?;
        lines.retain(|line| line.at >= begin);
    }
    // The two daemons' files; within a second each keeps its order.
    lines.sort_by_key(|line| line.at);
    let stories = match options {
        Options { queue_id: Some(id), .. } => story::of_queue_id(&lines, id),
        Options {
            message_id: Some(id), ..
        } => story::of_message_id(&lines, id),
        Options {
            address: Some(address), ..
        } => story::of_address(&lines, address),
        _ => {
            for line in &lines {
                print(&line.text);
            }
            if options.follow {
                follow(&paths)?;
            }
            return Ok(0);
        }
    };
    if stories.is_empty() {
        complain(
            "no line speaks of that: it may be older than the files in /var/log, which hold 20 MiB each, or than --since",
        );
        return Ok(1);
    }
    print(stories.join("\n"));
    Ok(0)
}

/// The files of all daemons, each once.
fn paths() -> Vec<&'static str> {
    let mut paths: Vec<&str> = DAEMONS.iter().map(|daemon| daemon.log_lines().file).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The lines of a file; none where it cannot be read.
fn read(path: &str) -> Vec<Line> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let now = Timestamp::now();
    lines
        .filter_map(|line| parsed(String::from_utf8_lossy(&line).into_owned(), now))
        .collect()
}

/// `Jan  4 12:35:01 mail postfix/smtpd[13]: …`. There is no year: it is this one, or the last.
fn parsed(text: String, now: Timestamp) -> Option<Line> {
    let (stamp, rest) = text.split_at_checked(STAMP)?;
    let (_, said) = rest.split_once(' ')?;
    let zone = TimeZone::system();
    let year = now.to_zoned_datetime(zone.clone()).year();
    let of_year = |year: i16| {
        let time = DateTime::strptime("%Y %b %e %H:%M:%S", format!("{year} {}", stamp.trim_end())).ok()?;
        zone.to_timestamp(time).ok()
    };
    let at = of_year(year)
        .filter(|at| *at <= now + SignedDuration::from_hours(24))
        .or_else(|| of_year(year - 1))?;
    let record = Record::parse(said.as_bytes());
    Some(Line { at, text, record })
}

/// Prints what is added to the files, until it is ended. A file that is emptied, because it was full, begins anew.
fn follow(paths: &[&str]) -> io::Result<()> {
    let mut ends: Vec<u64> = paths
        .iter()
        .map(|path| fs::metadata(path).map_or(0, |found| found.len()))
        .collect();
    loop {
        sleep(LOOK);
        for (path, end) in paths.iter().zip(&mut ends) {
            let Ok(mut file) = File::open(path) else { continue };
            let length = file.metadata()?.len();
            if length < *end {
                *end = 0;
            }
            if length == *end {
                continue;
            }
            file.seek(SeekFrom::Start(*end))?;
            let mut new = Vec::new();
            file.take(length - *end).read_to_end(&mut new)?;
            // A line that is not written to its end comes the next time.
            let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            *end += whole as u64;
            if whole > 0 {
                print(String::from_utf8_lossy(&new[..whole]).trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_year_are_not_of_the_future() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let year = |text: &str| {
            let line = parsed(text.to_owned(), now).unwrap();
            line.at.to_zoned_datetime(TimeZone::UTC).year()
        };
        assert_eq!(year("Jan  1 23:59:59 mail postfix/smtpd[1]: x"), 2026);
        assert_eq!(year("Dec 31 12:00:00 mail postfix/smtpd[1]: x"), 2025);
        assert!(parsed("    Jan  1".to_owned(), now).is_none() && parsed(String::new(), now).is_none());
    }
}
