//! `mailroom run`, the default: the whole road from the environment to running daemons.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::control::{self, Answer};
use crate::dovecot;
use crate::draft::Draft;
use crate::facts::Facts;
use crate::logs::Logs;
use crate::provision::{self, Provisioned};
use crate::read::read;
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
        .build()?;
    let code = LocalSet::new().block_on(&runtime, async {
        let asked = signals::listen()?;
        let processes = Processes::start()?;
        let code = start(environment, asked, &processes).await;
        sweep(&processes).await;
        code
    });
    // Threads may still block on standard output; nothing waits for them.
    runtime.shutdown_background();
    code
}

/// Provisions and supervises; a stop while provisioning ends it there.
async fn start(
    environment: &Environment,
    mut asked: UnboundedReceiver<Asked>,
    processes: &Processes,
) -> anyhow::Result<u8> {
    let mut read = match read(environment, processes).await {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    limit_open_files()?;
    let logs = Logs::start()?;
    read.facts.probe_is_named = read.facts.probe_is_named || provision::name_probe_address().is_ok();
    let draft = Draft::new(&read.settings, &read.facts, read.tables, &dovecot::kept_hashes())?;
    provision::configure_logs(&read.settings, &draft, &logs)?;
    logs.own("Starting Postfix SMTP server configuration...".to_owned());
    let told = draft.lines.clone();
    for line in &told {
        logs.own(line.clone());
    }
    let provisioned = tokio::select! {
        provisioned = provision::provision(&read.settings, draft, &logs, processes) => provisioned,
        () = stop_asked(&mut asked) => return Ok(0),
    };
    let code = match provisioned {
        Ok(provisioned) => {
            logs.own("Mail server configuration complete".to_owned());
            provision::repair(provisioned.trees, &logs)?;
            let (requests, requested) = unbounded_channel();
            let reload = Reload {
                environment: environment.clone(),
                processes: processes.clone(),
                logs: logs.clone(),
                requests: requests.clone(),
                provisioned: provisioned.fingerprints,
                told: told.into_iter().collect(),
                listeners: listeners(&read.settings),
            };
            spawn_local(obey(asked, requests, reload, logs.clone()));
            let limits = limits(&read.settings);
            supervise(provisioned.services, limits, requested, processes.clone(), logs.clone()).await
        }
        Err(error) if error.is::<Report>() => {
            logs.flush(FLUSH);
            return refuse(error);
        }
        Err(error) => {
            logs.own(format!("Cannot start: {error:#}"));
            EXIT_CONFIG
        }
    };
    if code == 0 {
        logs.own("Mail server stopped".to_owned());
    }
    logs.flush(FLUSH);
    Ok(code)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        stop_budget: settings.stop_timeout,
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

/// Hands on what signals, the control socket and changed networks ask for.
async fn obey(mut asked: UnboundedReceiver<Asked>, requests: UnboundedSender<Request>, reload: Reload, logs: Logs) {
    let (reloads, wanted) = unbounded_channel();
    if let Err(error) = control::listen(reloads.clone()) {
        logs.own(format!("mailroom reload will not work: {error}"));
    }
    let following = spawn_local(follow_networks(
        reload.environment.clone(),
        reloads.clone(),
        logs.clone(),
    ));
    let reloading: JoinHandle<()> = spawn_local(reload.serve(wanted));
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::ReopenLogs => logs.reopen(),
            Asked::Reload => drop(reloads.send(None)),
            Asked::Stop => {
                // From here on nothing may open the doors again that the stop closes.
                following.abort();
                reloading.abort();
                let _ = requests.send(Request::Stop);
            }
        }
    }
}

/// Who is trusted depends on the networks that the container is connected to.
async fn follow_networks(environment: Environment, reloads: UnboundedSender<Option<Answer>>, logs: Logs) {
    let routes = match Routes::watch() {
        Ok(routes) => routes,
        Err(error) => return logs.own(format!("changes of the networks will not be noticed: {error}")),
    };
    let look = || {
        let facts = Facts::gather(&environment);
        (facts.interfaces, facts.gateways)
    };
    let mut known = look();
    while routes.changed().await.is_ok() {
        let now = look();
        if now != known {
            logs.own("The networks of this container have changed".to_owned());
            known = now;
            let _ = reloads.send(None);
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
            let outcome = self.once().await.map_err(|error| format!("{error:#}"));
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
        let draft = Draft::new(&read.settings, &read.facts, read.tables, &dovecot::kept_hashes())?;
        provision::configure_logs(&read.settings, &draft, &self.logs)?;
        let lines: BTreeSet<String> = draft.lines.iter().cloned().collect();
        let Provisioned {
            services, fingerprints, ..
        } = provision::provision(&read.settings, draft, &self.logs, &self.processes).await?;
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
