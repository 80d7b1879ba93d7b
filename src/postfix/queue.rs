//! The queue, as Postfix's own programs show and change it: postqueue(1) lists and flushes, postsuper(1) holds, releases and
//! deletes, postcat(1) shows headers.
//!
//! Messages are read one by one, and ids go to postsuper by standard input, so that a queue of 100,000 messages takes a few
//! seconds and the memory of what is asked for. Where Postfix does not run, all but flushing works on the files themselves.
//!
//! Limits: a message may leave between the list and the change. postsuper passes it over; long queue ids, which Mailroom sets,
//! are used once, so that no other message has its id then. A message is changed with all of its recipients.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::check::program;
use crate::layout::QUEUE_DIRECTORY;
use crate::staging::LIMIT;
use crate::system::processes::{Output, Processes};
use crate::system::programs::Program;

const POSTQUEUE: Program = program("postqueue");
const POSTSUPER: Program = program("postsuper");
const POSTCAT: Program = program("postcat");

/// Longest run of postsuper(1), which touches each file.
const LONGEST_CHANGE: Duration = Duration::from_secs(3_600);
/// What postqueue(1) says where master(8) does not run: first of a list, then of a flush.
const DOWN: [&str; 2] = ["Mail system is down", "mail system is down"];

/// Where a message is (qmgr(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Handed over by a program inside, and not yet taken.
    Maildrop,
    /// Taken, and not yet looked at.
    Incoming,
    /// Being delivered.
    Active,
    /// To be tried again later.
    Deferred,
    /// Kept until somebody releases it.
    Hold,
}

impl Queue {
    /// Postfix's name of it, which is that of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Queue::Maildrop => "maildrop",
            Queue::Incoming => "incoming",
            Queue::Active => "active",
            Queue::Deferred => "deferred",
            Queue::Hold => "hold",
        }
    }
}

/// A message, as `postqueue -j` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its queue id.
    #[serde(rename = "queue_id")]
    pub id: String,
    /// Where it is.
    #[serde(rename = "queue_name")]
    pub queue: Queue,
    /// When it arrived, in seconds since 1970.
    #[serde(rename = "arrival_time")]
    pub arrived: i64,
    /// In bytes.
    #[serde(rename = "message_size")]
    pub size: u64,
    /// Its envelope sender; `MAILER-DAEMON` for that of bounces.
    pub sender: String,
    /// Those that it has not reached yet.
    pub recipients: Vec<Recipient>,
}

/// Somebody that a message has not reached yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// Why it has not, if it was tried.
    #[serde(rename(deserialize = "delay_reason"))]
    pub reason: Option<String>,
}

/// The messages that were asked for.
#[derive(Debug, Default)]
pub struct Listing {
    /// In the order of their arrival.
    pub messages: Vec<Message>,
    /// How many there are in all queues.
    pub total: usize,
    /// Whether Postfix does not run.
    pub is_down: bool,
}

/// Reads the queue.
///
/// There is no deadline: a person waits for it, and postqueue(1) has its own for a server that is silent (`ipc_timeout`).
pub async fn read(processes: &Processes, wanted: impl Fn(&Message) -> bool) -> anyhow::Result<Listing> {
    let mut child = processes.spawn(POSTQUEUE.command()?.arg("-j"))?;
    let (mut listing, mut said) = (Listing::default(), String::new());
    let messages = async {
        let mut lines = BufReader::new(&mut child.stdout).lines();
        while let Some(line) = lines.next_line().await? {
            let message: Message = serde_json::from_str(&line).with_context(|| format!("postqueue: {line}"))?;
            listing.total += 1;
            if wanted(&message) {
                listing.messages.push(message);
            }
        }
        anyhow::Ok(())
    };
    let (messages, stderr) = tokio::join!(messages, child.stderr.read_to_string(&mut said));
    messages?;
    stderr?;
    if !child.exit.await?.is_success() {
        bail!("{}", reason(&said));
    }
    listing.is_down = said.contains(DOWN[0]);
    listing
        .messages
        .sort_by(|one, other| (one.arrived, &one.id).cmp(&(other.arrived, &other.id)));
    Ok(listing)
}

/// What is done with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Keep them until somebody releases them.
    Hold,
    /// Let them go on.
    Release,
    /// Delete them.
    Delete,
}

impl Change {
    /// The queues from which it takes messages.
    pub fn takes_from(self) -> &'static [Queue] {
        match self {
            Change::Hold => &[Queue::Incoming, Queue::Active, Queue::Deferred],
            Change::Release => &[Queue::Hold],
            Change::Delete => &[
                Queue::Maildrop,
                Queue::Incoming,
                Queue::Active,
                Queue::Deferred,
                Queue::Hold,
            ],
        }
    }

    /// The option of postsuper(1), and how its summary begins.
    fn option(self) -> (&'static str, &'static str) {
        match self {
            Change::Hold => ("-h", "postsuper: Placed on hold: "),
            Change::Release => ("-H", "postsuper: Released from hold: "),
            Change::Delete => ("-d", "postsuper: Deleted: "),
        }
    }
}

