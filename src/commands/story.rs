//! The story of a message, told from log lines: from its client's connection to its end, across what became of it: a bounce, a
//! delivery by Dovecot, another message of its own server. Pure, but for the time of the next attempt.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::daemons::DAEMONS;
use crate::logs::fields::Fields;
use crate::logs::record::Record;
use crate::postfix::queue;
use crate::values::span;

/// A line of the log.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// When it was logged.
    pub(super) at: Timestamp,
    /// As it is.
    pub(super) text: String,
    /// What stands behind time and host.
    pub(super) record: Record,
}

impl Line {
    fn fields(&self) -> Fields<'_> {
        let mut daemons = DAEMONS.iter().map(|daemon| daemon.log_lines());
        let owner = daemons.find(|lines| (lines.is_own)(self.record.program()));
        owner.map_or_else(Fields::default, |lines| (lines.fields)(&self.record))
    }

    /// The process: who, and its number.
    fn process(&self) -> (&str, Option<&str>) {
        (self.record.program(), self.record.pid())
    }
}

/// The places of lines, by what they speak of: a log may hold a hundred thousand lines, and a question a thousand messages.
struct Index<'a> {
    lines: &'a [Line],
    messages: HashMap<String, Vec<usize>>,
    sessions: HashMap<String, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(lines: &'a [Line]) -> Index<'a> {
        let (mut messages, mut sessions) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (place, line) in lines.iter().enumerate() {
            let fields = line.fields();
            for (name, index) in [("queue_id", &mut messages), ("session", &mut sessions)] {
                if let Some(value) = fields.get(name) {
                    index.entry(value.to_owned()).or_default().push(place);
                }
            }
        }
        Index {
            lines,
            messages,
            sessions,
        }
    }

    /// The lines of a message.
    fn message(&self, id: &str) -> impl Iterator<Item = &'a Line> {
        self.messages
            .get(id)
            .into_iter()
            .flatten()
            .map(|place| &self.lines[*place])
    }

    /// The lines of one of Dovecot's sessions.
    fn session(&self, id: &str) -> impl Iterator<Item = &'a Line> {
        self.sessions
            .get(id)
            .into_iter()
            .flatten()
            .map(|place| &self.lines[*place])
    }

    /// Where a message begins.
    fn begin(&self, id: &str) -> Option<usize> {
        self.messages.get(id)?.first().copied()
    }
}

/// The story of a message and of what became of it.
pub(super) fn of_queue_id(lines: &[Line], id: &str) -> Vec<String> {
    stories(lines, BTreeSet::from([id.to_owned()]))
}

/// Of all messages with this Message-ID, with or without its brackets.
pub(super) fn of_message_id(lines: &[Line], id: &str) -> Vec<String> {
    let id = id.trim_start_matches('<').trim_end_matches('>');
    stories(lines, ids(lines, |fields| fields.get("message_id") == Some(id)))
}

/// Of all messages from and to an address, and what was refused: capitals do not matter.
pub(super) fn of_address(lines: &[Line], address: &str) -> Vec<String> {
    let names = |fields: &Fields| {
        let is_it = |name: &str| {
            fields
                .get(name)
                .is_some_and(|value| value.eq_ignore_ascii_case(address))
        };
        ["from", "to", "orig_to", "user"].into_iter().any(is_it)
    };
    let mut told = stories(lines, ids(lines, names));
    let refused = lines.iter().filter(|line| {
        let fields = line.fields();
        let is_refusal = fields
            .get("action")
            .is_some_and(|action| matches!(action, "reject" | "milter-reject" | "Login aborted"));
        is_refusal && names(&fields)
    });
    let refused: String = refused
        .map(|line| format!("{}  {}\n", clock(line.at), refusal(line)))
        .collect();
    if !refused.is_empty() {
        told.push(format!("refused\n{refused}"));
    }
    told
}

/// The queue ids of lines like that.
fn ids(lines: &[Line], is_wanted: impl Fn(&Fields) -> bool) -> BTreeSet<String> {
    let wanted = lines.iter().filter_map(|line| {
        let fields = line.fields();
        let id = fields.get("queue_id").filter(|_| is_wanted(&fields))?;
        Some(id.to_owned())
    });
    wanted.collect()
}

