//! Whether a daemon's processes run. A process that is stopped (SIGSTOP) keeps its sockets, and the kernel accepts for it:
//! its clients wait for ever. Only /proc says so of processes that have no socket of their own to be asked at.
//!
//! A moment is no trouble: PID 1 itself holds processes while another daemon reloads. It looks at the main process and its
//! children; a process that hangs by its own fault is not seen here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::system::proc::{self, Stat};

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Succeeds as soon as no process is seen that has been stopped since the first look; fails when one is at the end of
/// `patience`. A daemon that is not there is the matter of other probes.
pub(super) fn run_on(pid_file: &Path, process: &str, patience: Duration) -> io::Result<()> {
    let Some(main) = proc::from_pid_file(pid_file, process).map(Pid::as_raw) else {
        return Ok(());
    };
    let begun = Instant::now();
    let mut stopped = stopped_among(&proc::all(), main);
    while !stopped.is_empty() {
        if begun.elapsed() >= patience {
            return Err(io::Error::other(in_words(stopped.into_values())));
        }
        std::thread::sleep(POLL);
        let now = stopped_among(&proc::all(), main);
        stopped.retain(|pid, _| now.contains_key(pid));
    }
    Ok(())
}

/// The names of those that are stopped, by their ids.
fn stopped_among(processes: &BTreeMap<i32, Stat>, main: i32) -> BTreeMap<i32, String> {
    processes
        .iter()
        .filter(|(pid, stat)| (**pid == main || stat.parent == main) && stat.is_stopped())
        .map(|(pid, stat)| (*pid, stat.name.clone()))
        .collect()
}

fn in_words(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let (names, verb) = (names.join(", "), if names.len() == 1 { "is" } else { "are" });
    format!("{names} {verb} stopped (SIGSTOP): send SIGCONT, or restart the container")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stopped_ones_are_named() {
        let stat = |text: &str| Stat::parse(text).unwrap();
        let processes = BTreeMap::from([
            (15, stat("15 (master) S 1 15 15 0")),
            (16, stat("16 (qmgr) T 15 15 15 0")),
            (17, stat("17 (cleanup) T 15 15 15 0")),
            (18, stat("18 (cleanup) T 15 15 15 0")),
            (19, stat("19 (pickup) S 15 15 15 0")),
            (30, stat("30 (vi) T 29 30 30 0")),
        ]);
        let stopped = stopped_among(&processes, 15);
        assert_eq!(stopped.keys().copied().collect::<Vec<_>>(), [16, 17, 18]);
        assert_eq!(
            in_words(stopped.into_values()),
            "cleanup, qmgr are stopped (SIGSTOP): send SIGCONT, or restart the container"
        );
    }

    #[test]
    fn a_daemon_that_is_not_there_is_no_matter_of_this_probe() {
        assert!(run_on(Path::new("/nonexistent/pid"), "master", Duration::ZERO).is_ok());
    }
}
