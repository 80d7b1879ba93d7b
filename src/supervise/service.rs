//! The description of a service: all that the supervisor knows of it.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::health::Port;
use crate::plan::File;

/// A daemon that is kept running.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name in messages.
    pub name: &'static str,
    /// Program and arguments of the main process, which stays in the foreground. SIGTERM ends it, SIGHUP has it read its
    /// configuration again.
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
    /// The files that it reads, and the directories below which they are: it has to be told when one changes.
    pub reads: Vec<PathBuf>,
    /// Its processes that serve a client each.
    pub sessions: Option<Sessions>,
    /// How its work in hand is finished before it ends.
    pub drain: Option<Drain>,
    /// Names of processes that its main process leaves behind, in the order in which they have to be ended: those of one
    /// place together, then those of the next, then all that are not named, then the last place.
    pub farewell: Vec<Vec<&'static str>>,
}

/// How a service says that it serves.
#[derive(Debug, Clone)]
pub enum Readiness {
    /// It sends `READY=1` to the socket named by `NOTIFY_SOCKET` (sd_notify(3)), which is at this path.
    Notify(PathBuf),
    /// It greets here.
    Greets(Port, Option<IpAddr>),
}

/// Processes of which each serves one client at a time.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// Their name (proc_pid_comm(5)).
    pub process: &'static str,
    /// Where they greet.
    pub ports: Vec<Port>,
    /// Where to ask from.
    pub source: Option<IpAddr>,
}

/// How a service finishes what it is busy with.
#[derive(Debug, Clone)]
pub struct Drain {
    /// What makes it turn new clients away, once it has read its configuration again.
    pub closing: Vec<File>,
    /// It is busy while a connection to one of these TCP ports is open …
    pub ports: Vec<u16>,
    /// … and while there is a file in one of these directories.
    pub queues: Vec<PathBuf>,
    /// The process that hands out work …
    pub dispatcher: &'static str,
    /// … and the unix sockets, by the names that they were bound by, at which it does: a connection for each piece.
    pub handed_out: Vec<String>,
}
