//! Which processes belong to a daemon, read from /proc.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What proc_pid_stat(5) says of a process, as far as it is needed here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    group: i32,
    session: i32,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state ppid pgrp session …`; the name may hold anything, so the last `)` ends it.
    fn parse(line: &str) -> Option<Stat> {
        let (before, after) = line.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split(' ');
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse::<i32>().ok();
        let _parent = number()?;
        Some(Stat {
            name: name.to_owned(),
            state,
            group: number()?,
            session: number()?,
        })
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The process that a pid file names, if it is alive and has that name.
pub fn from_pid_file(path: &Path, name: &str) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let stat = Stat::read(pid)?;
    (stat.is_alive() && stat.name == name).then(|| Pid::from_raw(pid))
}

/// The live processes that descend from a daemon's main process: they share its session or its process group, also
/// once it is gone.
pub fn of(main: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| belongs(*pid, main.as_raw()))
        .map(Pid::from_raw)
        .collect()
}

fn belongs(pid: i32, main: i32) -> bool {
    pid != main && Stat::read(pid).is_some_and(|stat| stat.is_alive() && (stat.group == main || stat.session == main))
}

/// Signals each of them. The process is held by a pidfd and looked at again, so that a number which meanwhile went to
/// another process is not signalled.
pub fn signal(main: Pid, signal: Signal) {
    for member in of(main) {
        let Some(pid) = rustix::process::Pid::from_raw(member.as_raw()) else {
            continue;
        };
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if belongs(member.as_raw(), main.as_raw()) {
            let _ = pidfd_send_signal(&held, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_odd_names() {
        let stat = Stat::parse("7 (a) b (c) S 1 5 6 0 -1 4194560").unwrap();
        assert_eq!(
            stat,
            Stat {
                name: "a) b (c".into(),
                state: 'S',
                group: 5,
                session: 6
            }
        );
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn a_pid_file_with_another_process_names_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{:>32}\n", std::process::id())).unwrap();
        let me = Stat::read(std::process::id().cast_signed()).unwrap();
        assert_eq!(
            from_pid_file(file.path(), &me.name).map(Pid::as_raw),
            Some(std::process::id().cast_signed())
        );
        assert_eq!(from_pid_file(file.path(), "master"), None);
        assert_eq!(from_pid_file(Path::new("/nonexistent"), "master"), None);
    }
}
