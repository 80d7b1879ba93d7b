//! `mailroom run`, the default: the whole road from the environment to running daemons.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use crate::control::{self, Answer};
use crate::dovecot;
use crate::draft::Draft;
use crate::facts::Facts;
use crate::logs::Logs;
use crate::provision::{self, Provisioned};
use crate::read::{Read, read};
use crate::settings::{Environment, Report, Settings};
use crate::supervise::policy::OnFailure;
use crate::supervise::service::Service;
use crate::supervise::{Limits, Request, supervise};
use crate::system::processes::{self, Processes};
use crate::system::routes::Routes;
use crate::system::signals::{self, Asked};
use crate::system::{panics, proc};

/// EX_USAGE (sysexits.h): the environment is wrong.
pub(super) const EXIT_USAGE: u8 = 64;
/// EX_CONFIG (sysexits.h): what was found on disk, or what Postfix or Dovecot say of the configuration.
pub(super) const EXIT_CONFIG: u8 = 78;

/// Open files for each daemon. Some engines give a container a billion, and programs that close them all spin for
/// minutes.
const OPEN_FILES: u64 = 65_536;
/// After a reload for changed networks that was refused.
const RETRY: Duration = Duration::from_secs(30);
/// Last wait for the logs: standard output may block.
const FLUSH: Duration = Duration::from_millis(500);
/// How long processes that nobody supervises may take to end.
const SWEEP: Duration = Duration::from_millis(300);

/// Runs until told to stop. Returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    signals::hold()?;
    panics::install_hook();
    processes::drop_inherited_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(Duration::from_secs(1))
        .build()?;
    let code = LocalSet::new().block_on(&runtime, begin(environment));
    // Threads may still block on standard output; nothing waits for them.
    runtime.shutdown_background();
    code.or_else(refuse)
}

/// Reads; then everything else, which always ends with a sweep and with the last lines of the logs.
async fn begin(environment: &Environment) -> anyhow::Result<u8> {
    let mut asked = signals::listen()?;
    let processes = Processes::start()?;
    let read = tokio::select! {
        read = read(environment, &processes) => read?,
        () = stop_asked(&mut asked) => return Ok(0),
    };
    limit_open_files()?;
    let logs = Logs::start()?;
    let told = logs.clone();
    panics::tell_through(move |text| told.own(text));
    let outcome = serve(environment, read, asked, &processes, &logs).await;
    sweep(&processes).await;
    if outcome.as_ref().is_ok_and(|code| *code == 0) {
        logs.own("Mail server stopped".to_owned());
    }
    logs.flush(FLUSH);
    outcome
}

/// Provisions and supervises; a stop while provisioning ends it there.
async fn serve(
    environment: &Environment,
    mut read: Read,
    mut asked: UnboundedReceiver<Asked>,
    processes: &Processes,
    logs: &Logs,
) -> anyhow::Result<u8> {
    read.facts.probe_is_named = read.facts.probe_is_named || provision::name_probe_address().is_ok();
    let draft = Draft::new(&read.settings, &read.facts, read.files, &dovecot::kept_hashes())?;
    provision::configure_logs(&read.settings, &draft.trust, logs)?;
    logs.own("Starting Postfix SMTP server configuration...".to_owned());
    let told = draft.lines.clone();
    for line in &told {
        logs.own(line.clone());
    }
    provision::remove_leftovers(&draft.plan);
    let provision = async {
        let mut provisioned = provision::provision(&read.settings, draft, logs, processes).await?;
        logs.own("Mail server configuration complete".to_owned());
        provision::repair(std::mem::take(&mut provisioned.trees), logs).await;
        anyhow::Ok(provisioned)
    };
    let provisioned = tokio::select! {
        provisioned = provision => provisioned,
        () = stop_asked(&mut asked) => return Ok(0),
    };
    let provisioned = match provisioned {
        Err(error) if !error.is::<Report>() => {
            logs.own(format!("Cannot start: {error:#}"));
            return Ok(EXIT_CONFIG);
        }
        provisioned => provisioned?,
    };

    let (requests, requested) = unbounded_channel();
    let (reloads, wanted) = unbounded_channel();
    let reload = Reload {
        environment: environment.clone(),
        processes: processes.clone(),
        logs: logs.clone(),
        requests: requests.clone(),
        provisioned: provisioned.fingerprints,
        told: told.into_iter().collect(),
        listeners: listeners(&read.settings),
    };
    if let Err(error) = control::listen(reloads.clone()) {
        logs.own(format!("mailroom reload will not work: {error}"));
    }
    let follow = Networks {
        known: RefCell::new(networks(&read.facts)),
        environment: environment.clone(),
        reloads: reloads.clone(),
        logs: logs.clone(),
    };
    let follow = Rc::new(follow);
    let following = panics::keep(move || Rc::clone(&follow).follow());
    let reloading: JoinHandle<()> = spawn_local(reload.serve(wanted));
    spawn_local(obey(asked, requests, reloads, logs.clone()));
    // From then on nothing may open the doors again that the stop closes.
    let stopping = move || {
        following.abort();
        reloading.abort();
    };
    let limits = limits(&read.settings);
    Ok(supervise(
        provisioned.services,
        limits,
        requested,
        stopping,
        processes.clone(),
        logs.clone(),
    )
    .await)
}

