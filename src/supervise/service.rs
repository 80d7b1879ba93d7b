//! The description of a service: all that the supervisor knows of it.

use std::path::PathBuf;

use crate::health::Port;

/// A daemon that is kept running.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name in messages.
    pub name: &'static str,
    /// Program and arguments of the main process, which stays in the foreground.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Give the main process a process group of its own. Not for one that makes a session of its own: setsid(2) fails
    /// for a group leader.
    pub own_group: bool,
    /// Files that an earlier instance may have left and that would keep a new one from starting.
    pub stale_files: Vec<PathBuf>,
    /// Helper commands that must succeed before each start.
    pub preparations: Vec<Vec<String>>,
    /// A unix socket that must accept connections before the main process is started.
    pub needs: Option<PathBuf>,
    /// How it says that it serves.
    pub ready: Readiness,
    /// The file in which a running instance keeps its process id.
    pub pid_file: PathBuf,
    /// The name of the main process (proc_pid_comm(5)).
    pub process: &'static str,
}

/// How a service says that it serves.
#[derive(Debug, Clone)]
pub enum Readiness {
    /// It sends `READY=1` to the socket named by `NOTIFY_SOCKET` (sd_notify(3)), which is at this path.
    Notify(PathBuf),
    /// It greets here.
    Greets(Port, Option<std::net::IpAddr>),
}