/// One for each message, in the order in which they begin.
fn stories(lines: &[Line], mut ids: BTreeSet<String>) -> Vec<String> {
    let index = Index::of(lines);
    let mut new = ids.clone();
    while !new.is_empty() {
        let next: BTreeSet<String> = new.iter().flat_map(|id| heirs(&index, id)).collect();
        new = next.difference(&ids).cloned().collect();
        ids.extend(new.iter().cloned());
    }
    let mut found: Vec<(usize, &String)> = ids.iter().filter_map(|id| Some((index.begin(id)?, id))).collect();
    found.sort();
    found.into_iter().map(|(_, id)| story(&index, id)).collect()
}

/// The messages that a message has become: its bounce, and where the next server is this one.
fn heirs(index: &Index, id: &str) -> Vec<String> {
    let heirs = index.message(id).flat_map(|line| {
        let fields = line.fields();
        let notification = fields.get("notification").map(str::to_owned);
        let queued = fields.get("reason").and_then(|reason| reason.split_once("queued as "));
        let queued = queued.map(|(_, id)| id.trim_end_matches(')').to_owned());
        [notification, queued]
    });
    heirs.flatten().collect()
}

fn story(index: &Index, id: &str) -> String {
    let own: Vec<&Line> = index.message(id).collect();
    let mut told: Vec<(Timestamp, String)> = Vec::new();
    if let Some(accepted) = own.iter().find(|line| line.fields().get("client").is_some()) {
        told.extend(connection(index, id, accepted));
    }
    told.extend(own.iter().filter_map(|line| Some((line.at, event(line)?))));
    let sessions: BTreeSet<String> = own.iter().filter_map(|line| session(line)).collect();
    let by_dovecot = sessions.iter().flat_map(|session| index.session(session));
    told.extend(by_dovecot.map(|line| (line.at, format!("Dovecot: {}", said(line)))));
    told.sort_by_key(|(at, _)| *at);
    let lines: String = told
        .iter()
        .map(|(at, text)| format!("{}  {text}\n", clock(*at)))
        .collect();
    format!("message {id}\n{lines}{}", end(&own, id))
}

/// How it stands.
fn end(own: &[&Line], id: &str) -> String {
    if own.iter().any(|line| line.fields().get("action") == Some("removed")) {
        return String::new();
    }
    let Some(next) = queue::next_attempt(id) else {
        return "          (the log does not say what became of it)\n".to_owned();
    };
    let now = Timestamp::now();
    if next > now {
        let wait = span::shown(next.duration_since(now).unsigned_abs());
        return format!("          it is tried next in {wait}; mailroom queue flush {id} tries at once\n");
    }
    "          it is tried with the next run of the queue\n".to_owned()
}

/// The lines of its client's session before it: who came, whether with TLS. The last connection of that process.
fn connection(index: &Index, id: &str, accepted: &Line) -> Vec<(Timestamp, String)> {
    let before = &index.lines[..index.begin(id).unwrap_or(0)];
    let session = before.iter().rev().filter(|line| line.process() == accepted.process());
    let mut told = Vec::new();
    for line in session {
        let fields = line.fields();
        if let Some(version) = fields.get("tls_version") {
            told.push((line.at, format!("TLS {version} begins")));
        }
        if line.record.message().starts_with("connect from ") {
            let client = fields.get("client").unwrap_or_default();
            told.push((line.at, format!("{client} connects to {}", line.record.program())));
            break;
        }
    }
    told.reverse();
    told
}

/// Dovecot's session of a delivery by LMTP: it answers `250 2.0.0 <user@example.org> SESSION Saved`.
fn session(line: &Line) -> Option<String> {
    let fields = line.fields();
    let (_, answer) = fields.get("reason")?.split_once("> ")?;
    let session = answer.strip_suffix(" Saved")?;
    Some(session.to_owned())
}

/// What one of its lines says, in words.
fn event(line: &Line) -> Option<String> {
    let fields = line.fields();
    let get = |name: &str| fields.get(name);
    if let Some(status) = get("status").filter(|_| get("to").is_some()) {
        return Some(delivery(&fields, status));
    }
    Some(match line.record.program().rsplit('/').next().unwrap_or_default() {
        "smtpd" if get("action").is_some() => refusal(line),
        "smtpd" => match get("user") {
            Some(user) => format!(
                "accepted from {user}, who has logged in by {}",
                get("method").unwrap_or("SASL")
            ),
            None => format!("accepted from {}", get("client")?),
        },
        "pickup" => format!("handed over by {} inside the container", get("from")?),
        "cleanup" => match get("message_id") {
            Some("") => "it has no Message-ID".to_owned(),
            Some(id) => format!("its Message-ID is <{id}>"),
            None => said(line),
        },
        "qmgr" => match (get("action"), get("status")) {
            (Some("removed"), _) => "done: it has left the queue".to_owned(),
            (_, Some("expired")) => "given up: it was tried for too long, and goes back to its sender".to_owned(),
            _ => {
                let from = Some(get("from")?).filter(|from| !from.is_empty()).unwrap_or("<>");
                format!(
                    "in the queue: from {from}, {} bytes, recipients: {}",
                    get("size")?,
                    get("nrcpt")?
                )
            }
        },
        "bounce" => format!("its sender is told: message {}", get("notification")?),
        _ => said(line),
    })
}

