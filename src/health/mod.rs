//! Whether a client would be served. PID 1 writes down what is to be asked; the health check, a process of its own, asks.
//! It looks at what PID 1 says of its daemons, too: why one is down, and until when, is more than a silent port says.

mod report;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use self::report::{Fault, Report, Severity, State};
use crate::layout::RUN_DIRECTORY;
use crate::plan::File;
use crate::probes::{self, Probe};
use crate::supervise::status;
use crate::system::proc;

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
            Probe::Socket { .. }
            | Probe::Farewell { .. }
            | Probe::Login { .. }
            | Probe::Space { .. }
            | Probe::Processes { .. } => None,
        }
    }

    /// Whether it is worth a word when it answers.
    fn is_for_clients(&self) -> bool {
        !matches!(
            self.probe,
            Probe::Farewell { .. } | Probe::Processes { .. } | Probe::Http { .. } | Probe::Space { .. }
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

/// A directory with a file for each of Postfix's services that could not be started.
fn throttled_notes() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("throttled")
}

/// master(8) tries again each second (`service_throttle_time`), and says each time that it does.
const THROTTLED: Duration = Duration::from_secs(4);

/// Notes that master(8) could not start a service. Where /run cannot be written, a later step says so.
pub fn throttle(service: &str) {
    let notes = throttled_notes();
    let _ = fs::create_dir_all(&notes).and_then(|()| fs::write(notes.join(service), ""));
}

/// The services that could not be started just now.
fn throttled() -> Vec<String> {
    let entries = fs::read_dir(throttled_notes()).into_iter().flatten().flatten();
    let is_recent = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|found| found.modified());
        modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since < THROTTLED))
    };
    let names = entries.filter(is_recent).map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Whether this server waits for another, and for which, in words.
pub fn waiting() -> Option<String> {
    fs::read_to_string(standby_note()).ok()
}

/// Asks everything that PID 1 wrote down, in parallel.
pub fn check() -> Report {
    if let Some(waiting) = waiting() {
        return Report::of(State::Standby, &waiting);
    }
    let path = list();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Report::of(State::Starting, "not started yet"),
        Err(error) => return Report::of(State::Unhealthy, &format!("{}: {error}", path.display())),
    };
    match serde_json::from_str(&text) {
        Ok(list) => ask(list),
        Err(error) => Report::of(State::Unhealthy, &format!("{}: {error}", path.display())),
    }
}

/// Whether PID 1 and its daemons live, as it has noted: nothing is asked. A daemon that is started again lives; one that is left
/// down does not.
pub fn live() -> Report {
    let doing = status::read();
    if doing.is_empty() {
        return Report::of(State::Starting, "not started yet");
    }
    let given_up = doing.into_iter().filter(|(_, doing)| doing.is_given_up());
    let faults = given_up.map(|(name, doing)| Fault {
        check: name,
        severity: severity(doing.essential),
        message: doing.word.into_owned(),
    });
    Report::new(faults.collect(), Vec::new(), Vec::new(), Duration::ZERO)
}

fn severity(is_essential: bool) -> Severity {
    if is_essential {
        Severity::Unhealthy
    } else {
        Severity::Degraded
    }
}

/// A pause before a probe is asked again, and how long it is asked again.
const MOMENT: Duration = Duration::from_millis(100);
const MOMENTS: Duration = Duration::from_millis(500);

/// What may be otherwise in a moment is asked again.
fn answers(probe: &Probe) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let answer = probe.examine();
        if begun.elapsed() >= MOMENTS || !answer.as_ref().is_err_and(probes::is_momentary) {
            return answer;
        }
        std::thread::sleep(MOMENT);
    }
}

/// Time for all probes together: a hang is seen within two seconds.
const LIMIT: Duration = Duration::from_millis(1_600);

