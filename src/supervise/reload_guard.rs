//! The reload guard: notices when a client that overtakes a reload keeps all others out.
//!
//! A main process has its waiting processes end by closing a pipe. One that finds a client before it looks at the pipe
//! serves that client, while the main process still takes it for waiting: it starts no other process, and no other
//! client is greeted until that one leaves. So the guard remembers which processes waited when the reload came. As long
//! as one of them is still there, it asks the ports; when one does not greet, it ends those processes, and the client
//! with them.
//!
//! The guard cannot know which of several such processes keeps a port silent: it ends them all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::service::ReloadGuard;
use super::{POLL, readiness};
use crate::probes::Probe;
use crate::system::pidfd::PidFd;
use crate::system::proc::Stat;

/// Longest between the beginning of a user's reload and its SIGHUP.
const LONGEST_BEGINNING: Duration = Duration::from_secs(2);
/// Time to end for the processes that have no client.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks whether others are greeted.
const PAUSE: Duration = Duration::from_secs(2);

/// Processes that were there when a reload came, which is to end them.
#[derive(Default)]
pub(super) struct Processes(BTreeMap<Pid, PidFd>);

/// Looks for waiting processes again and again, until the reload has come.
pub(super) async fn collect(guard: &ReloadGuard, main: Pid, reloaded: oneshot::Receiver<()>) -> Processes {
    let mut waiting = Processes::default();
    let look = async {
        loop {
            waiting.add((guard.waiting)(main));
            sleep(POLL).await;
        }
    };
    tokio::select! {
        _ = timeout(LONGEST_BEGINNING, reloaded) => {}
        () = look => {}
    }
    waiting
}

impl Processes {
    /// Adds these.
    pub(super) fn add(&mut self, pids: Vec<Pid>) {
        for pid in pids {
            if !self.0.contains_key(&pid)
                && let Ok(pidfd) = PidFd::open(pid)
            {
                self.0.insert(pid, pidfd);
            }
        }
    }

    /// Waits until they have ended, [`GRACE`] at most: one may have a client.
    pub(super) async fn have_ended(&self) {
        let ended = async {
            while self.0.keys().any(|pid| is_there(*pid)) {
                sleep(POLL).await;
            }
        };
        let _ = timeout(GRACE, ended).await;
    }

    /// After a reload: as long as one of them serves a client, others must be greeted. Where they are not, that client
    /// is cut.
    pub(super) async fn look_after(self, service: &'static str, probes: &[Probe]) {
        sleep(GRACE).await;
        let mut silent = BTreeSet::new();
        while self.0.keys().any(|pid| is_there(*pid)) {
            for (place, probe) in probes.iter().enumerate() {
                if readiness::answers(probe).await {
                    continue;
                }
                if silent.insert(place) {
                    tracing::warn!(
                        service,
                        "{probe} greeted nobody after the reload: a client that came just then is cut"
                    );
                }
                for pidfd in self.0.values() {
                    let _ = pidfd.signal(Signal::SIGTERM);
                }
            }
            sleep(PAUSE).await;
        }
    }
}

fn is_there(pid: Pid) -> bool {
    Stat::read(pid.as_raw()).is_some_and(|stat| stat.is_alive())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(work)
    }

    #[test]
    fn processes_are_collected_until_the_reload() {
        let looks = Rc::new(Cell::new(0));
        let counted = Rc::clone(&looks);
        let guard = ReloadGuard {
            waiting: Rc::new(move |main| {
                counted.set(counted.get() + 1);
                // A process that waited at first alone, one that waits later, and one that is gone already.
                match counted.get() {
                    1 => vec![main],
                    _ => vec![Pid::parent(), Pid::from_raw(i32::MAX)],
                }
            }),
            replaced: Rc::new(|_| Vec::new()),
            probes: Vec::new(),
        };
        let (reloaded, when) = oneshot::channel();
        let waiting = run(async {
            let reload = async {
                sleep(5 * POLL).await;
                reloaded.send(()).unwrap();
            };
            tokio::join!(collect(&guard, Pid::this(), when), reload).0
        });
        assert!(looks.get() > 1);
        assert_eq!(waiting.0.len(), 2);
        assert!(waiting.0.contains_key(&Pid::this()) && waiting.0.contains_key(&Pid::parent()));
        run(Processes::default().look_after("x", &[]));
    }
}
