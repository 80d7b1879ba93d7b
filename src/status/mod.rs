//! How the server is, in one value: what `mailroom status` prints, what the status page shows, and what the gauges among the
//! metrics are made of. It is put together by a process of its own (`gather`), which asks the daemons as the health check does, looks
//! at the queue and the certificate, and asks PID 1 for what that alone remembers.
//!
//! It holds no message content and no address but those that the last warnings name.

pub mod gather;
mod queue;

use serde::{Deserialize, Serialize};

pub use self::queue::Queue;
use crate::certificates::Summary;
use crate::health::Report;
use crate::logs::Warning;
use crate::metrics::History;

/// How the server is. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Mailroom's version.
    pub version: String,
    /// The name of this server, or of its container where none runs.
    pub host: String,
    /// When this was gathered.
    pub time: i64,
    /// What the health check says.
    pub health: Report,
    /// The daemons.
    pub services: Vec<Service>,
    /// The messages in Postfix's queues.
    pub queues: Vec<Queue>,
    /// How many accounts have mailboxes here, those of a directory aside.
    pub accounts: u64,
    /// More accounts are in a directory.
    pub has_directory: bool,
    /// What both daemons serve, where it can be read.
    pub certificate: Option<Summary>,
    /// What PID 1 remembers, where it answers.
    pub remembered: Option<Remembered>,
}

impl Status {
    /// The same for readers who need not know who has mail here: no local part of an address is in the warnings.
    pub fn without_local_parts(mut self) -> Status {
        for warning in self
            .remembered
            .iter_mut()
            .flat_map(|remembered| &mut remembered.warnings)
        {
            warning.text = without_local_parts(&warning.text);
        }
        self
    }

    /// Messages in all queues.
    pub fn queued(&self) -> u64 {
        self.queues.iter().map(|queue| queue.messages).sum()
    }
}

/// What PID 1 alone knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// `myhostname`.
    pub hostname: String,
    /// When the server started.
    pub started: i64,
    /// What happened in the last hour and day.
    pub history: History,
    /// The last lines that are warnings or errors, the newest last.
    pub warnings: Vec<Warning>,
}

/// A daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `running` is all right.
    pub state: String,
    /// Clients are not served without it.
    pub essential: bool,
    /// Its main process, while there is one.
    pub pid: Option<i32>,
    /// Since when that is so.
    pub since: i64,
    /// How often it was started again since the container started.
    pub restarts: u32,
}

/// `<user@example.org>` becomes `<…@example.org>`.
fn without_local_parts(text: &str) -> String {
    let is_before = |sign: char| sign.is_whitespace() || "<>,;:=()[]\"'".contains(sign);
    let mut parts = text.split('@').peekable();
    let mut masked = String::with_capacity(text.len());
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            masked.push_str(part);
            break;
        }
        let end = part
            .rfind(is_before)
            .map_or(0, |at| at + part[at..].chars().next().map_or(0, char::len_utf8));
        masked.push_str(&part[..end]);
        masked.push_str(if end == part.len() { "@" } else { "…@" });
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_parts_are_left_out() {
        for (text, masked) in [
            (
                "<a.b+c@example.org>: Relay access denied; from=<x@y.test>",
                "<…@example.org>: Relay access denied; from=<…@y.test>",
            ),
            ("user=\"a b\"@example.org", "user=\"a b\"@example.org"),
            ("für@example.org, ü@x", "…@example.org, …@x"),
            ("no address", "no address"),
            ("@", "@"),
        ] {
            assert_eq!(without_local_parts(text), masked);
        }
    }
}
