//! What the supervisor knows of each service: its processes, and the tasks about it. And the messages that those tasks
//! send.

use std::rc::{Rc, Weak};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::UnderWay;
use super::hold::Hold;
use super::policy::{Ended, Id};
use super::reload::Reload;
use crate::system::pidfd::PidFd;
use crate::system::proc;
use crate::system::processes::Exit;

/// What is known of a service's processes, and what is done about them.
#[derive(Default)]
pub(super) struct Slot {
    /// Counts starts, so that late messages can be recognised.
    pub(super) instance: u32,
    /// The main process; kept after its end, for its session may have members left.
    pub(super) main: Option<Pid>,
    /// Holds the main process, so that its number cannot come to mean another.
    pub(super) pidfd: Option<PidFd>,
    /// How its main process ended.
    pub(super) last_exit: Option<Exit>,
    /// How often the kernel had killed for want of memory when it started.
    pub(super) out_of_memory_kills: Option<u64>,

    pub(super) preparation: Option<JoinHandle<()>>,
    pub(super) adoption: Option<JoinHandle<()>>,
    pub(super) readiness: Option<JoinHandle<()>>,
    pub(super) drain: Option<JoinHandle<()>>,
    pub(super) termination: Option<JoinHandle<()>>,

    /// Its reload under way.
    pub(super) reload: Reload,
    /// Held until that is in force.
    pub(super) under_way: Vec<UnderWay>,
    /// The services that are held for that.
    pub(super) holds: Vec<Rc<Hold>>,
    /// It is held itself, as long as another's reload has it so.
    pub(super) hold: Weak<Hold>,
    /// Ends the look for processes that a reload will end, while a user begins one.
    pub(super) guarding: Option<oneshot::Sender<()>>,
}

impl Slot {
    /// Signals the main process.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd.signal(signal);
        }
    }

    /// Holds the service, if its main process is there.
    pub(super) fn held(&mut self) -> Option<Rc<Hold>> {
        let (main, pidfd) = self.process()?;
        Some(Hold::new(main, pidfd, &mut self.hold))
    }

    /// The main process, if it is there: its number, and another descriptor of it.
    pub(super) fn process(&self) -> Option<(Pid, PidFd)> {
        Some((self.main?, self.pidfd.as_ref()?.try_clone().ok()?))
    }

    /// Ends what is done about a main process that is gone now.
    pub(super) fn main_is_gone(&mut self, exit: Exit) {
        self.pidfd = None;
        self.last_exit = Some(exit);
        self.guarding = None;
        for task in [&mut self.readiness, &mut self.drain, &mut self.termination] {
            stop_task(task);
        }
    }

    /// How its main process ended, in words.
    pub(super) fn how_it_ended(&self) -> String {
        let for_memory = || {
            let before = self.out_of_memory_kills;
            before.is_some_and(|before| before < proc::out_of_memory_kills())
        };
        match self.last_exit {
            None => "could not be started".to_owned(),
            Some(Exit::Signal(signal)) if signal == Signal::SIGKILL as i32 && for_memory() => {
                "was killed, possibly because memory ran out".to_owned()
            }
            Some(exit) => exit.to_string(),
        }
    }
}

/// Ends a task, if there is one.
pub(super) fn stop_task(task: &mut Option<JoinHandle<()>>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

/// SIGTERM is how a daemon ends when it is asked to: by an operator here, for our own stops are awaited as stops.
pub(super) fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::Code(0) | Exit::Unknown => Ended::Cleanly,
        Exit::Signal(signal) if signal == Signal::SIGTERM as i32 => Ended::Cleanly,
        Exit::Code(_) | Exit::Signal(_) => Ended::Crashed,
    }
}

/// What has happened to one instance of one service.
pub(super) struct Message {
    pub(super) id: Id,
    pub(super) instance: u32,
    pub(super) what: What,
}

/// What a task reports.
pub(super) enum What {
    Prepared,
    PreparationFailed,
    /// A main process runs that the supervisor did not start.
    Found(Pid),
    Ready,
    /// It reads its configuration again, and will be ready once more.
    Reloading,
    /// A reload may not hold others any longer.
    ReloadLimit,
    Exited(Exit),
    Drained,
    Cleared,
}

/// Sends messages about one instance of one service.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) id: Id,
    pub(super) instance: u32,
    pub(super) events: UnboundedSender<Message>,
}

impl Reporter {
    pub(super) fn send(&self, what: What) {
        let _ = self.events.send(Message {
            id: self.id,
            instance: self.instance,
            what,
        });
    }
}
