//! What is counted, and how it is told: in the text format of OpenMetrics 1.0, and as the figures of the last hour and day.
//!
//! Counters are advanced by the log router, line by line ([`Event`]): PID 1 sees no mail, only what the daemons say of it. Gauges are
//! set when somebody asks ([`Gauges`]). Every label has a fixed set of values, so every series exists from the start, at zero, and
//! nothing that a client sends becomes one. Counters begin at zero with PID 1; `mailroom_start_time_seconds` says when.
//!
//! It knows no daemon: each daemon's folder says which events its lines are. docs/METRICS.md lists all metrics; a test compares.

mod family;
mod gauges;
mod history;
mod labels;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::family::Counts;
pub use self::gauges::{Gauges, QueueGauge, ServiceGauge};
use self::history::{Histories, Totals};
pub use self::history::{History, Sample};
pub use self::labels::{Destination, Outcome, Protocol, QueueName, Reason, TlsVersion};
use self::labels::{OfDelivery, OfProtocol, OfReason, OfTls};

/// Upper bounds of the classes of delays, in seconds.
const DELAYS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0, 14_400.0, 86_400.0];

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A message was taken into the queue.
    Received,
    /// A delivery was tried, for one recipient.
    Delivery {
        /// Where to.
        to: Destination,
        /// What came of it.
        outcome: Outcome,
        /// Seconds since the message was taken.
        delay: f64,
    },
    /// A message, a recipient or a client was refused.
    Rejected(Reason),
    /// A client has connected.
    Session(Protocol),
    /// A client has begun TLS.
    Tls(Protocol, TlsVersion),
    /// A login succeeded.
    Login(Protocol),
    /// A login was refused.
    LoginFailed(Protocol),
}

/// Everything that is counted. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    received: Counter,
    deliveries: Counts<OfDelivery>,
    delays: Histogram,
    rejected: Counts<OfReason>,
    sessions: Counts<OfProtocol>,
    tls: Counts<OfTls>,
    logins: Counts<OfProtocol>,
    login_failures: Counts<OfProtocol>,
    lines: Counter,
    lines_lost: Counter,
    panics: Counter,
    telling: Mutex<Telling>,
}

