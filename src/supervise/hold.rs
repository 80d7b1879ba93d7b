//! Holds a service: all its processes stand still (SIGSTOP) as long as the hold lasts, then run on (SIGCONT).
//!
//! A process that is held loses nothing: its connections stay open, and the kernel keeps new ones in the backlog.
//! Signals that come meanwhile take effect at the end, SIGKILL at once.

use std::rc::{Rc, Weak};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::members;
use crate::system::pidfd::PidFd;

/// A service of which all processes stand still, until this is dropped.
pub(super) struct Hold {
    main: Pid,
    pidfd: PidFd,
}

impl Hold {
    /// Holds a service by its main process. Several may hold it, and `shared` is how they find each other: it runs on when the last
    /// lets go.
    pub(super) fn new(main: Pid, pidfd: PidFd, shared: &mut Weak<Hold>) -> Rc<Hold> {
        if let Some(hold) = shared.upgrade().filter(|hold| hold.main == main) {
            return hold;
        }
        let hold = Rc::new(Hold { main, pidfd });
        // The main process first: it starts no other then.
        hold.signal(Signal::SIGSTOP);
        *shared = Rc::downgrade(&hold);
        hold
    }

    fn signal(&self, signal: Signal) {
        let _ = self.pidfd.signal(signal);
        members::signal(self.main, signal, |_| true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Duration;

    /// Whether a process comes to stand still, or to run, within a second.
    fn comes_to(pid: Pid, still: bool) -> bool {
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.contains("State:\tT") == still
        })
    }

    #[test]
    #[allow(
        clippy::zombie_processes,
        reason = "only Processes waits; the zombie ends with the test"
    )]
    fn a_service_is_held_until_the_last_lets_go() {
        let child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut shared = Weak::new();
        let mut hold = || Hold::new(pid, PidFd::open(pid).unwrap(), &mut shared);
        let (first, second) = (hold(), hold());
        assert!(comes_to(pid, true));
        drop(first);
        assert!(comes_to(pid, true), "the other lasts");
        drop(second);
        assert!(comes_to(pid, false));
        let _ = PidFd::open(pid).unwrap().signal(Signal::SIGKILL);
    }
}
