//! `mailroom queue`: what waits in Postfix's queue, why, and what shall become of it.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::output::{complain, print};
use super::table::Table;
use super::{EXIT_USAGE, processes};
use crate::layout::QUEUE_DIRECTORY;
use crate::postfix::messages::{self, Act, Message, Recipient};
use crate::system::processes::Processes;
use crate::values::{counted, span};

/// Longest reason and list of recipients in a table.
const LONGEST: usize = 80;

/// What is done with the queue.
#[derive(Debug, Subcommand)]
pub enum Queues {
    /// Show what waits, and why, the oldest first
    List {
        #[command(flatten)]
        which: Which,
        /// As one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one message: its envelope, its headers, why it waits and when it is tried next
    Show {
        /// Its id
        id: String,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try to deliver at once: these messages, or all
    Flush {
        #[command(flatten)]
        which: Which,
    },
    /// Keep messages from being delivered, until they are released
    Hold {
        #[command(flatten)]
        which: Which,
    },
    /// Have messages delivered that are held
    Release {
        #[command(flatten)]
        which: Which,
    },
    /// Remove messages: nobody gets them, and no sender is told
    Delete {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which messages: those for which all of this is so.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Their ids
    ids: Vec<String>,
    /// All messages
    #[arg(long)]
    all: bool,
    /// From this address, or from @domain; <> for bounces
    #[arg(long)]
    sender: Option<String>,
    /// To this address, or to @domain
    #[arg(long)]
    recipient: Option<String>,
    /// In the queue for longer than this, such as 2h
    #[arg(long, value_parser = span::read)]
    older: Option<Duration>,
    /// Waiting for a reason that holds this text
    #[arg(long)]
    reason: Option<String>,
    /// In this queue
    #[arg(long)]
    queue: Option<Name>,
}

/// A queue of Postfix's (qmgr(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Maildrop,
    Incoming,
    Active,
    Deferred,
    Hold,
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Name::Maildrop => "maildrop",
            Name::Incoming => "incoming",
            Name::Active => "active",
            Name::Deferred => "deferred",
            Name::Hold => "hold",
        }
    }
}

/// An address, or a domain behind an @; capitals do not matter.
fn is_address(found: &str, wanted: &str) -> bool {
    let (found, wanted) = (found.to_lowercase(), wanted.to_lowercase());
    match wanted.as_str() {
        "<>" => found.is_empty(),
        domain if domain.starts_with('@') => found.ends_with(domain),
        address => found == address,
    }
}

impl Which {
    /// Nothing says which.
    fn is_empty(&self) -> bool {
        let is_filtered = self.sender.is_some()
            || self.recipient.is_some()
            || self.older.is_some()
            || self.reason.is_some()
            || self.queue.is_some();
        self.ids.is_empty() && !self.all && !is_filtered
    }

    fn holds(&self, message: &Message, now: i64) -> bool {
        let is_old = |older: Duration| {
            let age = u64::try_from(now - message.arrival_time).unwrap_or(0);
            age >= older.as_secs()
        };
        let is_to = |wanted: &String| message.recipients.iter().any(|to| is_address(&to.address, wanted));
        let has_reason = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let mut reasons = message.recipients.iter().filter_map(|to| to.delay_reason.as_ref());
            reasons.any(|reason| reason.to_lowercase().contains(&wanted))
        };
        (self.ids.is_empty() || self.ids.contains(&message.queue_id))
            && self
                .sender
                .as_ref()
                .is_none_or(|wanted| is_address(&message.sender, wanted))
            && self.recipient.as_ref().is_none_or(is_to)
            && self.older.is_none_or(is_old)
            && self.reason.as_ref().is_none_or(has_reason)
            && self.queue.is_none_or(|queue| queue.word() == message.queue_name)
    }
}

/// Does it; exit code 0, 1 where there is no such message, 64 where it is not clear which.
pub fn run(command: Queues) -> anyhow::Result<u8> {
    if !nix::unistd::geteuid().is_root() {
        complain("the queue is for root: docker exec -u root …");
        return Ok(1);
    }
    processes::with(async |processes| match command {
        Queues::List { which, json } => list(&which, json, processes).await,
        Queues::Show { id, json } => show(&id, json, processes).await,
        Queues::Flush { which } if which.is_empty() || which.all => {
            messages::flush(processes).await?;
            print("all messages are tried now");
            Ok(0)
        }
        Queues::Flush { which } => flush(&which, processes).await,
        Queues::Hold { which } => act(Act::Hold, &which, true, processes).await,
        Queues::Release { mut which } => {
            which.queue = Some(Name::Hold);
            which.all |= which.ids.is_empty() && which.sender.is_none() && which.recipient.is_none();
            act(Act::Release, &which, true, processes).await
        }
        Queues::Delete { which, yes } => act(Act::Delete, &which, yes, processes).await,
    })
}

