//! The processes that belong to a daemon besides its main process: found, signalled and ended.
//!
//! They are those of the main process's session or process group, also once it is gone itself. One that has left both
//! is not found.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use super::POLL;
use crate::system::pidfd::PidFd;
use crate::system::proc::{self, Stat};

/// How long what was asked to end may take.
const GRACE: Duration = Duration::from_millis(500);
/// A process that ends may have handed its last words to another, which ends with the next: time to pass them on.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The live processes that descend from a daemon's main process: they share its session or its process group, also
/// once it is gone.
fn of(main: Pid) -> Vec<(Pid, Stat)> {
    let belong = |(pid, stat): &(i32, Stat)| belongs(*pid, stat, main.as_raw()) && proc::is_in_this_container(*pid);
    proc::all()
        .into_iter()
        .filter(belong)
        .map(|(pid, stat)| (Pid::from_raw(pid), stat))
        .collect()
}

fn belongs(pid: i32, stat: &Stat, main: i32) -> bool {
    pid != main && stat.is_alive() && (stat.group == main || stat.session == main)
}

/// Those of this name: processes that a daemon's main process has started.
pub fn named(main: Pid, name: &str) -> Vec<Pid> {
    let named = of(main).into_iter().filter(|(_, stat)| stat.name == name);
    named.map(|(pid, _)| pid).collect()
}

/// Signals those that `chosen` accepts by name; returns how many there are. Each is held by a pidfd and looked at
/// again, so that a number which meanwhile went to another process is not signalled.
pub(super) fn signal(main: Pid, signal: Signal, chosen: impl Fn(&str) -> bool) -> usize {
    let members: Vec<_> = of(main).into_iter().filter(|(_, stat)| chosen(&stat.name)).collect();
    for (member, _) in &members {
        let Ok(pidfd) = PidFd::open(*member) else { continue };
        if Stat::read(member.as_raw()).is_some_and(|stat| belongs(member.as_raw(), &stat, main.as_raw())) {
            let _ = pidfd.signal(signal);
        }
    }
    members.len()
}

/// Kills all of them.
pub fn kill(main: Pid) {
    signal(main, Signal::SIGKILL, |_| true);
}

/// Ends all of them, in the service's stop order: asks, waits a moment, kills. An old process that keeps a listener
/// open would take half of the connections meant for the new one.
pub async fn end(main: Pid, stop_order: &[Vec<&'static str>]) {
    let (last, first) = stop_order
        .split_last()
        .map_or((None, stop_order), |(last, first)| (Some(last), first));
    for place in first {
        if end_those(main, |name| place.contains(&name)).await {
            sleep(LAST_WORDS).await;
        }
    }
    end_those(main, |name| !last.is_some_and(|last| last.contains(&name))).await;
    end_those(main, |_| true).await;
}

/// Returns whether there were any.
async fn end_those(main: Pid, chosen: impl Fn(&str) -> bool) -> bool {
    if signal(main, Signal::SIGTERM, &chosen) == 0 {
        return false;
    }
    let gone = || async {
        while of(main).iter().any(|(_, stat)| chosen(&stat.name)) {
            sleep(POLL).await;
        }
    };
    if timeout(GRACE, gone()).await.is_err() {
        signal(main, Signal::SIGKILL, &chosen);
        let _ = timeout(GRACE, gone()).await;
    }
    true
}
