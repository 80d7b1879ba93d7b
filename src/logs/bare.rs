//! Connections that say nothing, as load balancers and monitors make them by the minute: of each address one leaves a line within an
//! hour, and the others are counted. So that such a connection has no line of its beginning, that line waits until its process says
//! more: what a client does is always shown.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::Record;

/// Time between two lines of one address.
const HOUR: Duration = Duration::from_secs(3_600);
/// Longest wait of a line for the next one of its process.
const LONGEST: Duration = Duration::from_secs(3);
/// Addresses that are remembered; of more than that each connection is shown.
const MOST: usize = 1_024;

/// What a line says of a connection on which nothing was said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// It is there, and that is all.
    Open,
    /// It has ended. From there it came.
    Ended(IpAddr),
}

/// A line that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) at: Timestamp,
    pub(super) record: Record,
}

/// The lines that wait, and the addresses that have had theirs.
#[derive(Debug, Default)]
pub(super) struct BareSessions {
    /// By the process: its program and number.
    waiting: BTreeMap<(String, String), (Instant, Vec<Waiting>)>,
    seen: VecDeque<Seen>,
}

#[derive(Debug)]
struct Seen {
    address: IpAddr,
    since: Instant,
    more: u64,
}

/// What becomes of the end of such a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its line is shown; so many came before, within the hour, and had none.
    Shown(u64),
    /// It is counted.
    Counted,
}

fn process(record: &Record) -> (String, String) {
    (record.program().to_owned(), record.pid().unwrap_or_default().to_owned())
}

impl BareSessions {
    /// Has a line wait for the next one of its process.
    pub(super) fn wait(&mut self, at: Timestamp, record: Record, now: Instant) {
        let (_, lines) = self
            .waiting
            .entry(process(&record))
            .or_insert_with(|| (now, Vec::new()));
        lines.push(Waiting { at, record });
    }

    /// The lines that waited for this one: those of its process.
    pub(super) fn before(&mut self, record: &Record) -> Vec<Waiting> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.waiting
            .remove(&process(record))
            .map_or_else(Vec::new, |(_, lines)| lines)
    }

    /// Whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those that have waited for long enough, in their order.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Waiting> {
        let due = self
            .waiting
            .extract_if(.., |_, (since, _)| now.duration_since(*since) >= LONGEST);
        let mut lines: Vec<Waiting> = due.flat_map(|(_, (_, lines))| lines).collect();
        lines.sort_by_key(|line| line.at);
        lines
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<Waiting> {
        let all = std::mem::take(&mut self.waiting);
        let mut lines: Vec<Waiting> = all.into_values().flat_map(|(_, lines)| lines).collect();
        lines.sort_by_key(|line| line.at);
        lines
    }

    /// A connection from there has ended.
    pub(super) fn ended(&mut self, address: IpAddr, now: Instant) -> End {
        let known = self.seen.iter().position(|seen| seen.address == address);
        if let Some(place) = known {
            let seen = &mut self.seen[place];
            if now.duration_since(seen.since) < HOUR {
                seen.more += 1;
                return End::Counted;
            }
        }
        let more = known
            .and_then(|place| self.seen.remove(place))
            .map_or(0, |seen| seen.more);
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            address,
            since: now,
            more: 0,
        });
        End::Shown(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::parse(text.as_bytes())
    }

    #[test]
    fn an_address_has_one_line_an_hour() {
        let mut bare = BareSessions::default();
        let [first, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let begin = Instant::now();
        assert_eq!(bare.ended(first, begin), End::Shown(0));
        assert_eq!(bare.ended(first, begin + HOUR / 2), End::Counted);
        assert_eq!(bare.ended(other, begin + HOUR / 2), End::Shown(0));
        assert_eq!(bare.ended(first, begin + HOUR), End::Shown(1));
        assert_eq!(bare.ended(first, begin + HOUR), End::Counted);
    }

    #[test]
    fn lines_wait_for_their_process_and_not_for_ever() {
        let mut bare = BareSessions::default();
        let begin = Instant::now();
        bare.wait(Timestamp::UNIX_EPOCH, record("postfix/smtpd[1]: connect from a"), begin);
        bare.wait(Timestamp::UNIX_EPOCH, record("postfix/smtpd[2]: connect from b"), begin);
        assert!(bare.before(&record("postfix/smtpd[3]: x")).is_empty());
        assert_eq!(bare.before(&record("postfix/smtpd[1]: x")).len(), 1);
        assert!(bare.due(begin).is_empty() && bare.is_waiting());
        assert_eq!(bare.due(begin + LONGEST).len(), 1);
        assert!(!bare.is_waiting() && bare.all().is_empty());
    }
}
