//! Whether a client would be served. PID 1 writes down what is to be asked; the health check, a process of its own, asks.
//! It looks at what PID 1 says of its daemons, too: why one is down, and until when, is more than a silent port says.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::layout::RUN_DIRECTORY;
use crate::plan::File;
use crate::probes::{self, Probe};
use crate::supervise::status::{self, Doing};

/// A probe with a name for messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Such as `logins`. Ports are called by their numbers.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// Clients are not served without it; without another one the server is degraded.
    pub essential: bool,
}

impl Named {
    /// The TCP port that is asked, if it is one.
    pub fn port(&self) -> Option<u16> {
        match &self.probe {
            Probe::Greeting(greeting) => Some(greeting.address.port()),
            Probe::Http { address, .. } => Some(address.port()),
            Probe::Socket { .. } | Probe::Farewell { .. } | Probe::Login { .. } | Probe::Processes { .. } => None,
        }
    }

    /// Whether it is worth a word when it answers.
    fn is_for_clients(&self) -> bool {
        !matches!(
            self.probe,
            Probe::Farewell { .. } | Probe::Processes { .. } | Probe::Http { .. }
        )
    }

    /// How it is called when it fails.
    fn called(&self) -> String {
        match (&self.probe, self.port()) {
            (Probe::Greeting(_), Some(port)) => format!("port {port}"),
            (Probe::Socket { path, .. } | Probe::Farewell { path }, _) => format!("{}: {}", self.name, path.display()),
            _ => self.name.clone(),
        }
    }
}

/// Where the list lies.
fn list() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("health.json")
}

/// What PID 1 writes down.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    /// What is to be asked.
    probes: Vec<Named>,
    /// What is known to be wrong, and keeps nobody from being served.
    degraded: Vec<String>,
}

/// The list as a file: what is to be asked, and what is known to be wrong though everybody is served.
pub fn file(probes: &[Named], degraded: &[String]) -> anyhow::Result<File> {
    let list_of = List {
        probes: probes.to_vec(),
        degraded: degraded.to_vec(),
    };
    Ok(File::public(list(), serde_json::to_string_pretty(&list_of)? + "\n"))
}

/// Where a server that waits says so.
fn standby_note() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("standby")
}

/// Notes that this server waits for another, in words; nothing once it does not. An orchestrator that starts the new container
/// first ends the old one when the new one is healthy, so a server in standby has to be. Where /run cannot be written, a later
/// step says so.
pub fn standby(waiting: Option<&str>) {
    let _ = match waiting {
        Some(waiting) => fs::write(standby_note(), waiting),
        None => fs::remove_file(standby_note()),
    };
}

/// Whether this server waits for another, and for which, in words.
pub fn waiting() -> Option<String> {
    fs::read_to_string(standby_note()).ok()
}

/// What the health check finds.
#[derive(Debug)]
pub enum State {
    /// The server waits for another one to end, in words.
    Standby(String),
    /// The server has started.
    Started(Health),
}

/// The outcome of all probes.
#[derive(Debug)]
pub struct Health {
    /// What does not work, in words.
    pub troubles: Vec<String>,
    /// What works as far as its limits go, what is wrong though everybody is served, and what clients are served without, in
    /// words.
    pub degraded: Vec<String>,
    /// Ports that greeted.
    pub served: Vec<u16>,
    /// What else answered.
    pub others: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.troubles.is_empty() {
            return write!(f, "unhealthy: {}", self.troubles.join("; "));
        }
        if !self.degraded.is_empty() {
            return write!(f, "degraded: {}", self.degraded.join("; "));
        }
        let ports: Vec<String> = self.served.iter().map(u16::to_string).collect();
        let others: String = self.others.iter().map(|name| format!(" and {name}")).collect();
        let took = self.took.as_millis();
        write!(f, "healthy: ports {}{others} answer ({took} ms)", ports.join(" "))
    }
}

