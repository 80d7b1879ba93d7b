//! Ends whatever is left when the daemons have stopped: asks, waits a moment, kills.
//!
//! As PID 1, everything else in the PID namespace is ours. Otherwise the namespace holds other people's processes, and ours
//! are those that descend from us.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use crate::system::proc;
use crate::system::processes::{Processes, is_first};

/// How long processes that are not supervised may take to end.
pub const SWEEP: Duration = Duration::from_millis(300);
/// Between two looks whether they have ended.
const POLL: Duration = Duration::from_millis(5);

/// Ends them.
pub async fn sweep(processes: &Processes) {
    if signal_all(Some(Signal::SIGTERM)) == 0 {
        return;
    }
    let gone = async {
        while signal_all(None) > 0 {
            processes.reap();
            sleep(POLL).await;
        }
    };
    if timeout(SWEEP, gone).await.is_err() {
        signal_all(Some(Signal::SIGKILL));
    }
}

/// Signals all that is left; returns how many there are, of which one tells us no more than that there are some.
fn signal_all(signal: Option<Signal>) -> usize {
    if is_first() {
        return usize::from(kill(Pid::from_raw(-1), signal).is_ok());
    }
    let descendants = proc::descendants();
    for pid in &descendants {
        let _ = kill(*pid, signal);
    }
    descendants.len()
}
