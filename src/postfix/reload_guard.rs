//! What a reload of Postfix ends, and may fail to end: the smtpd(8) processes that wait for a client.

use nix::unistd::Pid;

use crate::supervise::members;
use crate::system::proc;

/// The program that says where mail goes.
const TRIVIAL_REWRITE: &str = "trivial-rewrite";

/// The program that greets, as proc_pid_comm(5) names it.
const SMTPD: &str = "smtpd";

/// The smtpd(8) processes of a master(8) that wait for a client. Each holds the lock under which it accepts the next
/// one, or waits for that lock (master(8) gives each service such a file in `pid/`); one that has a client holds no
/// lock.
pub(super) fn waiting(master: Pid) -> Vec<Pid> {
    let lockers = proc::lockers();
    let mut all = members::named(master, SMTPD);
    all.retain(|pid| lockers.contains(&pid.as_raw()));
    all
}

/// Besides those, the ones that know of domains and transports.
pub(super) fn replaced(master: Pid) -> Vec<Pid> {
    [waiting(master), members::named(master, TRIVIAL_REWRITE)].concat()
}
