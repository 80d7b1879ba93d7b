//! Reloads that a client overtakes.
//!
//! master(8) has its idle processes end by closing a pipe. One that finds a client waiting before it looks at the pipe serves
//! that client, while master goes on taking it for idle: no other process is started, and nobody new is greeted until that
//! client leaves.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::unistd::Pid;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::sleep;

use super::service::Sessions;
use super::{hold, members, start};
use crate::system::proc::{self, Stat};

/// Time to end for those that have no client.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks whether others are greeted.
const PAUSE: Duration = Duration::from_secs(2);

/// A process that a reload is to end, held so that its number cannot come to mean another.
pub(super) struct Idle(Pid, OwnedFd);

impl Idle {
    fn is_there(&self) -> bool {
        Stat::read(self.0.as_raw()).is_some_and(|stat| stat.is_alive())
    }
}

/// Those that wait for a client: each holds the lock for the next one, or waits for it.
pub(super) fn idle(main: Pid, sessions: &Sessions) -> Vec<Idle> {
    let lockers = proc::lockers();
    members::named(main, sessions.process)
        .into_iter()
        .filter(|pid| lockers.contains(&pid.as_raw()))
        .filter_map(|pid| Some(Idle(pid, hold(pid).ok()?)))
        .collect()
}

/// After a reload: as long as one of them serves a client, others are looked after. When they are not greeted, that client
/// is cut, and `tell` says so.
pub(super) async fn relieve(idle: Vec<Idle>, sessions: &Sessions, tell: impl Fn(String)) {
    sleep(GRACE).await;
    while idle.iter().any(Idle::is_there) {
        for port in &sessions.ports {
            if start::greets(port, sessions.source).await {
                continue;
            }
            tell(format!(
                "port {} greeted nobody after the reload: a client that came just then is cut",
                port.address.port()
            ));
            for Idle(_, held) in &idle {
                let _ = pidfd_send_signal(held, Signal::TERM);
            }
        }
        sleep(PAUSE).await;
    }
}