fn said(line: &Line) -> String {
    let message = line.record.message();
    let without_id = message
        .split_once(": ")
        .filter(|(id, _)| line.fields().get("queue_id") == Some(id));
    without_id.map_or(message, |(_, rest)| rest).to_owned()
}

fn refusal(line: &Line) -> String {
    let fields = line.fields();
    let get = |name: &str| fields.get(name).unwrap_or_default();
    if let Some(user) = fields.get("user").filter(|_| fields.get("protocol").is_some()) {
        return format!(
            "login of {user} from {} refused: {}",
            get("client_address"),
            get("reason")
        );
    }
    let to = fields.get("to").map(|to| format!(" for {to}")).unwrap_or_default();
    format!(
        "{} refused{to} at {}: {} {}",
        get("client"),
        get("stage"),
        get("code"),
        get("reason")
    )
}

fn delivery(fields: &Fields, status: &str) -> String {
    let get = |name: &str| fields.get(name).unwrap_or_default();
    let to = match fields.get("orig_to") {
        Some(original) => format!("{} (addressed to {original})", get("to")),
        None => get("to").to_owned(),
    };
    let word = match status {
        "sent" => "delivered to",
        "deferred" => "not delivered yet to",
        "bounced" => "refused for good for",
        "expired" => "given up for",
        other => other,
    };
    let by = Some(get("relay")).filter(|relay| !matches!(*relay, "none" | "virtual" | ""));
    let by = by.map(|relay| format!(" by {relay}")).unwrap_or_default();
    let waited = waited(fields)
        .map(|waited| format!("; it waited {waited}"))
        .unwrap_or_default();
    format!(
        "{word} {to}{by}, {} after it came{waited}: {}",
        seconds(get("delay")),
        get("reason")
    )
}

/// The parts of a delay that count, in words.
fn waited(fields: &Fields) -> Option<String> {
    let parts = [
        ("delay_before_queue", "before the queue, or between two attempts"),
        ("delay_in_queue", "for its turn"),
        ("delay_connection", "for a connection: DNS, TCP, TLS, greeting"),
        ("delay_transmission", "while it was sent, and answered"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, words)| {
            let value = fields.get(name)?;
            (value.parse::<f64>().ok()? >= 1.0).then(|| format!("{} {words}", seconds(value)))
        })
        .collect();
    Some(told.join(", ")).filter(|told| !told.is_empty())
}

/// `0.12` is 0.12 s; what is longer than a minute is told as people do.
fn seconds(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(seconds) if seconds >= 60.0 => span::shown(Duration::from_secs_f64(seconds)),
        _ => format!("{text} s"),
    }
}

fn clock(at: Timestamp) -> String {
    let at = at.to_zoned_datetime(TimeZone::system());
    at.strftime("%b %e %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the corpus, a second apart.
    fn corpus() -> Vec<Line> {
        let lines = include_str!("../logs/corpus.log").lines();
        let line = |(second, text): (i64, &str)| Line {
            at: Timestamp::from_second(1_796_124_560 + second).unwrap(),
            text: text.to_owned(),
            record: Record::parse(text.as_bytes()),
        };
        (0..).zip(lines).map(line).collect()
    }

    #[test]
    fn golden_stories() {
        let lines = corpus();
        let mut told = of_queue_id(&lines, "4jdzF549l9z78Nf");
        told.extend(of_queue_id(&lines, "4jdzF51WnCz78Kn"));
        told.extend(of_message_id(&lines, "<fwd@example.com>"));
        told.extend(of_address(&lines, "BOB@example.org"));
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_not_there_has_no_story() {
        assert!(of_queue_id(&corpus(), "4jdzF549l9zNONE").is_empty());
        assert!(of_address(&corpus(), "nobody.at.all@example.org").is_empty());
    }
}
