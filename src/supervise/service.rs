//! The description of a service: all that the supervisor knows of it. It says what the service needs and what it
//! provides; the order of starts follows from that, and the order of stops is the reverse. It is data, apart from the
//! few functions that only the service's own folder can write.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use nix::unistd::Pid;

use crate::plan::File;
use crate::probes::Probe;

/// A daemon that is kept running.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name in messages.
    pub name: &'static str,
    /// Program and arguments of the main process, which stays in the foreground. SIGTERM ends it, SIGHUP has it read
    /// its configuration again.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Clients are not served without it. One that is not is started again however often it fails, and the container does not
    /// end for it.
    pub essential: bool,
    /// Give the main process a process group of its own. Not for one that makes a session of its own: setsid(2) fails
    /// for a group leader.
    pub own_group: bool,
    /// Unix sockets that must accept connections before the main process is started.
    pub needs: Vec<PathBuf>,
    /// Unix sockets that it makes and that others may need. What an earlier instance left of them is removed before
    /// each start. They may be missing for a moment while it reads its configuration again: services that need one are
    /// held for that time.
    pub provides: Vec<PathBuf>,
    /// Other files that an earlier instance may have left and that would keep a new one from starting.
    pub stale_files: Vec<PathBuf>,
    /// What must succeed before each start, in order.
    pub preparations: Vec<Preparation>,
    /// How it says that it serves.
    pub ready: Readiness,
    /// The file in which a running instance keeps its process id.
    pub pid_file: PathBuf,
    /// The name of the main process (proc_pid_comm(5)).
    pub process: &'static str,
    /// The files that it reads, and the directories below which they are: it is reloaded when one changes.
    pub reads: Vec<PathBuf>,
    /// What to watch after a reload.
    pub reload_guard: Option<ReloadGuard>,
    /// How its work in hand is finished before it ends.
    pub drain: Option<Drain>,
    /// Its part of the time for a stop.
    pub stop_share: StopShare,
    /// Names of processes that its main process leaves behind, in the order in which they have to be ended: those of
    /// one place together, then those of the next, then all that are not named, then the last place.
    pub stop_order: Vec<Vec<&'static str>>,
}

impl Service {
    /// Whether it needs one of these unix sockets.
    pub(super) fn needs_one_of(&self, sockets: &[PathBuf]) -> bool {
        self.needs.iter().any(|socket| sockets.contains(socket))
    }
}

/// One thing to do before a start.
#[derive(Clone)]
pub enum Preparation {
    /// Run a helper command, which must exit with code 0.
    Run(Vec<String>),
    /// Call a function; it runs on a thread that may block. It returns lines for the log.
    Call(fn() -> io::Result<Vec<String>>),
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Preparation::Run(command) => write!(f, "Run({command:?})"),
            Preparation::Call(_) => write!(f, "Call"),
        }
    }
}

/// How a service says that it serves.
#[derive(Debug, Clone)]
pub enum Readiness {
    /// It sends `READY=1` to the socket named by `NOTIFY_SOCKET` (sd_notify(3)), which is at this path. It does so
    /// after each reload, too, and sends `RELOADING=1` before.
    Notify(PathBuf),
    /// It answers this probe: a greeting, an HTTP answer, or a unix socket that accepts.
    Answers(Probe),
}

/// Guards a reload against a client that overtakes it: a process that the main process has end may find a client first
/// and serve it, and no other client is greeted meanwhile.
#[derive(Clone)]
pub struct ReloadGuard {
    /// The processes, among those that the main process has started, that wait for a client now: a reload ends them.
    pub waiting: Rc<dyn Fn(Pid) -> Vec<Pid>>,
    /// Those that a reload replaces: a new client meets the new configuration once they are gone.
    pub replaced: Rc<dyn Fn(Pid) -> Vec<Pid>>,
    /// Where others must be greeted after a reload.
    pub probes: Vec<Probe>,
}

impl fmt::Debug for ReloadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReloadGuard({:?})", self.probes)
    }
}

/// How a service finishes what it is busy with.
#[derive(Debug, Clone)]
pub struct Drain {
    /// What makes it turn new clients away, once it has read its configuration again.
    pub closing: Vec<File>,
    /// It is busy while a connection to one of these TCP ports is open …
    pub ports: Vec<u16>,
    /// … and while there is work in one of these directories.
    pub queues: Vec<Queue>,
    /// The process that hands out work …
    pub dispatcher: &'static str,
    /// … and the unix sockets, by the names that they were bound by, at which it does: a connection for each piece.
    pub handed_out: Vec<String>,
}

/// A directory of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Where it is.
    pub path: PathBuf,
    /// A file in it is work when it has all of these permission bits, which one that is still being written has not, and
    /// when its time is not in the future.
    pub finished: u32,
}

/// A service's part of the time for a stop, in hundredths of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StopShare {
    /// For finishing the work in hand.
    pub drain: u32,
    /// For ending its processes; then they are killed.
    pub end: u32,
}
