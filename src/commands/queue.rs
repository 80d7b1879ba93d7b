//! `mailroom queue`: what waits in Postfix's queue, and what is done with it.
//!
//! A command reads the queue, takes what its filters let through, and acts on those messages by their ids. What has left
//! meanwhile is told. Nothing is changed without an id, a filter or `--all`; more than one message is deleted after a question.

mod filters;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use self::filters::{Filters, age};
use super::output::{ask, complain, print};
use super::table::Table;
use super::{EXIT_USAGE, processes};
use crate::postfix::queue::{self, Change, Listing, Message, Queue, Recipient};
use crate::system::processes::Processes;
use crate::values::{counted, span, words};

/// Longest reason in the list; `show` has the whole.
const LONGEST_REASON: usize = 160;
/// Nothing matched, or it could not be done.
const EXIT_NOTHING: u8 = 1;

/// What is done with the queue.
#[derive(Debug, Subcommand)]
pub enum Queues {
    /// List what waits, in the order of arrival, and why
    List {
        #[command(flatten)]
        filters: Filters,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a message: each recipient, why it waits, and its headers
    Show {
        /// Its queue id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try deferred messages now
    Flush(Chosen),
    /// Keep messages until they are released
    Hold(Chosen),
    /// Let messages on hold go on, now
    Release(Chosen),
    /// Delete messages, with all of their recipients, without a bounce
    Delete {
        #[command(flatten)]
        chosen: Chosen,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
}

/// The messages that are changed.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    #[command(flatten)]
    filters: Filters,
    /// All messages
    #[arg(long)]
    all: bool,
}

/// Does it; returns the exit code.
pub fn run(command: Queues) -> anyhow::Result<u8> {
    processes::with(async |processes| match command {
        Queues::List { filters, json } => list(&filters, json, processes).await,
        Queues::Show { id, json } => show(&id, json, processes).await,
        Queues::Flush(chosen) => match choose(&chosen, &[Queue::Deferred], "is deferred", processes).await? {
            Ok(messages) => flush(&messages, chosen.all, processes).await,
            Err(code) => Ok(code),
        },
        Queues::Hold(chosen) => act(Change::Hold, &chosen, true, processes).await,
        Queues::Release(chosen) => act(Change::Release, &chosen, true, processes).await,
        Queues::Delete { chosen, yes } => act(Change::Delete, &chosen, yes, processes).await,
    })
}

/// A message in JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a str,
    queue: Queue,
    /// RFC 3339.
    arrived: String,
    age_seconds: u64,
    /// In bytes.
    size: u64,
    sender: &'a str,
    recipients: &'a [Recipient],
    /// When a deferred one is tried again, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(message: &'a Message, now: Timestamp, headers: Option<&'a str>) -> Shown<'a> {
        Shown {
            id: &message.id,
            queue: message.queue,
            arrived: Timestamp::from_second(message.arrived).unwrap_or_default().to_string(),
            age_seconds: age(message, now).as_secs(),
            size: message.size,
            sender: &message.sender,
            recipients: &message.recipients,
            // Looked up for one alone: a list may be long.
            next_attempt: headers
                .and(queue::next_attempt(&message.id))
                .map(|next| next.to_string()),
            headers,
        }
    }
}

async fn list(filters: &Filters, json: bool, processes: &Processes) -> anyhow::Result<u8> {
    let now = Timestamp::now();
    let listing = queue::read(processes, |message| filters.include(message, now)).await?;
    warn_if_down(&listing);
    tell_missing(filters, &listing);
    let is_empty = listing.messages.is_empty();
    if json {
        let shown: Vec<Shown> = listing
            .messages
            .iter()
            .map(|message| Shown::of(message, now, None))
            .collect();
        print(serde_json::to_string_pretty(&shown)?);
    } else if is_empty {
        print(none_of(listing.total, "matches"));
    } else {
        print(table(&listing.messages, now));
    }
    let is_as_asked = !is_empty || filters.are_none();
    Ok(if is_as_asked { 0 } else { EXIT_NOTHING })
}

