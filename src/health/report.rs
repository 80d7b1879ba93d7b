//! What the health check finds, for people, for programs, and for exit codes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Clients are served, and nothing is wrong.
    Healthy,
    /// Clients are served; something needs a person soon.
    Degraded,
    /// A client cannot be served.
    Unhealthy,
    /// Another server has the volumes; this one waits for its end.
    Standby,
    /// It has not started yet.
    Starting,
    /// It is being stopped.
    Stopping,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Degraded => "degraded",
            State::Unhealthy => "unhealthy",
            State::Standby => "standby",
            State::Starting => "starting",
            State::Stopping => "stopping",
        }
    }
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients are served all the same.
    Degraded,
    /// A client cannot be served.
    Unhealthy,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Degraded => "degraded",
            Severity::Unhealthy => "unhealthy",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What was looked at, such as `port 25` or `qmgr`; empty where the message says it.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.check.is_empty() {
            write!(f, "{}: ", self.check)?;
        }
        f.write_str(&self.message)
    }
}

/// The outcome of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How the server is, in one word.
    pub state: State,
    /// What is wrong, the worst first.
    pub faults: Vec<Fault>,
    /// Ports that greeted.
    pub ports: Vec<u16>,
    /// What else answered clients' questions.
    pub others: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Report {
    /// Of faults, and of what answered. The state follows from the worst fault.
    pub fn new(mut faults: Vec<Fault>, ports: Vec<u16>, others: Vec<String>, took: Duration) -> Report {
        faults.sort_by_key(|fault| fault.severity != Severity::Unhealthy);
        let state = match faults.first() {
            None => State::Healthy,
            Some(worst) if worst.severity == Severity::Unhealthy => State::Unhealthy,
            Some(_) => State::Degraded,
        };
        Report {
            state,
            faults,
            ports,
            others,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Of a server that cannot be asked, for a reason that its state alone does not tell.
    pub fn of(state: State, why: &str) -> Report {
        let fault = Fault {
            check: String::new(),
            severity: Severity::Unhealthy,
            message: why.to_owned(),
        };
        Report {
            state,
            ..Report::new(vec![fault], Vec::new(), Vec::new(), Duration::ZERO)
        }
    }

    /// Clients can be sent here.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Healthy | State::Degraded)
    }

    /// There is no reason to end it: a server in standby waits, and one that has just been started starts.
    pub fn is_live(&self) -> bool {
        self.state != State::Unhealthy
    }

    /// What is wrong, in one line.
    pub fn reasons(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        faults.join("; ")
    }
}

/// One line when all is well, else one for each fault.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.state == State::Healthy {
            return healthy(self, f);
        }
        let is_told = matches!(self.state, State::Standby | State::Starting | State::Stopping);
        let line = |fault: &Fault| {
            let word = if is_told {
                self.state.word()
            } else {
                fault.severity.word()
            };
            format!("{word}: {fault}")
        };
        let lines: Vec<String> = self.faults.iter().map(line).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn healthy(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if report.ports.is_empty() {
        return f.write_str("healthy: the daemons live");
    }
    let ports: Vec<String> = report.ports.iter().map(u16::to_string).collect();
    let others: String = report.others.iter().map(|name| format!(" and {name}")).collect();
    let took = report.took_ms;
    write!(f, "healthy: ports {}{others} answer ({took} ms)", ports.join(" "))
}