/// The sweep and the last lines have their part of the time for a stop.
fn limits(settings: &Settings) -> Limits {
    let reserved = (SWEEP + FLUSH).min(settings.stop_timeout / 4);
    Limits {
        stop_budget: settings.stop_timeout.saturating_sub(reserved),
        on_failure: if settings.keep_on_failure {
            OnFailure::Keep
        } else {
            OnFailure::Exit
        },
    }
}

async fn stop_asked(asked: &mut UnboundedReceiver<Asked>) {
    while asked.recv().await.is_some_and(|asked| asked != Asked::Stop) {}
}

/// Hands on what signals ask for.
async fn obey(
    mut asked: UnboundedReceiver<Asked>,
    requests: UnboundedSender<Request>,
    reloads: UnboundedSender<Option<Answer>>,
    logs: Logs,
) {
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::ReopenLogs => logs.reopen(),
            Asked::Reload => drop(reloads.send(None)),
            Asked::Stop => drop(requests.send(Request::Stop)),
        }
    }
}

/// Who is trusted depends on the networks that the container is connected to.
struct Networks {
    /// Those that the configuration in place is made for.
    known: RefCell<(Vec<IpNet>, BTreeSet<IpAddr>)>,
    environment: Environment,
    reloads: UnboundedSender<Option<Answer>>,
    logs: Logs,
}

/// The addresses and gateways.
fn networks(facts: &Facts) -> (Vec<IpNet>, BTreeSet<IpAddr>) {
    (facts.interfaces.clone(), facts.gateways.clone())
}

impl Networks {
    /// Has everything read anew when they change; again after a while where that was refused.
    async fn follow(self: Rc<Self>) {
        let routes = match Routes::watch() {
            Ok(routes) => routes,
            Err(error) => {
                return self
                    .logs
                    .own(format!("changes of the networks will not be noticed: {error}"));
            }
        };
        loop {
            let now = networks(&Facts::gather(&self.environment));
            let changed = now != *self.known.borrow();
            if changed {
                self.logs.own("The networks of this container have changed".to_owned());
                let (answer, answered) = oneshot::channel();
                let _ = self.reloads.send(Some(answer));
                if matches!(answered.await, Ok(Ok(_))) {
                    *self.known.borrow_mut() = now;
                    continue;
                }
            }
            tokio::select! {
                changed = routes.changed() => if changed.is_err() { return },
                () = sleep(RETRY), if changed => {}
            }
        }
    }
}

/// The same road again, for daemons that run.
struct Reload {
    environment: Environment,
    processes: Processes,
    logs: Logs,
    requests: UnboundedSender<Request>,
    provisioned: provision::Fingerprints,
    /// What the user was told; only what is new is told again.
    told: BTreeSet<String>,
    /// What Postfix and Dovecot read at their start alone.
    listeners: Listeners,
}

