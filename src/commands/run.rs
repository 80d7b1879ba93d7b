//! `mailroom run`, the default: the start and the end of the mail server. What lies between is in `server`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;
use tracing::Instrument;

use super::output::complain;
use super::{EXIT_CONFIG, refuse};
use crate::accounts::known::Kept;
use crate::control::client;
use crate::daemons::DAEMONS;
use crate::facts::rights::Rights;
use crate::health;
use crate::layout::RUN_DIRECTORY;
use crate::logs::{Logs, Meanings};
use crate::metrics::Metrics;
use crate::provision::volumes::{self, Locked};
use crate::provision::{self, Desired, Provisioned, Read, commit, desired, provision, read};
use crate::report::Report;
use crate::server::sweep::{SWEEP, sweep};
use crate::server::{self, DeclaredFiles, Followed, InForce, Networks, Origin};
use crate::settings::Environment;
use crate::system::lock::{self, Attempt, Held};
use crate::system::panics;
use crate::system::processes::{self, Processes};
use crate::system::signals::{self, Asked, Signals};

/// Open files for each daemon. Some engines give a container a billion, and programs that close them all spin for
/// minutes.
const OPEN_FILES: u64 = 65_536;
/// Last wait for the logs: standard output may block.
const FLUSH: Duration = Duration::from_millis(500);

/// Runs until it is asked to stop. Returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    signals::block_signals()?;
    panics::install_hook();
    processes::drop_inherited_descriptors();
    if let Some(reason) = Rights::gather().refusal() {
        complain(reason);
        return Ok(EXIT_CONFIG);
    }
    let signals = Signals::register()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(Duration::from_secs(1))
        .build()?;
    let code = LocalSet::new().block_on(&runtime, begin(environment, signals));
    // Threads may still block on standard output; nothing waits for them.
    runtime.shutdown_background();
    code.or_else(refuse)
}

/// Two servers on one /run would take each other's sockets, pid files and daemons. The second is refused before it has
/// touched anything; a socket or a lock file that a dead one has left keeps nobody out. Where /run cannot be written, a later
/// step says so.
fn only_server() -> Result<Option<Held>, String> {
    let refusal = |holder: Option<String>| {
        let holder = holder.map(|holder| format!(" ({holder})")).unwrap_or_default();
        if let Some(waiting) = health::waiting() {
            return format!("a server is already here{holder}, in standby: {waiting}");
        }
        format!(
            "a server is already running here{holder}: mailroom reload has it read its settings anew, mailroom healthcheck \
             asks how it is"
        )
    };
    let lock = match lock::attempt(Path::new(RUN_DIRECTORY), &BTreeSet::new()) {
        Ok(Attempt::InUse(holder)) => return Err(refusal(holder)),
        Ok(Attempt::Held(mut held)) => {
            let host = nix::unistd::gethostname().unwrap_or_default();
            held.sign(&format!("process {} of {}", std::process::id(), host.to_string_lossy()));
            Some(held)
        }
        Ok(Attempt::Ours | Attempt::NoLocks) | Err(_) => None,
    };
    if client::is_answered() {
        return Err(refusal(None));
    }
    Ok(lock)
}

/// Reads; then everything else, which always ends with a sweep and with the last lines of the logs.
async fn begin(environment: &Environment, signals: Signals) -> anyhow::Result<u8> {
    let processes = Processes::start()?;
    let mut asked = signals.listen(processes.clone())?;
    let declared = DeclaredFiles::of(environment);
    let read = tokio::select! {
        read = read(DAEMONS, environment, &processes, Kept::read()?) => read?,
        () = stop_asked(&mut asked) => return Ok(0),
    };
    // Held to the very end: until then something of this server may still run.
    let _only = match only_server() {
        Ok(lock) => lock,
        Err(refusal) => {
            complain(refusal);
            return Ok(EXIT_CONFIG);
        }
    };
    limit_open_files()?;
    let lines = DAEMONS.iter().map(|daemon| daemon.log_lines()).collect();
    let metrics = Metrics::new();
    let (logs, meanings) = Logs::start(lines, metrics.clone())?;
    let origin = Origin {
        daemons: DAEMONS,
        environment: environment.clone(),
        processes: processes.clone(),
        logs: logs.clone(),
        metrics,
    };
    // The locks outlast the sweep: until then something may still write.
    let mut locked = Locked::default();
    let outcome = start(origin, read, declared, &mut locked, asked, meanings).await;
    sweep(&processes).await;
    if outcome.as_ref().is_ok_and(|code| *code == 0) {
        tracing::info!("Mail server stopped");
    }
    logs.flush(FLUSH);
    outcome
}

/// Provisions and serves; a stop while provisioning ends it there.
async fn start(
    origin: Origin,
    read: Read,
    declared: DeclaredFiles,
    locked: &mut Locked,
    mut asked: UnboundedReceiver<Asked>,
    meanings: Meanings,
) -> anyhow::Result<u8> {
    let begun = tokio::select! {
        begun = prepare(&origin, read, locked) => begun,
        () = stop_asked(&mut asked) => return Ok(0),
    };
    let (in_force, provisioned) = match begun {
        Err(error) if !error.is::<Report>() => {
            tracing::error!("Cannot start: {error:#}");
            return Ok(EXIT_CONFIG);
        }
        begun => begun?,
    };
    let followed = Followed {
        networks: Networks::of(&in_force.read.facts),
        declared,
    };
    // The sweep and the last lines have their part of the time for a stop.
    let site = &in_force.read.site;
    let limits = server::limits(site, (SWEEP + FLUSH).min(site.stop_timeout / 4));
    Ok(server::serve(origin, provisioned, in_force, followed, limits, asked, meanings).await)
}

/// Everything until the services start.
async fn prepare(origin: &Origin, mut read: Read, locked: &mut Locked) -> anyhow::Result<(InForce, Provisioned)> {
    let mut desired = desired(&read)?;
    server::configure_logs(&desired, &origin.logs)?;
    *locked = volumes::lock(read.site.volumes(), read.site.wait_for_volumes).await?;
    if locked.after_others {
        (read, desired) = again(origin).await?;
    }
    tracing::info!("Starting Postfix SMTP server configuration...");
    desired.notices.lines().for_each(|line| tracing::info!("{line}"));
    commit::remove_leftovers(&desired);
    let in_force = InForce::new(read, &desired);
    let provisioned = put_in_place(desired, &origin.processes).await?;
    Ok((in_force, provisioned))
}

/// What was on the volumes when it was read first was another container's.
async fn again(origin: &Origin) -> anyhow::Result<(Read, Desired)> {
    let read = read(origin.daemons, &origin.environment, &origin.processes, Kept::read()?).await?;
    let desired = desired(&read)?;
    Ok((read, desired))
}

/// All files, then their owners.
async fn put_in_place(desired: Desired, processes: &Processes) -> anyhow::Result<Provisioned> {
    let span = tracing::info_span!("provision");
    let mut provisioned = provision(desired, processes).instrument(span).await?;
    tracing::info!("Mail server configuration complete");
    provision::commit::repair(std::mem::take(&mut provisioned.trees)).await;
    Ok(provisioned)
}

async fn stop_asked(asked: &mut UnboundedReceiver<Asked>) {
    while asked.recv().await.is_some_and(|asked| asked != Asked::Stop) {}
}

fn limit_open_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).context("cannot limit the number of open files")
}