fn table(messages: &[Message], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "QUEUE", "AGE", "SIZE", "SENDER", "RECIPIENTS", "WHY IT WAITS"]);
    for message in messages {
        table.row(&[
            &message.id,
            message.queue.name(),
            &span::shown(age(message, now)),
            &message.size.to_string(),
            &words::on_a_terminal(&message.sender),
            &recipients(message),
            &why(message),
        ]);
    }
    table
}

/// The first, and how many more there are.
fn recipients(message: &Message) -> String {
    let Some(first) = message.recipients.first() else {
        return "-".to_owned();
    };
    let first = words::on_a_terminal(&first.address);
    match message.recipients.len() - 1 {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The first reason, or what the queue says.
fn why(message: &Message) -> String {
    let reason = message
        .recipients
        .iter()
        .find_map(|recipient| recipient.reason.as_deref());
    let reason = reason.map(|reason| words::cut(&words::on_a_terminal(reason), LONGEST_REASON));
    match (message.queue, reason) {
        (Queue::Hold, None) => "on hold".to_owned(),
        (Queue::Hold, Some(reason)) => format!("on hold; before that: {reason}"),
        (Queue::Active, None) => "being delivered".to_owned(),
        (Queue::Active, Some(reason)) => format!("being tried again; before that: {reason}"),
        (Queue::Incoming | Queue::Maildrop, _) => "just arrived".to_owned(),
        (Queue::Deferred, reason) => reason.unwrap_or_else(|| "not tried yet".to_owned()),
    }
}

async fn show(id: &str, json: bool, processes: &Processes) -> anyhow::Result<u8> {
    let now = Timestamp::now();
    let listing = queue::read(processes, |message| message.id == id).await?;
    warn_if_down(&listing);
    let Some(message) = listing.messages.first() else {
        complain(not_there(id));
        return Ok(EXIT_NOTHING);
    };
    let Some(headers) = queue::headers(id, processes).await? else {
        complain(not_there(id));
        return Ok(EXIT_NOTHING);
    };
    if json {
        print(serde_json::to_string_pretty(&Shown::of(message, now, Some(&headers)))?);
        return Ok(0);
    }
    let arrived = Timestamp::from_second(message.arrived).unwrap_or_default();
    print(format_args!("id         {}", message.id));
    print(format_args!("queue      {}", message.queue.name()));
    print(format_args!(
        "arrived    {arrived}, {} ago",
        span::shown(age(message, now))
    ));
    print(format_args!("size       {}", counted(message.size, "byte", "bytes")));
    print(format_args!("sender     {}", words::on_a_terminal(&message.sender)));
    if let Some(next) = queue::next_attempt(id) {
        let wait = next.duration_since(now);
        let wait = if wait.is_positive() {
            format!("in {}", span::shown(wait.unsigned_abs()))
        } else {
            "with the next run of the queue".to_owned()
        };
        print(format_args!("tried next {wait}"));
    }
    for Recipient { address, reason } in &message.recipients {
        let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        print(format_args!(
            "recipient  {}",
            words::on_a_terminal(&format!("{address}{reason}"))
        ));
    }
    print("");
    for line in headers.lines() {
        // Folded headers begin with a tab at times.
        print(words::on_a_terminal(&line.replace('\t', "    ")));
    }
    Ok(0)
}

/// Holds, releases or deletes; `sure` asks nothing.
async fn act(change: Change, chosen: &Chosen, sure: bool, processes: &Processes) -> anyhow::Result<u8> {
    let what = match change {
        Change::Hold => "can be held",
        Change::Release => "is on hold",
        Change::Delete => "can be deleted",
    };
    let messages = match choose(chosen, change.takes_from(), what, processes).await? {
        Ok(messages) => messages,
        Err(code) => return Ok(code),
    };
    if messages.len() > 1 && !sure {
        let question = format!("delete {}", counted(messages.len(), "message", "messages"));
        if !io::stdin().is_terminal() {
            complain(format_args!(
                "{question}: there is no terminal to ask at; --yes deletes without a question"
            ));
            return Ok(EXIT_USAGE);
        }
        if !ask(&question)? {
            complain("nothing was deleted");
            return Ok(EXIT_NOTHING);
        }
    }
    let ids: Vec<&str> = messages.iter().map(|message| &*message.id).collect();
    let done = queue::change(change, &ids, processes).await?;
    if change == Change::Release && done > 0 {
        let runs = try_now(&ids, chosen.all, processes).await?;
        print(released(done, runs));
    } else if done > 0 {
        print(said(change, done));
    }
    let gone = ids.len().saturating_sub(done);
    if gone > 0 {
        print(format_args!(
            "{} left the queue meanwhile",
            counted(gone, "message has", "messages have")
        ));
    }
    Ok(0)
}

fn said(change: Change, done: usize) -> String {
    let messages = counted(done, "message is", "messages are");
    match change {
        Change::Hold => format!("{messages} on hold, until mailroom queue release"),
        Change::Release => format!("{messages} released"),
        Change::Delete => format!("{messages} deleted"),
    }
}

fn released(done: usize, runs: bool) -> String {
    let now = if runs {
        "and tried now"
    } else {
        "and tried once Postfix runs"
    };
    format!("{}, {now}", said(Change::Release, done))
}

async fn flush(messages: &[Message], all: bool, processes: &Processes) -> anyhow::Result<u8> {
    let ids: Vec<&str> = messages.iter().map(|message| &*message.id).collect();
    if !try_now(&ids, all, processes).await? {
        complain("nothing can be sent: Postfix does not run; /healthcheck and the log say why");
        return Ok(EXIT_NOTHING);
    }
    let messages = counted(ids.len(), "message is", "messages are");
    print(format_args!(
        "{messages} tried now; mailroom queue list shows what still waits"
    ));
    Ok(0)
}

/// Has these tried, which may be all; false where Postfix does not run.
async fn try_now(ids: &[&str], all: bool, processes: &Processes) -> anyhow::Result<bool> {
    if all {
        queue::flush_all(processes).await
    } else {
        queue::flush_each(ids, processes).await
    }
}

/// The messages that are meant, of those that can be changed so. An error is the exit code, after why was said.
async fn choose(
    chosen: &Chosen,
    queues: &[Queue],
    what: &str,
    processes: &Processes,
) -> anyhow::Result<Result<Vec<Message>, u8>> {
    let Chosen { filters, all } = chosen;
    if *all != filters.are_none() {
        complain(if *all {
            "--all means all messages, and goes with neither ids nor filters"
        } else {
            "which messages? Name their ids, filters (--sender, --recipient, --older, --reason, --queue), or --all"
        });
        return Ok(Err(EXIT_USAGE));
    }
    let now = Timestamp::now();
    let mut listing = queue::read(processes, |message| filters.include(message, now)).await?;
    tell_missing(filters, &listing);
    let matching = listing.messages.len();
    listing.messages.retain(|message| queues.contains(&message.queue));
    if !listing.messages.is_empty() {
        return Ok(Ok(listing.messages));
    }
    print(if matching == 0 {
        none_of(listing.total, "matches")
    } else {
        none_of(matching, what)
    });
    Ok(Err(if *all { 0 } else { EXIT_NOTHING }))
}

/// What is said instead of messages.
fn none_of(total: usize, what: &str) -> String {
    match total {
        0 => "the queue is empty".to_owned(),
        _ => format!("of {} none {what}", counted(total, "message", "messages")),
    }
}

/// Names the ids that are not there.
fn tell_missing(filters: &Filters, listing: &Listing) {
    let there: BTreeSet<&str> = listing.messages.iter().map(|message| &*message.id).collect();
    for id in filters.ids.iter().filter(|id| !there.contains(id.as_str())) {
        complain(not_there(id));
    }
}

fn not_there(id: &str) -> String {
    format!("{id} is not in the queue: it may have left, or the id is another")
}

fn warn_if_down(listing: &Listing) {
    if listing.is_down {
        complain("Postfix does not run, so nothing is sent; /healthcheck and the log say why");
    }
}