/// `inet_interfaces` and `inet_protocols`: neither daemon closes or opens listeners for a reload.
type Listeners = (Option<String>, String);

fn listeners(settings: &Settings) -> Listeners {
    let interfaces = settings
        .parameters
        .get("inet_interfaces")
        .map(|given| given.value.clone());
    (interfaces, settings.protocols.clone())
}

impl Reload {
    async fn serve(mut self, mut wanted: UnboundedReceiver<Option<Answer>>) {
        while let Some(first) = wanted.recv().await {
            // All that was asked for until now is done by one.
            let mut answers: Vec<Answer> = first.into_iter().collect();
            while let Ok(more) = wanted.try_recv() {
                answers.extend(more);
            }
            let outcome = panics::contain_future(self.once()).await;
            let outcome = outcome
                .unwrap_or_else(|| Err(anyhow::anyhow!("an internal error, told above")))
                .map_err(|error| format!("{error:#}"));
            self.logs.own(match &outcome {
                Ok(told) => told.clone(),
                Err(error) => format!("Reload refused, all goes on as it was: {error}"),
            });
            for answer in answers {
                let _ = answer.send(outcome.clone());
            }
        }
    }

    /// Reads, provisions, and reloads the services whose files have changed.
    async fn once(&mut self) -> anyhow::Result<String> {
        let read = read(&self.environment, &self.processes).await?;
        let draft = Draft::new(&read.settings, &read.facts, read.files, &dovecot::kept_hashes())?;
        let trust = draft.trust.clone();
        let lines: BTreeSet<String> = draft.lines.iter().cloned().collect();
        let Provisioned {
            services, fingerprints, ..
        } = provision::provision(&read.settings, draft, &self.logs, &self.processes).await?;
        provision::configure_logs(&read.settings, &trust, &self.logs)?;
        lines
            .difference(&self.told)
            .for_each(|line| self.logs.own(line.clone()));
        self.told = lines;
        if listeners(&read.settings) != self.listeners {
            self.logs
                .own("inet_interfaces or inet_protocols has changed: docker restart puts that into effect".to_owned());
        }
        let has_changed = |service: &Service| fingerprints.get(service.name) != self.provisioned.get(service.name);
        let changed: Vec<Service> = services.into_iter().filter(has_changed).collect();
        let names: Vec<&'static str> = changed.iter().map(|service| service.name).collect();
        self.provisioned = fingerprints;
        for service in changed {
            let _ = self.requests.send(Request::Reload(Box::new(service)));
        }
        Ok(match &*names {
            [] => "Reloaded: nothing has changed".to_owned(),
            names => format!("Reloaded: {}", names.join(", ")),
        })
    }
}

/// Mistakes of the user's are a report and an exit code of their own.
fn refuse(error: anyhow::Error) -> anyhow::Result<u8> {
    let report = error.downcast::<Report>()?;
    eprintln!("mailroom: {report}");
    Ok(EXIT_USAGE)
}

fn limit_open_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).context("cannot limit the number of open files")
}

/// Ends whatever is left: asks, waits a moment, kills. As PID 1 that is all there is; otherwise the PID namespace holds
/// other people's processes, and ours are those that descend from us.
async fn sweep(processes: &Processes) {
    if signal_all(Some(Signal::SIGTERM)) == 0 {
        return;
    }
    let gone = async {
        while signal_all(None) > 0 {
            processes.reap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SWEEP, gone).await.is_err() {
        signal_all(Some(Signal::SIGKILL));
    }
}

/// Signals all that is left; returns how many there are, of which one tells us no more than that there are some.
fn signal_all(signal: Option<Signal>) -> usize {
    if processes::is_first() {
        return usize::from(kill(Pid::from_raw(-1), signal).is_ok());
    }
    let descendants = proc::descendants();
    for pid in &descendants {
        let _ = kill(*pid, signal);
    }
    descendants.len()
}
