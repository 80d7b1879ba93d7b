//! The messages in the queue, as postqueue(1) lists them, and what postsuper(1) and postcat(1) do with them. All of it needs root.

use std::io::{Seek, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::system::processes::{Output, Processes};

/// Longest run of one of the programs: a queue may hold a hundred thousand messages.
const LIMIT: Duration = Duration::from_secs(300);

/// A message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are postqueue's")]
pub struct Message {
    /// `incoming`, `active`, `deferred`, `hold` or `maildrop`.
    pub queue_name: String,
    /// Its id.
    pub queue_id: String,
    /// When it arrived, in seconds since 1970.
    pub arrival_time: i64,
    /// Its size in bytes.
    pub message_size: u64,
    /// The sender of its envelope; a bounce has none.
    pub sender: String,
    /// To whom it has not been delivered yet.
    #[serde(default)]
    pub recipients: Vec<Recipient>,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// Why the last attempt did not deliver it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_reason: Option<String>,
}

impl Message {
    /// Why it waits, as far as that is known.
    pub fn reason(&self) -> Option<&str> {
        self.recipients
            .iter()
            .find_map(|recipient| recipient.delay_reason.as_deref())
    }
}

/// All messages, in the order in which they arrived.
pub async fn list(processes: &Processes) -> anyhow::Result<Vec<Message>> {
    let output = processes.output(Command::new("postqueue").arg("-j"), LIMIT).await?;
    let lines = succeeded("postqueue -j", output)?;
    let mut messages: Vec<Message> = lines
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("postqueue -j: {line}")))
        .collect::<Result<_, _>>()?;
    messages.sort_by(|one, other| (one.arrival_time, &one.queue_id).cmp(&(other.arrival_time, &other.queue_id)));
    Ok(messages)
}

/// What can be done with messages: the option of postsuper(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Keep it until it is released.
    Hold,
    /// Deliver what was held.
    Release,
    /// Remove it.
    Delete,
}

impl Act {
    fn option(self) -> &'static str {
        match self {
            Act::Hold => "-h",
            Act::Release => "-H",
            Act::Delete => "-d",
        }
    }

    /// What was done, as messages say it.
    pub fn done(self) -> &'static str {
        match self {
            Act::Hold => "held",
            Act::Release => "released",
            Act::Delete => "deleted",
        }
    }
}

/// Does it with these messages; returns with how many. One that has left the queue meanwhile is passed over.
pub async fn act(act: Act, ids: &[String], processes: &Processes) -> anyhow::Result<usize> {
    let mut input = tempfile::tempfile()?;
    input.write_all(ids.join("\n").as_bytes())?;
    input.write_all(b"\n")?;
    input.rewind()?;
    let mut command = Command::new("postsuper");
    let command = command.args([act.option(), "-"]);
    let output = processes.output_fed(command, Stdio::from(input), LIMIT).await?;
    let done = counted(&output.stderr);
    succeeded("postsuper", output)?;
    Ok(done)
}

/// `postsuper: Deleted: 12 messages`, in words of each option; nothing where it was none.
fn counted(said: &str) -> usize {
    let counts = said.lines().filter_map(|line| {
        let (_, count) = line.strip_prefix("postsuper: ")?.split_once(": ")?;
        let number = count
            .strip_suffix(" message")
            .or_else(|| count.strip_suffix(" messages"))?;
        number.parse::<usize>().ok()
    });
    counts.sum()
}

/// Has all messages tried at once.
pub async fn flush(processes: &Processes) -> anyhow::Result<()> {
    let output = processes.output(Command::new("postqueue").arg("-f"), LIMIT).await?;
    succeeded("postqueue -f", output).map(drop)
}

/// Has one tried at once.
pub async fn flush_one(id: &str, processes: &Processes) -> anyhow::Result<()> {
    let output = processes
        .output(Command::new("postqueue").args(["-i", id]), LIMIT)
        .await?;
    succeeded("postqueue -i", output).map(drop)
}

/// Its headers, as they are.
pub async fn headers(id: &str, processes: &Processes) -> anyhow::Result<String> {
    let output = processes
        .output(Command::new("postcat").args(["-qh", id]), LIMIT)
        .await?;
    succeeded("postcat -qh", output)
}

fn succeeded(command: &str, output: Output) -> anyhow::Result<String> {
    if output.exit.is_success() {
        return Ok(output.stdout);
    }
    let said = output.stderr.trim();
    if said.contains("Connection refused") || said.contains("mail system is down") {
        bail!("Postfix does not run: mailroom status says why ({said})");
    }
    bail!("{command} {}: {said}", output.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postsuper_says_how_many() {
        let said = "postsuper: 4jdzGL4Kxmz78RR: removed\npostsuper: Deleted: 1 message\n";
        assert_eq!(counted(said), 1);
        assert_eq!(counted("postsuper: Placed on hold: 12 messages\n"), 12);
        assert_eq!(counted(""), 0);
    }

    #[test]
    fn a_line_of_postqueue_is_a_message() {
        let line = r#"{"queue_name": "deferred", "queue_id": "4jdzF51WnCz78Kn", "arrival_time": 1796124565, "message_size": 204, "forced_expire": false, "sender": "", "recipients": [{"address": "x@example.com", "delay_reason": "refused"}, {"address": "y@example.com"}]}"#;
        let message: Message = serde_json::from_str(line).unwrap();
        assert_eq!((message.reason(), message.recipients.len()), (Some("refused"), 2));
    }
}
