//! `mailroom run`, the default: the whole road from the environment to running daemons.

use std::io;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::facts::{Facts, PRIMARY_DOMAIN_RECORD};
use crate::logs::Logs;
use crate::postfix::{self, parameters::Parameters};
use crate::provision;
use crate::settings::{Environment, Mistake, Report, Settings, needs_parameters};
use crate::supervise::supervise;
use crate::system::processes::Processes;

/// EX_USAGE (sysexits.h): the environment is wrong.
const EXIT_USAGE: u8 = 64;
/// EX_CONFIG (sysexits.h): what was found on disk, or what Postfix or Dovecot say of the configuration.
const EXIT_CONFIG: u8 = 78;

/// Open files for each daemon. Some engines give a container a billion, and programs that close them all spin for
/// minutes.
const OPEN_FILES: u64 = 65_536;
/// Last wait for the logs: standard output may block.
const FLUSH: Duration = Duration::from_millis(500);
/// How long processes that nobody supervises may take to end.
const SWEEP: Duration = Duration::from_millis(300);

/// Runs until told to stop. Returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let code = LocalSet::new().block_on(&runtime, async {
        // First of all: PID 1 has no default actions, and a SIGTERM from here on must count.
        let stop = stop_requests()?;
        let processes = Processes::start()?;
        let code = start(environment, stop, &processes).await;
        sweep(&processes).await;
        code
    });
    // Threads may still block on standard output; nothing waits for them.
    runtime.shutdown_background();
    code
}

/// An item for each SIGTERM or SIGINT.
fn stop_requests() -> io::Result<UnboundedReceiver<()>> {
    let (sender, stop) = unbounded_channel();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut requests, sender) = (signal(kind)?, sender.clone());
        spawn_local(async move {
            while requests.recv().await.is_some() {
                let _ = sender.send(());
            }
        });
    }
    Ok(stop)
}

/// Provisions and supervises; a stop while provisioning ends it there.
async fn start(
    environment: &Environment,
    mut stop: UnboundedReceiver<()>,
    processes: &Processes,
) -> anyhow::Result<u8> {
    let known = parameters(environment, processes).await?;
    let settings = match Settings::from_environment(environment, &known) {
        Ok(settings) => settings,
        Err(report) => return Ok(refuse(&report)),
    };
    let facts = Facts::gather(environment);
    if let Some(report) = other_primary_domain(&settings, &facts) {
        return Ok(refuse(&report));
    }
    limit_open_files()?;
    let logs = Logs::start()?;
    let provisioned = tokio::select! {
        provisioned = provision::provision(&settings, &facts, &logs, processes) => provisioned,
        Some(()) = stop.recv() => return Ok(0),
    };
    let code = match provisioned {
        Ok(services) => supervise(services, stop, settings.stop_timeout, processes.clone(), logs.clone()).await,
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

fn refuse(report: &Report) -> u8 {
    eprintln!("mailroom: {report}");
    EXIT_USAGE
}

/// The parameters of the installed Postfix; it is asked only where a variable needs them.
async fn parameters(environment: &Environment, processes: &Processes) -> anyhow::Result<Parameters> {
    if !needs_parameters(environment) {
        return Ok(Parameters::default());
    }
    let mut postconf = Command::new("/usr/sbin/postconf");
    let output = processes
        .output(
            postconf.args(["-c", postfix::META_DIRECTORY, "-d"]),
            Duration::from_secs(10),
        )
        .await?;
    Ok(Parameters::parse(&output.stdout))
}

/// With another primary domain the short home directories would hand one user's mail to another.
fn other_primary_domain(settings: &Settings, facts: &Facts) -> Option<Report> {
    let recorded = facts
        .recorded_domain
        .as_ref()
        .filter(|recorded| **recorded != settings.domain)?;
    let reason = format!(
        "the mailboxes in /var/mail belong to {recorded}: set POSTFIX_MYDOMAIN={recorded}, or start with another volume \
         (to hand them over to {} on purpose, remove {PRIMARY_DOMAIN_RECORD})",
        settings.domain
    );
    let mistake = Mistake {
        variable: "POSTFIX_MYDOMAIN".to_owned(),
        value: settings.domain.clone(),
        reason,
    };
    Some(Report(vec![mistake]))
}

fn limit_open_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).context("cannot limit the number of open files")
}

/// As PID 1, ends whatever is left in the container: asks, waits a moment, kills.
async fn sweep(processes: &Processes) {
    if nix::unistd::getpid() != Pid::from_raw(1) {
        return;
    }
    let everybody = Pid::from_raw(-1);
    if kill(everybody, Signal::SIGTERM).is_err() {
        return;
    }
    let gone = async {
        while kill(everybody, None).is_ok() {
            processes.reap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SWEEP, gone).await.is_err() {
        let _ = kill(everybody, Signal::SIGKILL);
    }
}