impl Health {
    /// Counts one answer; there is none where the probe itself failed.
    fn add(&mut self, named: &Named, answer: Option<io::Result<()>>) {
        let in_words = |error: &io::Error| format!("{}: {}", named.called(), probes::reason(error));
        match (answer, named.port()) {
            (Some(Ok(())), Some(port)) if named.essential => self.served.push(port),
            (Some(Ok(())), _) if named.is_for_clients() => self.others.push(named.name.clone()),
            (Some(Ok(())), _) => {}
            (Some(Err(error)), _) if probes::is_busy(&error) || !named.essential => {
                self.degraded.push(in_words(&error));
            }
            (Some(Err(error)), _) => self.troubles.push(in_words(&error)),
            (None, _) => self
                .troubles
                .push(format!("{}: the probe itself failed", named.called())),
        }
    }
}

/// Asks everything that PID 1 wrote down, in parallel. An error says why there is nothing to ask.
pub fn check() -> Result<State, String> {
    if let Some(waiting) = waiting() {
        return Ok(State::Standby(waiting));
    }
    let path = list();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("not started yet".to_owned()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let list: List = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(State::Started(ask(&list)))
}

/// A pause before a probe is asked again, and how long it is asked again.
const MOMENT: Duration = Duration::from_millis(100);
const MOMENTS: Duration = Duration::from_millis(500);

/// A daemon that reads its configuration again may cut a connection, close a socket for a moment, or greet with an excuse, as
/// Dovecot does while its auth process changes: whoever comes a moment later is served. Silence is none of these.
fn answers(probe: &Probe) -> io::Result<()> {
    let is_momentary = |error: &io::Error| {
        !probes::is_busy(error) && !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
    };
    let begun = Instant::now();
    loop {
        let answer = probe.ask();
        if begun.elapsed() >= MOMENTS || !answer.as_ref().is_err_and(is_momentary) {
            return answer;
        }
        std::thread::sleep(MOMENT);
    }
}

fn ask(list: &List) -> Health {
    let begun = Instant::now();
    let down = status::read().into_iter().filter(|(_, doing)| doing.word != "running");
    let (essential, others): (Vec<_>, Vec<_>) = down.partition(|(_, doing)| doing.essential);
    // What is down answers no question: that it is down is said once.
    let is_up = |named: &&Named| !others.iter().any(|(name, _)| *name == named.name);
    let asked: Vec<&Named> = list.probes.iter().filter(is_up).collect();
    let in_words = |(name, doing): (String, Doing)| format!("{name}: {}", doing.word);
    let mut health = Health {
        troubles: essential.into_iter().map(in_words).collect(),
        degraded: list
            .degraded
            .iter()
            .cloned()
            .chain(others.into_iter().map(in_words))
            .collect(),
        served: Vec::new(),
        others: Vec::new(),
        took: Duration::ZERO,
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = asked
            .into_iter()
            .map(|named| (named, scope.spawn(|| answers(&named.probe))))
            .collect();
        for (named, answer) in asked {
            health.add(named, answer.join().ok());
        }
    });
    health.took = begun.elapsed();
    health
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health {
            troubles: Vec::new(),
            degraded: Vec::new(),
            served: vec![25],
            others: Vec::new(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn busy_is_no_trouble() {
        let named = Named {
            name: "qmgr".to_owned(),
            probe: Probe::Farewell { path: "/q".into() },
            essential: true,
        };
        let mut health = health();
        health.add(&named, Some(Ok(())));
        assert_eq!(health.to_string(), "healthy: ports 25 answer (0 ms)");
        health.add(&named, Some(Err(io::Error::new(io::ErrorKind::ResourceBusy, "full"))));
        assert_eq!(health.to_string(), "degraded: qmgr: /q: full");
        assert!(health.troubles.is_empty());
        health.add(&named, Some(Err(io::ErrorKind::TimedOut.into())));
        assert_eq!(health.to_string(), "unhealthy: qmgr: /q: no answer within 3 s");
    }

    #[test]
    fn what_clients_can_do_without_is_no_trouble() {
        let named = Named {
            name: "policyd".to_owned(),
            probe: Probe::Http {
                address: ([127, 0, 0, 1], 9905).into(),
                path: "/".to_owned(),
            },
            essential: false,
        };
        let mut health = health();
        health.add(&named, Some(Ok(())));
        assert_eq!(health.to_string(), "healthy: ports 25 answer (0 ms)");
        health.add(&named, Some(Err(io::ErrorKind::TimedOut.into())));
        assert_eq!(health.to_string(), "degraded: policyd: no answer within 3 s");
    }
}