/// Those that are wanted.
async fn found(which: &Which, processes: &Processes) -> anyhow::Result<Vec<Message>> {
    let now = Timestamp::now().as_second();
    let all = messages::list(processes).await?;
    Ok(all.into_iter().filter(|message| which.holds(message, now)).collect())
}

fn none(which: &Which) -> u8 {
    complain(match which.ids.as_slice() {
        [] => "no message in the queue is like that".to_owned(),
        [id] => {
            format!("{id} is not in the queue: it is delivered, or was deleted; mailroom logs --queue-id {id} tells")
        }
        ids => format!("none of these {} messages is in the queue", ids.len()),
    });
    1
}

async fn list(which: &Which, as_json: bool, processes: &Processes) -> anyhow::Result<u8> {
    let found = found(which, processes).await?;
    if as_json {
        print(serde_json::to_string(&found)?);
    } else if !found.is_empty() {
        print(table(&found));
    } else if which.is_empty() || which.all {
        print("the queue is empty");
    } else {
        return Ok(none(which));
    }
    Ok(0)
}

fn table(messages: &[Message]) -> Table {
    let now = Timestamp::now().as_second();
    let mut table = Table::new(&["ID", "QUEUE", "AGE", "SIZE", "FROM", "TO", "WAITS BECAUSE"]);
    for message in messages {
        table.row(&[
            &message.queue_id,
            &message.queue_name,
            &age(message, now),
            &size(message.message_size),
            from(message),
            &to(message),
            &short(message.reason().unwrap_or("")),
        ]);
    }
    table
}

fn age(message: &Message, now: i64) -> String {
    span::text(Duration::from_secs(
        u64::try_from(now - message.arrival_time).unwrap_or(0),
    ))
}

fn from(message: &Message) -> &str {
    if message.sender.is_empty() {
        "<>"
    } else {
        &message.sender
    }
}