/// Changes these messages; returns how many of them were still there.
pub async fn change(change: Change, ids: &[&str], processes: &Processes) -> anyhow::Result<usize> {
    let mut file = tempfile::tempfile()?;
    file.write_all(ids.join("\n").as_bytes())?;
    file.rewind()?;
    let (option, summary) = change.option();
    let mut command = POSTSUPER.command()?;
    command.args([option, "-"]);
    command.args(change.takes_from().iter().map(|queue| queue.name()));
    let output = processes
        .output_fed(&mut command, Stdio::from(file), LONGEST_CHANGE)
        .await?;
    if !output.exit.is_success() {
        bail!("{}", reason(&output.stderr));
    }
    Ok(count(&output.stderr, summary))
}

/// The number in `postsuper: Deleted: 12 messages`; there is no such line where nothing was done.
fn count(said: &str, summary: &str) -> usize {
    let rest = said.lines().find_map(|line| line.strip_prefix(summary));
    let number = rest.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

/// Has everything that is deferred tried now; false where Postfix does not run.
pub async fn flush_all(processes: &Processes) -> anyhow::Result<bool> {
    flush(POSTQUEUE.command()?.arg("-f"), processes).await
}

/// The same for these messages, each of which costs a few milliseconds.
pub async fn flush_each(ids: &[&str], processes: &Processes) -> anyhow::Result<bool> {
    for id in ids {
        if !flush(POSTQUEUE.command()?.args(["-i", id]), processes).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn flush(command: &mut Command, processes: &Processes) -> anyhow::Result<bool> {
    let Output { exit, stderr, .. } = processes.output(command, LIMIT).await?;
    if stderr.contains(DOWN[1]) {
        return Ok(false);
    }
    if !exit.is_success() {
        bail!("{}", reason(&stderr));
    }
    Ok(true)
}

/// The headers of a message; `None` where it has left.
pub async fn headers(id: &str, processes: &Processes) -> anyhow::Result<Option<String>> {
    let output = processes.output(POSTCAT.command()?.args(["-qh", id]), LIMIT).await?;
    if output.exit.is_success() {
        Ok(Some(output.stdout))
    } else if output.stderr.contains("No such file") {
        Ok(None)
    } else {
        bail!("{}", reason(&output.stderr))
    }
}

/// Why one of the programs has given up.
fn reason(said: &str) -> &str {
    let fatal = said.lines().find(|line| line.contains(": fatal: "));
    fatal
        .or(said.lines().next())
        .unwrap_or("it has failed, and does not say why")
}

/// When a deferred message is tried again: the time of its file (qmgr(8)), which lies in one of the directories of a hashed queue
/// (postconf(5), `hash_queue_names`). `None` for one that is not deferred.
pub fn next_attempt(id: &str) -> Option<Timestamp> {
    let queue = Path::new(QUEUE_DIRECTORY).join("deferred");
    let hashed = fs::read_dir(&queue).ok()?.flatten().map(|entry| entry.path());
    let mut places = hashed.chain([queue]).map(|place| place.join(id));
    let file = places.find_map(|path| fs::metadata(path).ok())?;
    Timestamp::try_from(file.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_postqueue() {
        let line = r#"{"queue_name": "deferred", "queue_id": "4jf02W1TnLzCT9J", "arrival_time": 1796126723, "message_size": 284,
            "forced_expire": false, "sender": "a@example.org", "recipients": [{"address": "b@example.net",
            "delay_reason": "connect to sink[172.20.0.3]:25: Connection refused"}, {"address": "c@example.net"}]}"#;
        let message: Message = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&*message.id, message.queue, message.size),
            ("4jf02W1TnLzCT9J", Queue::Deferred, 284)
        );
        let reasons: Vec<_> = message
            .recipients
            .iter()
            .map(|recipient| recipient.reason.as_deref())
            .collect();
        assert_eq!(
            reasons,
            [Some("connect to sink[172.20.0.3]:25: Connection refused"), None]
        );
    }

    #[test]
    fn postsuper_counts() {
        let said = "postsuper: 4jf02W1TnLzCT9J: removed\npostsuper: Deleted: 12 messages\n";
        assert_eq!(count(said, Change::Delete.option().1), 12);
        assert_eq!(count("postsuper: Deleted: 1 message\n", Change::Delete.option().1), 1);
        assert_eq!(count("", Change::Delete.option().1), 0);
    }

    #[test]
    fn the_reason_is_the_fatal_line() {
        let said = "postqueue: warning: x\npostqueue: fatal: open /etc/postfix/main.cf: No such file or directory\n";
        assert!(reason(said).starts_with("postqueue: fatal: open"));
        assert_eq!(reason("bash: x\n"), "bash: x");
        assert!(!reason("").is_empty());
    }
}
