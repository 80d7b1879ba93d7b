//! Which messages of the queue a command is about: ids, filters, or all.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::postfix::queue::{Message, Queue};
use crate::values::span;

/// How Postfix shows the empty sender, which bounces have.
const NO_SENDER: &str = "MAILER-DAEMON";

/// Which messages: those that every filter lets through.
#[derive(Debug, Default, clap::Args)]
pub struct Filters {
    /// Queue ids
    pub ids: Vec<String>,
    /// From this address, @domain, or <> for bounces
    #[arg(long)]
    sender: Option<Addresses>,
    /// To this address or @domain, perhaps among others
    #[arg(long)]
    recipient: Option<Addresses>,
    /// That arrived longer ago than this, such as 90s, 15m, 2h or 1d
    #[arg(long, value_parser = span::read)]
    older: Option<Duration>,
    /// Whose reason to wait contains this text, in any case
    #[arg(long)]
    reason: Option<String>,
    /// In this queue
    #[arg(long)]
    queue: Option<Queue>,
}

/// An address, or all of a domain, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addresses {
    One(String),
    /// With the @.
    Domain(String),
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Addresses, String> {
        let lower = text.to_ascii_lowercase();
        match lower.rsplit_once('@') {
            _ if text == "<>" || text == NO_SENDER => Ok(Addresses::One(NO_SENDER.to_ascii_lowercase())),
            Some(("", domain)) if !domain.is_empty() => Ok(Addresses::Domain(lower)),
            Some((_, domain)) if !domain.is_empty() => Ok(Addresses::One(lower)),
            _ => Err(
                "must be an address such as ann@example.org, @example.org for a whole domain, or <> for bounces"
                    .to_owned(),
            ),
        }
    }
}

impl Addresses {
    fn include(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        match self {
            Addresses::One(one) => address == *one,
            Addresses::Domain(domain) => address.ends_with(domain.as_str()),
        }
    }
}

impl Filters {
    /// Whether nothing is left out.
    pub(super) fn are_none(&self) -> bool {
        let Filters {
            ids,
            sender,
            recipient,
            older,
            reason,
            queue,
        } = self;
        ids.is_empty()
            && sender.is_none()
            && recipient.is_none()
            && older.is_none()
            && reason.is_none()
            && queue.is_none()
    }

    /// Whether a message is meant.
    pub(super) fn include(&self, message: &Message, now: Timestamp) -> bool {
        let is_named = || self.ids.is_empty() || self.ids.contains(&message.id);
        let is_from = || {
            self.sender
                .as_ref()
                .is_none_or(|sender| sender.include(&message.sender))
        };
        let is_to = |recipient: &Addresses| message.recipients.iter().any(|to| recipient.include(&to.address));
        let is_old = |older: Duration| age(message, now) > older;
        is_named()
            && self.queue.is_none_or(|queue| queue == message.queue)
            && is_from()
            && self.recipient.as_ref().is_none_or(is_to)
            && self.older.is_none_or(is_old)
            && self.reason.as_ref().is_none_or(|text| waits_for(message, text))
    }
}

/// For how long a message has been here.
pub(super) fn age(message: &Message, now: Timestamp) -> Duration {
    let seconds = now.as_second().saturating_sub(message.arrived);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn waits_for(message: &Message, text: &str) -> bool {
    let text = text.to_lowercase();
    let reasons = message
        .recipients
        .iter()
        .filter_map(|recipient| recipient.reason.as_ref());
    reasons.into_iter().any(|reason| reason.to_lowercase().contains(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::queue::Recipient;

    fn message() -> Message {
        let recipient = |address: &str, reason: Option<&str>| Recipient {
            address: address.to_owned(),
            reason: reason.map(str::to_owned),
        };
        Message {
            id: "4jf02W1TnLzCT9J".to_owned(),
            queue: Queue::Deferred,
            arrived: 1_000,
            size: 284,
            sender: "Ann@example.org".to_owned(),
            recipients: vec![
                recipient("b@example.net", Some("connect to sink: Connection refused")),
                recipient("c@other.test", None),
            ],
        }
    }

    fn includes(filters: &Filters) -> bool {
        filters.include(&message(), Timestamp::from_second(1_100).unwrap())
    }

    #[test]
    fn each_filter_lets_through_and_keeps_out() {
        let addresses = |text: &str| Some(text.parse().unwrap());
        assert!(includes(&Filters::default()) && Filters::default().are_none());
        for (text, expected) in [
            ("ann@EXAMPLE.org", true),
            ("@example.org", true),
            ("nn@example.org", false),
            ("@ample.org", false),
            ("<>", false),
        ] {
            let sender = addresses(text);
            assert_eq!(
                includes(&Filters {
                    sender,
                    ..Filters::default()
                }),
                expected,
                "{text}"
            );
        }
        for (text, expected) in [("c@other.test", true), ("@example.net", true), ("d@other.test", false)] {
            let recipient = addresses(text);
            assert_eq!(
                includes(&Filters {
                    recipient,
                    ..Filters::default()
                }),
                expected,
                "{text}"
            );
        }
        for (seconds, expected) in [(99, true), (100, false)] {
            let older = Some(Duration::from_secs(seconds));
            assert_eq!(
                includes(&Filters {
                    older,
                    ..Filters::default()
                }),
                expected
            );
        }
        for (text, expected) in [("connection REFUSED", true), ("timed out", false)] {
            let reason = Some(text.to_owned());
            assert_eq!(
                includes(&Filters {
                    reason,
                    ..Filters::default()
                }),
                expected
            );
        }
        for (queue, expected) in [(Queue::Deferred, true), (Queue::Hold, false)] {
            let queue = Some(queue);
            assert_eq!(
                includes(&Filters {
                    queue,
                    ..Filters::default()
                }),
                expected
            );
        }
        for (id, expected) in [("4jf02W1TnLzCT9J", true), ("ALL", false)] {
            let ids = vec![id.to_owned()];
            assert_eq!(
                includes(&Filters {
                    ids,
                    ..Filters::default()
                }),
                expected
            );
        }
    }

    #[test]
    fn all_filters_hold_together() {
        let filters = Filters {
            sender: Some("@example.org".parse().unwrap()),
            queue: Some(Queue::Hold),
            ..Filters::default()
        };
        assert!(!includes(&filters) && !filters.are_none());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["ann", "@", "ann@", ""] {
            let why = text.parse::<Addresses>().unwrap_err();
            assert!(why.contains("@example.org for a whole domain"), "{text}: {why}");
        }
    }
}