fn to(message: &Message) -> String {
    let first = message.recipients.first().map_or("", |first| first.address.as_str());
    match message.recipients.len() {
        0 | 1 => short(first),
        several => format!("{} and {} more", short(first), several - 1),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    cut + "…"
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

async fn show(id: &str, as_json: bool, processes: &Processes) -> anyhow::Result<u8> {
    let which = Which {
        ids: vec![id.to_owned()],
        ..Which::default()
    };
    let Some(message) = found(&which, processes).await?.into_iter().next() else {
        return Ok(none(&which));
    };
    let headers = messages::headers(id, processes).await.unwrap_or_default();
    let next = next_attempt(&message);
    if as_json {
        let mut value = serde_json::to_value(&message)?;
        value["next_attempt"] = next.map(Timestamp::as_second).into();
        value["headers"] = headers.into();
        print(value);
        return Ok(0);
    }
    print(format_args!("{}\n{}", described(&message, next), headers.trim_end()));
    Ok(0)
}

/// For people: the envelope, and what becomes of it.
fn described(message: &Message, next: Option<Timestamp>) -> String {
    let now = Timestamp::now();
    let (id, queue) = (&message.queue_id, &message.queue_name);
    let (size, age) = (size(message.message_size), age(message, now.as_second()));
    let to = |recipient: &Recipient| {
        let reason = recipient.delay_reason.as_ref();
        let reason = reason.map_or(String::new(), |reason| format!("      {reason}\n"));
        format!("to    {}\n{reason}", recipient.address)
    };
    let to: String = message.recipients.iter().map(to).collect();
    let next = match next {
        Some(next) if next > now => format!("in {}", span::text(next.duration_since(now).unsigned_abs())),
        Some(_) => "with the next run of the queue".to_owned(),
        None if queue == "hold" => format!("when it is released: mailroom queue release {id}"),
        None => "now".to_owned(),
    };
    format!(
        "{id} in {queue}, {size}, for {age}\nfrom  {}\n{to}next  {next}\n",
        from(message)
    )
}

/// When a deferred message is tried again: the time of its file (qmgr(8)), which lies in one of the directories of a hashed queue
/// (postconf(5), `hash_queue_names`).
fn next_attempt(message: &Message) -> Option<Timestamp> {
    if message.queue_name != "deferred" {
        return None;
    }
    let queue = Path::new(QUEUE_DIRECTORY).join("deferred");
    let hashed = fs::read_dir(&queue).ok()?.flatten().map(|entry| entry.path());
    let mut places = hashed.chain([queue]).map(|place| place.join(&message.queue_id));
    let file = places.find_map(|path| fs::metadata(path).ok())?;
    Timestamp::try_from(file.modified().ok()?).ok()
}

async fn flush(which: &Which, processes: &Processes) -> anyhow::Result<u8> {
    let found = found(which, processes).await?;
    if found.is_empty() {
        return Ok(none(which));
    }
    for message in &found {
        messages::flush_one(&message.queue_id, processes).await?;
    }
    print(format_args!(
        "{} tried now",
        counted(found.len(), "message is", "messages are")
    ));
    Ok(0)
}

async fn act(act: Act, which: &Which, is_sure: bool, processes: &Processes) -> anyhow::Result<u8> {
    if which.is_empty() {
        complain("say which messages: their ids, --sender, --recipient, --older, --reason, --queue, or --all");
        return Ok(EXIT_USAGE);
    }
    let found = found(which, processes).await?;
    if found.is_empty() {
        return Ok(none(which));
    }
    if !is_sure && found.len() > 1 {
        match is_confirmed(&found)? {
            Some(true) => {}
            Some(false) => {
                print("nothing was deleted");
                return Ok(1);
            }
            None => {
                complain(format_args!(
                    "{} would be deleted: say --yes, or answer at a terminal (docker exec -it …)",
                    counted(found.len(), "message", "messages")
                ));
                return Ok(EXIT_USAGE);
            }
        }
    }
    let ids: Vec<String> = found.into_iter().map(|message| message.queue_id).collect();
    let done = messages::act(act, &ids, processes).await?;
    let left = match ids.len() - done.min(ids.len()) {
        0 => String::new(),
        left => format!("; {} left the queue meanwhile", counted(left, "message", "messages")),
    };
    let verb = act.done();
    let single = format!("message is {verb}");
    let several = format!("messages are {verb}");
    print(format_args!("{}{left}", counted(done, &single, &several)));
    Ok(u8::from(done == 0))
}

/// What somebody at a terminal says; `None` where nobody is there.
fn is_confirmed(messages: &[Message]) -> io::Result<Option<bool>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    let mut stderr = io::stderr();
    write!(
        stderr,
        "delete {} messages? Nobody gets them, and no sender is told. [y/N] ",
        messages.len()
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            queue_name: "deferred".to_owned(),
            queue_id: "4jdzF51WnCz78Kn".to_owned(),
            arrival_time: 1_000,
            message_size: 2_048,
            sender: "Ann@example.org".to_owned(),
            recipients: vec![Recipient {
                address: "x@example.com".to_owned(),
                delay_reason: Some("connect to mx: Connection refused".to_owned()),
            }],
        }
    }

    #[test]
    fn all_that_is_asked_for_must_be_so() {
        let holds = |which: Which| which.holds(&message(), 1_000 + 7_200);
        let some = |text: &str| Some(text.to_owned());
        assert!(holds(Which {
            sender: some("ann@example.org"),
            recipient: some("@EXAMPLE.com"),
            ..Which::default()
        }));
        assert!(!holds(Which {
            recipient: some("@le.com"),
            ..Which::default()
        }));
        assert!(!holds(Which {
            sender: some("<>"),
            ..Which::default()
        }));
        assert!(holds(Which {
            older: Some(Duration::from_secs(7_200)),
            reason: some("refused"),
            ..Which::default()
        }));
        assert!(!holds(Which {
            older: Some(Duration::from_secs(7_201)),
            ..Which::default()
        }));
        assert!(!holds(Which {
            queue: Some(Name::Hold),
            ..Which::default()
        }));
        assert!(!holds(Which {
            ids: vec!["other".to_owned()],
            ..Which::default()
        }));
    }

    #[test]
    fn tables_are_short() {
        let mut message = message();
        message.recipients.push(message.recipients[0].clone());
        assert_eq!(to(&message), "x@example.com and 1 more");
        assert_eq!(
            (short(&"x".repeat(100)).chars().count(), size(2_048)),
            (LONGEST, "2 KiB".to_owned())
        );
    }
}
