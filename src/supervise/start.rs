//! What comes before a service's main process runs, and how it is seen that it serves.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::net::{UnixDatagram, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::POLL;
use super::service::Service;
use crate::health::{Port, probe};
use crate::system::files;
use crate::system::processes::Processes;

/// Longest run of a preparation: postsuper(1) looks at every file of the queue.
const PREPARATION_LIMIT: Duration = Duration::from_secs(600);
/// Longest pause between two looks for a greeting.
const LONGEST_POLL: Duration = Duration::from_secs(1);
/// Longest wait for a socket that a service needs.
const NEED_LIMIT: Duration = Duration::from_secs(30);

/// Runs the preparations, waits for what the service needs.
pub(super) async fn prepare(service: &Service, processes: &Processes) -> io::Result<()> {
    for path in &service.stale_files {
        files::remove(path)?;
    }
    for preparation in &service.preparations {
        run(service, preparation, processes).await?;
    }
    match &service.needs {
        Some(socket) => await_socket(socket).await,
        None => Ok(()),
    }
}

async fn run(service: &Service, preparation: &[String], processes: &Processes) -> io::Result<()> {
    let mut command = Command::new(&preparation[0]);
    command
        .args(&preparation[1..])
        .env_clear()
        .envs(service.environment.iter().cloned());
    let output = processes.output(&mut command, PREPARATION_LIMIT).await?;
    if output.exit.is_success() {
        return Ok(());
    }
    let (said, command) = (output.stderr.trim(), preparation.join(" "));
    Err(io::Error::other(format!("{command} {}: {said}", output.exit)))
}

async fn await_socket(path: &Path) -> io::Result<()> {
    let accepts = async {
        while UnixStream::connect(path).await.is_err() {
            sleep(POLL).await;
        }
    };
    timeout(NEED_LIMIT, accepts).await.map_err(|_| {
        let (path, limit) = (path.display(), NEED_LIMIT.as_secs());
        io::Error::other(format!("{path} was not there within {limit} s"))
    })
}

/// A socket for `NOTIFY_SOCKET` (sd_notify(3)).
pub(super) fn bind_notify_socket(path: &Path) -> io::Result<UnixDatagram> {
    files::remove(path)?;
    UnixDatagram::bind(path)
}

/// Calls `ready` at each `READY=1`. Keeps the socket open and empty also after the first: daemons notify about reloads,
/// too.
pub(super) async fn await_notification(socket: UnixDatagram, ready: impl Fn()) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer).await {
        if buffer[..length]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1")
        {
            ready();
        }
    }
}

/// Returns when the port has greeted. Looks less and less often: a port may never greet as it should.
pub(super) async fn await_greeting(port: &Port, source: Option<IpAddr>) {
    let mut pause = POLL;
    while !greets(port, source).await {
        sleep(pause).await;
        pause = (pause * 9 / 8).min(LONGEST_POLL);
    }
}

/// One probe, which blocks.
pub(super) async fn greets(port: &Port, source: Option<IpAddr>) -> bool {
    let port = port.clone();
    let greeted = spawn_blocking(move || probe::greet(&port, source).is_ok()).await;
    greeted.unwrap_or(false)
}