fn ask(list: List) -> Report {
    let begun = Instant::now();
    let doing = status::read();
    let mut findings = Findings::default();
    let down = doing.iter().filter(|(_, doing)| doing.word != "running");
    for (name, doing) in down {
        findings.fault(name, severity(doing.essential), doing.word.to_string());
    }
    for message in list.degraded {
        findings.fault("", Severity::Degraded, message);
    }
    for service in throttled() {
        let message = "cannot be started: the log says why".to_owned();
        findings.fault(&format!("postfix/{service}"), Severity::Unhealthy, message);
    }
    for port in proc::shared_ports() {
        if list.probes.iter().any(|named| named.port() == Some(port)) {
            let message = "two processes listen, and a client meets either: restart the container".to_owned();
            findings.fault(&format!("port {port}"), Severity::Unhealthy, message);
        }
    }
    // What is down answers no question: that it is down is said once.
    let is_down = |name: &str| {
        doing
            .get(name)
            .is_some_and(|doing| !doing.essential && doing.word != "running")
    };
    let asked = list.probes.into_iter().filter(|named| !is_down(&named.name));
    let asked: Vec<Named> = asked.collect();
    let (answers, answered) = channel();
    for (id, named) in asked.iter().enumerate() {
        let (answers, probe) = (answers.clone(), named.probe.clone());
        std::thread::spawn(move || answers.send((id, self::answers(&probe))));
    }
    drop(answers);
    // A thread that hangs is left behind: the process ends soon.
    let mut found = BTreeMap::new();
    while let Ok((id, answer)) = answered.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
        found.insert(id, answer);
    }
    for (id, named) in asked.iter().enumerate() {
        let late = || Err(named.probe.late());
        findings.add(named, found.remove(&id).unwrap_or_else(late));
    }
    Report::new(findings.faults, findings.ports, findings.others, begun.elapsed())
}

/// What is found, in the order in which it is.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<Fault>,
    ports: Vec<u16>,
    others: Vec<String>,
}

impl Findings {
    /// Adds a fault; what is wrong with several in the same way is said once.
    fn fault(&mut self, check: &str, severity: Severity, message: String) {
        let is_same = |fault: &&mut Fault| fault.severity == severity && fault.message == message && !check.is_empty();
        if let Some(same) = self.faults.iter_mut().find(is_same) {
            same.check = format!("{}, {check}", same.check);
            return;
        }
        self.faults.push(Fault {
            check: check.to_owned(),
            severity,
            message,
        });
    }

    /// Adds one answer.
    fn add(&mut self, named: &Named, answer: io::Result<()>) {
        match (answer, named.port()) {
            (Ok(()), Some(port)) if named.essential => self.ports.push(port),
            (Ok(()), _) if named.is_for_clients() => self.others.push(named.name.clone()),
            (Ok(()), _) => {}
            (Err(error), _) => {
                let is_served = probes::is_served(&error) || !named.essential;
                self.fault(&named.called(), severity(!is_served), probes::reason(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(named: &Named, answer: io::Result<()>) -> Report {
        let mut findings = Findings {
            ports: vec![25],
            ..Findings::default()
        };
        findings.add(named, answer);
        Report::new(findings.faults, findings.ports, findings.others, Duration::ZERO)
    }

    #[test]
    fn busy_is_no_trouble() {
        let named = Named {
            name: "qmgr".to_owned(),
            probe: Probe::Farewell { path: "/q".into() },
            essential: true,
        };
        assert_eq!(report(&named, Ok(())).to_string(), "healthy: ports 25 answer (0 ms)");
        let busy = report(&named, Err(io::Error::new(io::ErrorKind::ResourceBusy, "full")));
        assert_eq!(
            (busy.state, &*busy.to_string()),
            (State::Degraded, "degraded: qmgr: /q: full")
        );
        let late = report(&named, Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(
            (late.state, &*late.to_string()),
            (State::Unhealthy, "unhealthy: qmgr: /q: no answer within 1.5 s")
        );
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
        assert_eq!(report(&named, Ok(())).to_string(), "healthy: ports 25 answer (0 ms)");
        let late = report(&named, Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(late.to_string(), "degraded: policyd: no answer within 1.5 s");
    }

    #[test]
    fn the_worst_comes_first_and_each_has_a_line() {
        let mut findings = Findings::default();
        findings.fault("certificate", Severity::Degraded, "ends soon".to_owned());
        findings.fault("port 25", Severity::Unhealthy, "nobody listens".to_owned());
        let report = Report::new(findings.faults, Vec::new(), Vec::new(), Duration::ZERO);
        assert_eq!(
            report.to_string(),
            "unhealthy: port 25: nobody listens\ndegraded: certificate: ends soon"
        );
        assert!(!report.is_ready());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["state"], &json["faults"][1]["severity"]),
            (&"unhealthy".into(), &"degraded".into())
        );
        let waiting = Report::of(State::Standby, "the old one runs");
        assert_eq!(waiting.to_string(), "standby: the old one runs");
        assert!(!waiting.is_ready() && waiting.is_live());
    }
}
