//! Says how the server is, to whoever may ask: `mailroom httpd` and the command line. PID 1 does not look itself. A helper, the same
//! binary, does: `mailroom healthcheck` and `mailroom status`, as users type them. However many ask, one of each runs at a time, and
//! an answer is at most two seconds old. Where nobody asks, a look every thirty seconds says in the log when the server's health
//! changes.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::Origin;
use crate::control::{Answer, Question};
use crate::health::{self, Report, State};
use crate::layout::PROGRAM;
use crate::logs::Logs;
use crate::metrics::{Gauges, Metrics, QueueGauge, ServiceGauge};
use crate::site::Site;
use crate::status::{Queue, Remembered, Service, Status};
use crate::system::processes::Processes;
use crate::system::{panics, usage};

/// Oldest answer that is given to somebody else, too. A look takes up to a second and a half.
const FRESH: Duration = Duration::from_millis(500);
/// Longest run of a helper.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks where nobody asks.
const UNASKED: Duration = Duration::from_secs(30);

/// All that answers need. Lives as long as the server.
pub struct Observer {
    processes: Processes,
    metrics: Metrics,
    logs: Logs,
    hostname: String,
    started: Timestamp,
    health: Look<Report>,
    status: Look<Status>,
    /// Readiness is red from here on, whatever still answers.
    is_stopping: Cell<bool>,
}

impl Observer {
    /// Of a server that starts now.
    pub fn of(origin: &Origin, site: &Site) -> Rc<Observer> {
        Rc::new(Observer {
            processes: origin.processes.clone(),
            metrics: origin.metrics.clone(),
            logs: origin.logs.clone(),
            hostname: site.hostname.clone(),
            started: Timestamp::now(),
            health: Look::new(&["healthcheck", "--json"]),
            status: Look::new(&["status", "--json"]),
            is_stopping: Cell::new(false),
        })
    }

    /// From here on the server is not ready.
    pub fn stopping(&self) {
        self.is_stopping.set(true);
    }

    /// Answers.
    pub async fn answer(&self, question: Question) -> Answer {
        let text = match question {
            Question::Live => as_json(&health::live()),
            Question::Ready => self.ready().await.and_then(|report| as_json(&report)),
            Question::Status => {
                let status = self.status().await;
                status.and_then(|status| as_json(&status.without_local_parts()))
            }
            Question::Metrics => self.metrics().await,
            Question::Remembered => as_json(&self.remembered()),
        };
        text.map_or_else(Answer::Refused, Answer::Done)
    }

    async fn ready(&self) -> Result<Report, String> {
        if self.is_stopping.get() {
            return Ok(Report::of(State::Stopping, "the server is being stopped"));
        }
        self.health.see(&self.processes).await
    }

    /// How the server is; the graphs learn how many messages are in the queue.
    async fn status(&self) -> Result<Status, String> {
        let status = self.status.see(&self.processes).await?;
        self.metrics.sample(status.time, Some(status.queued()));
        Ok(status)
    }

    async fn metrics(&self) -> Result<String, String> {
        let status = self.status().await?;
        self.metrics.panics(panics::count());
        Ok(self.metrics.encode(&self.gauges(&status)))
    }

    fn gauges(&self, status: &Status) -> Gauges {
        let queue = |queue: &Queue| QueueGauge {
            queue: queue.name,
            messages: queue.messages,
            oldest_age: queue
                .oldest
                .map_or(0, |oldest| u64::try_from(status.time - oldest).unwrap_or(0)),
        };
        let service = |service: &Service| ServiceGauge {
            service: service.name.clone(),
            is_up: service.state == "running",
            restarts: service.restarts.into(),
        };
        Gauges {
            queues: status.queues.iter().map(queue).collect(),
            services: status.services.iter().map(service).collect(),
            started: self.started.as_second(),
            accounts: status.accounts,
            certificate_expires: status.certificate.as_ref().map_or(0, |certificate| certificate.expires),
            is_healthy: status.health.is_ready() && !self.is_stopping.get(),
            is_degraded: status.health.state == State::Degraded,
            resident_memory: usage::resident_memory(),
            cpu: usage::processor_time(),
        }
    }

    fn remembered(&self) -> Remembered {
        self.metrics.sample(Timestamp::now().as_second(), None);
        Remembered {
            hostname: self.hostname.clone(),
            started: self.started.as_second(),
            history: self.metrics.history(),
            warnings: self.logs.warnings(),
        }
    }

    /// Looks now and then: says in the log when the health has changed, and keeps the figures of the last minute. Never returns.
    pub async fn watch(self: Rc<Self>) {
        let mut last = State::Healthy;
        loop {
            tokio::time::sleep(UNASKED).await;
            let Ok(status) = self.status().await else { continue };
            if status.health.state != last {
                tell(&status.health);
                last = status.health.state;
            }
        }
    }
}

/// In the log: what is wrong now, or that nothing is any more.
fn tell(health: &Report) {
    if health.state == State::Healthy {
        tracing::info!("The server is healthy again");
    } else {
        tracing::warn!("The server is {}: {}", health.state.word(), health.reasons());
    }
}

fn as_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// What a helper saw last.
struct Look<T> {
    arguments: &'static [&'static str],
    /// Locked while the helper runs: whoever asks meanwhile has the same answer.
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone + serde::de::DeserializeOwned> Look<T> {
    fn new(arguments: &'static [&'static str]) -> Look<T> {
        let last = Mutex::new(None);
        Look { arguments, last }
    }

    /// What it sees now, or saw a moment ago. An error says why it saw nothing.
    async fn see(&self, processes: &Processes) -> Result<T, String> {
        let mut last = self.last.lock().await;
        if let Some((at, seen)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(seen.clone());
        }
        let mut command = Command::new(PROGRAM);
        let output = processes.output(command.args(self.arguments), LIMIT).await;
        let text = output.map_err(|error| error.to_string())?.stdout;
        let seen: T =
            serde_json::from_str(&text).map_err(|error| format!("{PROGRAM} {}: {error}", self.arguments.join(" ")))?;
        *last = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }
}
