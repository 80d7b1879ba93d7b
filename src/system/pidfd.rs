//! What nix lacks: pidfds, and a wait that does not lose processes ended by real-time signals.
//!
//! A pidfd (pidfd_open(2)) keeps meaning the process that it was opened for: a signal sent through it never reaches
//! another process that got the same number. nix has no pidfds, and its wait knows no real-time signals, so this file
//! uses rustix, and no other does. All others name signals by nix's `Signal`.

#![allow(clippy::disallowed_methods, reason = "this is the one place that calls rustix")]

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{self, PidfdFlags, WaitOptions, WaitStatus};
use tokio::io::unix::AsyncFd;

/// A process, held so that its number cannot come to mean another.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Holds the process that has this number now. An error where none has.
    pub fn open(pid: Pid) -> io::Result<PidFd> {
        let pid = process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::NotFound)?;
        Ok(PidFd(process::pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Signals it. An error where it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = process::Signal::from_named_raw(signal as i32).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(process::pidfd_send_signal(&self.0, signal)?)
    }

    /// Another descriptor of the same process.
    pub fn try_clone(&self) -> io::Result<PidFd> {
        Ok(PidFd(self.0.try_clone()?))
    }

    /// A future that is ready when the process has ended: its pidfd is readable from then on.
    pub fn readable(self) -> io::Result<impl Future<Output = io::Result<()>> + 'static> {
        // SAFETY: an OwnedFd is open, and the same descriptor, as long as the AsyncFd that owns it.
        let watched = unsafe { AsyncFd::register(self.0) }?;
        Ok(async move { watched.readable().await.map(drop) })
    }
}

/// The next child that has ended, and its status; `None` when there is none at the moment.
pub(super) fn wait() -> Option<(Pid, WaitStatus)> {
    loop {
        match process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => return Some((Pid::from_raw(pid.as_raw_pid()), status)),
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_process_is_an_error() {
        assert!(PidFd::open(Pid::from_raw(0)).is_err());
        assert!(PidFd::open(Pid::from_raw(i32::MAX)).is_err());
        let me = PidFd::open(Pid::this()).unwrap();
        assert!(me.try_clone().unwrap().signal(Signal::SIGCONT).is_ok());
    }
}
