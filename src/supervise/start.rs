//! What comes before a service's main process runs, and how it is seen that it serves.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::time::{sleep, timeout};

use super::service::Service;
use super::{POLL, members};
use crate::health::{Port, probe};
use crate::system::files;
use crate::system::processes::Processes;

/// Longest run of a preparation.
const PREPARATION_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a socket that a service needs.
const NEED_LIMIT: Duration = Duration::from_secs(30);

/// Ends what is left of an earlier instance, runs the preparations, waits for what the service needs.
pub(super) async fn prepare(service: &Service, earlier: Option<Pid>, processes: &Processes) -> io::Result<()> {
    if let Some(earlier) = earlier {
        members::end(earlier, &service.farewell).await;
    }
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

/// Returns when the port has greeted.
pub(super) async fn await_greeting(port: &Port, source: Option<IpAddr>) {
    while !greets(port, source).await {
        sleep(POLL).await;
    }
}

/// One probe, on a thread of its own: it blocks.
async fn greets(port: &Port, source: Option<IpAddr>) -> bool {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let port = port.clone();
    let probe = move || {
        let _ = answer.send(probe::greet(&port, source).is_ok());
    };
    std::thread::Builder::new()
        .name("readiness".to_owned())
        .spawn(probe)
        .is_ok()
        && answered.await.unwrap_or(false)
}