/// What is needed to tell, and not to count.
#[derive(Debug)]
struct Telling {
    registry: Registry,
    gauges: gauges::Registered,
    histories: Histories,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("mailroom");
        let inner = Inner {
            received: counter(&mut registry, "messages_received", "Messages taken into the queue"),
            deliveries: Counts::register(
                &mut registry,
                "deliveries",
                "Deliveries tried, one for each recipient and attempt",
            ),
            delays: delays(&mut registry),
            rejected: Counts::register(
                &mut registry,
                "rejects",
                "Clients, recipients and messages refused, by reason",
            ),
            sessions: Counts::register(&mut registry, "sessions", "Connections of clients, health probes aside"),
            tls: Counts::register(&mut registry, "tls_sessions", "Sessions with TLS, by version"),
            logins: Counts::register(&mut registry, "logins", "Logins that succeeded"),
            login_failures: Counts::register(&mut registry, "login_failures", "Logins that were refused"),
            lines: counter(
                &mut registry,
                "log_lines",
                "Log lines of the daemons, those of health probes aside",
            ),
            lines_lost: counter(
                &mut registry,
                "log_lines_lost",
                "Log lines lost because more came than could be written",
            ),
            panics: counter(&mut registry, "panics", "Panics in PID 1, each of which was contained"),
            telling: Mutex::new(Telling {
                gauges: gauges::Registered::register(&mut registry),
                histories: Histories::default(),
                registry,
            }),
        };
        Metrics(Arc::new(inner))
    }

    /// Counts something.
    pub fn count(&self, event: &Event) {
        let inner = &self.0;
        match *event {
            Event::Received => drop(inner.received.inc()),
            Event::Delivery { to, outcome, delay } => {
                inner.deliveries.add(&OfDelivery { to, outcome });
                if outcome == Outcome::Sent {
                    inner.delays.observe(delay);
                }
            }
            Event::Rejected(reason) => inner.rejected.add(&OfReason { reason }),
            Event::Session(protocol) => inner.sessions.add(&OfProtocol { protocol }),
            Event::Tls(protocol, version) => inner.tls.add(&OfTls { protocol, version }),
            Event::Login(protocol) => inner.logins.add(&OfProtocol { protocol }),
            Event::LoginFailed(protocol) => inner.login_failures.add(&OfProtocol { protocol }),
        }
    }

    /// Counts lines of the daemons.
    pub fn lines(&self, lines: u64) {
        self.0.lines.inc_by(lines);
    }

    /// Counts lines that were lost.
    pub fn lines_lost(&self, lines: u64) {
        self.0.lines_lost.inc_by(lines);
    }

    /// How many panics there were, of whoever counts them.
    pub fn panics(&self, all: u64) {
        let counted = self.0.panics.get();
        self.0.panics.inc_by(all.saturating_sub(counted));
    }

    /// All metrics, in the text format of OpenMetrics.
    pub fn encode(&self, gauges: &Gauges) -> String {
        let telling = self.telling();
        telling.gauges.set(gauges);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &telling.registry);
        text
    }

    /// Adds what has happened since the last call to the figures of this minute and quarter of an hour. `now` is in seconds since
    /// 1970, `queued` how many messages are in the queue, where that is known.
    pub fn sample(&self, now: i64, queued: Option<u64>) {
        let totals = self.totals();
        self.telling().histories.add(now, totals, queued);
    }

    /// What happened in the last hour and day.
    pub fn history(&self) -> History {
        self.telling().histories.told()
    }

    fn totals(&self) -> Totals {
        let inner = &self.0;
        let of = |outcome: Outcome| inner.deliveries.sum(|labels| labels.outcome == outcome);
        Totals {
            received: inner.received.get(),
            delivered: of(Outcome::Sent),
            deferred: of(Outcome::Deferred),
            bounced: of(Outcome::Bounced) + of(Outcome::Expired),
            rejected: inner.rejected.sum(|_| true),
            logins: inner.logins.sum(|_| true),
            login_failures: inner.login_failures.sum(|_| true),
        }
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.0.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn delays(registry: &mut Registry) -> Histogram {
    let delays = Histogram::new(DELAYS);
    let help = "Time from a message's arrival to its delivery, of each recipient";
    registry.register_with_unit("delivery_delay", help, Unit::Seconds, delays.clone());
    delays
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The value of a series.
    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    #[test]
    fn every_series_is_there_at_zero() {
        let text = Metrics::new().encode(&Gauges::default());
        for series in [
            "mailroom_messages_received_total",
            "mailroom_deliveries_total{to=\"lmtp\",outcome=\"expired\"}",
            "mailroom_rejects_total{reason=\"relay_denied\"}",
            "mailroom_tls_sessions_total{protocol=\"imap\",version=\"1.3\"}",
            "mailroom_login_failures_total{protocol=\"pop3\"}",
            "mailroom_delivery_delay_seconds_count",
            "mailroom_log_lines_lost_total",
            "mailroom_queue_messages{queue=\"deferred\"}",
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        let delivery = |outcome, delay| Event::Delivery {
            to: Destination::Relay,
            outcome,
            delay,
        };
        for event in [
            Event::Received,
            delivery(Outcome::Deferred, 3.0),
            delivery(Outcome::Sent, 400.0),
            Event::Rejected(Reason::RelayDenied),
            Event::LoginFailed(Protocol::Imap),
        ] {
            metrics.count(&event);
        }
        metrics.panics(2);
        metrics.panics(2);
        let text = metrics.encode(&Gauges::default());
        for (series, expected) in [
            ("mailroom_messages_received_total", 1.0),
            ("mailroom_deliveries_total{to=\"relay\",outcome=\"deferred\"}", 1.0),
            ("mailroom_delivery_delay_seconds_sum", 400.0),
            ("mailroom_delivery_delay_seconds_bucket{le=\"600.0\"}", 1.0),
            ("mailroom_rejects_total{reason=\"relay_denied\"}", 1.0),
            ("mailroom_login_failures_total{protocol=\"imap\"}", 1.0),
            ("mailroom_panics_total", 2.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
        }
        metrics.sample(600, Some(1));
        let last = *metrics.history().hour.last().unwrap();
        assert_eq!(
            (last.received, last.delivered, last.deferred, last.queued),
            (1, 1, 1, 1)
        );
    }

    /// What docs/METRICS.md holds, from what is told: name, type, labels with their values, help.
    fn table(text: &str) -> String {
        let mut rows = Vec::new();
        for block in text.split("# HELP ").skip(1) {
            let (head, rest) = block.split_once('\n').unwrap();
            let (name, help) = head.split_once(' ').unwrap();
            let kind = rest.lines().find_map(|line| line.strip_prefix("# TYPE ")).unwrap();
            let kind = kind.split(' ').nth(1).unwrap();
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            rows.push(format!("| `{name}` | {kind} | {} | {help} |\n", labels(rest)));
        }
        rows.concat()
    }

    /// The labels of a metric and their values, in the order of the alphabet.
    fn labels(samples: &str) -> String {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let within = samples
            .lines()
            .filter_map(|line| line.split_once('{')?.1.split_once('}'));
        for label in within.flat_map(|(labels, _)| labels.split(',')) {
            let (name, value) = label.split_once('=').unwrap();
            labels.entry(name).or_default().insert(value.trim_matches('"'));
        }
        let told = labels
            .iter()
            .filter(|(name, _)| **name != "le")
            .map(|(name, values)| match *name {
                "service" => "`service`: a daemon's name".to_owned(),
                "version" if values.iter().any(|value| value.matches('.').count() == 2) => "`version`".to_owned(),
                name => {
                    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
                    format!("`{name}`: {}", values.join(" "))
                }
            });
        told.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_documentation_holds_all_metrics() {
        let service = ServiceGauge {
            service: "postfix".to_owned(),
            is_up: true,
            restarts: 0,
        };
        let gauges = Gauges {
            services: vec![service],
            ..Gauges::default()
        };
        let table = table(&Metrics::new().encode(&gauges));
        let documented = include_str!("../../docs/METRICS.md");
        assert!(
            documented.contains(&table),
            "docs/METRICS.md is stale: its table must be\n{table}"
        );
    }
}
