//! What /proc says of processes and connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// What proc_pid_stat(5) says of a process, as far as it is needed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The name of the program (proc_pid_comm(5)), at most 15 bytes of it.
    pub name: String,
    /// Its parent's id.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    state: char,
}

impl Stat {
    /// Of a process that is there.
    pub fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state ppid pgrp session …`; the name may hold anything, so the last `)` ends it.
    pub(crate) fn parse(line: &str) -> Option<Stat> {
        let (before, after) = line.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split(' ');
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse::<i32>().ok();
        Some(Stat {
            name: name.to_owned(),
            parent: number()?,
            group: number()?,
            session: number()?,
            state,
        })
    }

    /// It was stopped (SIGSTOP), or a debugger holds it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// It has not ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The process that a pid file names, if it is alive, in this container, and has that name.
pub fn from_pid_file(path: &Path, name: &str) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let stat = Stat::read(pid)?;
    (stat.is_alive() && stat.name == name && is_in_this_container(pid)).then(|| Pid::from_raw(pid))
}

/// All processes that can be seen: in a PID namespace that is shared, those of other containers too.
pub fn all() -> BTreeMap<i32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect()
}

/// Whether a process is in this container: its number may be one of ours, or a stranger's in a shared PID namespace.
pub fn is_in_this_container(pid: i32) -> bool {
    let groups = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).ok();
    groups(&pid.to_string()).is_some_and(|theirs| Some(theirs) == groups("self"))
}

/// The live processes that descend from this one. As a child subreaper (prctl(2)) it is the ancestor of all that were
/// started here, orphans included.
pub fn descendants() -> Vec<Pid> {
    descendants_among(&all(), Pid::this().as_raw())
}

fn descendants_among(processes: &BTreeMap<i32, Stat>, root: i32) -> Vec<Pid> {
    let descends = |pid: i32| {
        // No chain is longer than there are processes: the list is no snapshot, and might hold a ring.
        let ancestors = std::iter::successors(Some(pid), |pid| processes.get(pid).map(|stat| stat.parent));
        ancestors.skip(1).take(processes.len()).any(|ancestor| ancestor == root)
    };
    processes
        .iter()
        .filter(|(pid, stat)| stat.is_alive() && descends(**pid))
        .map(|(pid, _)| Pid::from_raw(*pid))
        .collect()
}

/// Where file systems, directories and files are mounted, as with `docker run -v`.
pub fn mount_points() -> BTreeSet<PathBuf> {
    mounts(|_| true)
}

/// Where something is mounted that was removed from its place since, or replaced by a rename: its root ends so.
pub fn replaced_mounts() -> BTreeSet<PathBuf> {
    mounts(|root| root.ends_with("//deleted"))
}

/// Where volumes are mounted that have no name: another container does not get them.
pub fn anonymous_volumes() -> BTreeSet<PathBuf> {
    mounts(is_anonymous_volume)
}

/// The mount points of those of which `chosen` accepts what is mounted (proc_pid_mountinfo(5): the fourth field is the
/// directory within its file system, the fifth the mount point).
fn mounts(chosen: impl Fn(&str) -> bool) -> BTreeSet<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            chosen(root).then(|| PathBuf::from(point))
        })
        .collect()
}

/// Docker and Podman keep a volume in `…/volumes/<name>/_data`, and give one without a name 64 hexadecimal digits.
fn is_anonymous_volume(root: &str) -> bool {
    let name = root
        .strip_suffix("/_data")
        .and_then(|rest| rest.rsplit_once("/volumes/"))
        .map(|(_, name)| name);
    name.is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// How many connections are open to one of these TCP ports here, accepted or not.
pub fn connections(ports: &[u16]) -> usize {
    let count = |table: &str| {
        let table = fs::read_to_string(table).unwrap_or_default();
        open(&table).filter(|port| ports.contains(port)).count()
    };
    count("/proc/net/tcp") + count("/proc/net/tcp6")
}

/// The local ports of all connections in a table of proc_net(5), `sl local_address rem_address st …`, that are ESTABLISHED
/// or CLOSE_WAIT: a client that has said its last word may still wait for the answer.
fn open(table: &str) -> impl Iterator<Item = u16> {
    table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        ["01", "08"]
            .contains(&fields.nth(1)?)
            .then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// How many connections to a local TCP port a process has accepted, and not closed yet.
pub fn accepted_connections(port: u16) -> usize {
    let count = |table: &str| accepted(&fs::read_to_string(table).unwrap_or_default(), port);
    count("/proc/net/tcp") + count("/proc/net/tcp6")
}

/// One that waits to be accepted has no inode yet, the tenth field of proc_net(5). The table is no snapshot: a line may come
/// twice.
fn accepted(table: &str, port: u16) -> usize {
    let inode = |line: &'_ str| line.split_whitespace().nth(9).map(str::to_owned);
    let of_port = table.lines().filter(|line| open(line).any(|local| local == port));
    let inodes: BTreeSet<String> = of_port.filter_map(inode).filter(|inode| inode != "0").collect();
    inodes.len()
}

/// The TCP ports at which more than one socket listens with the same address: connections go to either.
pub fn shared_ports() -> BTreeSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| shared(table)).collect()
}

/// `sl local_address rem_address st …`; 0A is LISTEN (proc_net_tcp(5)).
fn shared(table: &str) -> BTreeSet<u16> {
    let listening = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"0A")).then_some((*fields.get(1)?, *fields.get(9)?))
    });
    let mut sockets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (address, inode) in listening {
        sockets.entry(address).or_default().insert(inode);
    }
    let shared = sockets.into_iter().filter(|(_, inodes)| inodes.len() > 1);
    let port = |(address, _): (&str, _)| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    shared.filter_map(port).collect()
}

/// How many connections are open to unix sockets that were bound by one of these names.
pub fn unix_connections(names: &[String]) -> usize {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    connected(&table)
        .filter(|path| names.iter().any(|name| name == path))
        .count()
}

/// The names of all sockets that are connected, as they were accepted: `Num RefCount Protocol Flags Type St Inode Path`.
fn connected(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(5);
        (fields.next()? == "03").then_some(fields.nth(1)?)
    })
}

/// The processes that hold a lock on a file, or wait for one (proc_locks(5)).
pub fn lockers() -> BTreeSet<i32> {
    lockers_in(&fs::read_to_string("/proc/locks").unwrap_or_default())
}

/// `1: POSIX ADVISORY WRITE pid …`, with `->` behind the number for one that waits.
fn lockers_in(table: &str) -> BTreeSet<i32> {
    let pid = |line: &str| {
        let mut fields = line.split_whitespace().filter(|field| *field != "->");
        fields.nth(4)?.parse().ok()
    };
    table.lines().filter_map(pid).collect()
}

/// How many processes of this container the kernel has killed because memory ran out (cgroup v2, then v1).
pub fn out_of_memory_kills() -> u64 {
    [
        "/sys/fs/cgroup/memory.events",
        "/sys/fs/cgroup/memory/memory.oom_control",
    ]
    .iter()
    .find_map(|path| oom_kills(&fs::read_to_string(path).ok()?))
    .unwrap_or(0)
}

fn oom_kills(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_listen_in_one_place_are_seen() {
        let line = |address: &str, state: &str, inode: u32| {
            format!("   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n")
        };
        let table = [
            line("00000000:0019", "0A", 7),
            line("00000000:0019", "0A", 8),
            line("0100007F:008F", "0A", 9),
            line("0200007F:008F", "0A", 10),
            line("00000000:0019", "01", 11),
        ];
        assert_eq!(shared(&table.concat()), BTreeSet::from([25]));
    }

    #[test]
    fn stat_lines_with_odd_names() {
        let stat = Stat::parse("7 (a) b (c) S 1 5 6 0 -1 4194560").unwrap();
        assert_eq!(
            (&*stat.name, stat.parent, stat.group, stat.session),
            ("a) b (c", 1, 5, 6)
        );
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn a_pid_file_with_another_process_names_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{:>32}\n", std::process::id())).unwrap();
        let me = Stat::read(Pid::this().as_raw()).unwrap();
        assert_eq!(from_pid_file(file.path(), &me.name), Some(Pid::this()));
        assert_eq!(from_pid_file(file.path(), "master"), None);
        assert_eq!(from_pid_file(Path::new("/nonexistent"), "master"), None);
    }

    #[test]
    fn who_holds_a_lock_or_waits_for_one() {
        let table = "1: FLOCK  ADVISORY  WRITE 708 fd:00:131 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 709 fd:00:131 0 EOF\n\
            2: POSIX  ADVISORY  READ  12 fd:00:99 128 128\n3: OFDLCK ADVISORY WRITE -1 00:05:7 0 EOF\n";
        assert_eq!(lockers_in(table), BTreeSet::from([-1, 12, 708, 709]));
    }

    #[test]
    fn only_connected_sockets_count() {
        let table = "Num RefCount Protocol Flags Type St Inode Path\n\
            0000000049305700: 00000002 00000000 00010000 0001 01 3790370 private/virtual\n\
            00000000d91fc4a1: 00000003 00000000 00000000 0001 03 3791291 private/virtual\n\
            00000000d91fc4a2: 00000003 00000000 00000000 0001 03 3791292\n\
            00000000d91fc4a3: 00000003 00000000 00000000 0001 03 3791293 private/rewrite\n";
        assert_eq!(
            connected(table).collect::<Vec<_>>(),
            ["private/virtual", "private/rewrite"]
        );
    }

    #[test]
    fn volumes_without_a_name() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(is_anonymous_volume(&format!("/var/lib/docker/volumes/{digits}/_data")));
        assert!(!is_anonymous_volume("/var/lib/docker/volumes/postfix_data/_data"));
        assert!(!is_anonymous_volume("/srv/mail"));
    }

    #[test]
    fn descendants_and_nobody_else() {
        let stat = |parent: i32, state: char| Stat::parse(&format!("1 (x) {state} {parent} 1 1 0")).unwrap();
        let processes = BTreeMap::from([
            (1, stat(0, 'S')),
            (5, stat(1, 'S')),
            (6, stat(5, 'S')),
            (7, stat(6, 'S')),
            (8, stat(5, 'Z')),
            (9, stat(1, 'S')),
            (20, stat(21, 'S')),
            (21, stat(20, 'S')),
        ]);
        let pids = |root| {
            descendants_among(&processes, root)
                .into_iter()
                .map(Pid::as_raw)
                .collect::<Vec<_>>()
        };
        assert_eq!(pids(5), [6, 7]);
        assert!(pids(9).is_empty());
    }

    #[test]
    fn only_open_connections_count() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
            0: 00000000:0019 00000000:0000 0A 00000000\n   \
            1: 0100007F:0019 0100007F:8000 01 00000000\n   \
            2: 0100007F:8000 0100007F:0019 01 00000000\n   \
            3: 0100007F:024B 0100007F:8001 06 00000000\n   \
            4: 0100007F:01D1 0100007F:8002 08 00000000\n";
        assert_eq!(open(table).collect::<Vec<_>>(), [25, 32768, 465]);
    }

    #[test]
    fn connections_without_an_inode_wait() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n   \
            0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n   \
            1: 0100007F:0019 0100007F:8000 01 00000000:00000000 00:00000000 00000000 0 0 78 1\n   \
            1: 0100007F:0019 0100007F:8000 01 00000000:00000000 00:00000000 00000000 0 0 78 1\n   \
            2: 0100007F:0019 0100007F:8001 01 00000000:00000000 00:00000000 00000000 0 0 0 1\n   \
            3: 0100007F:024B 0100007F:8002 01 00000000:00000000 00:00000000 00000000 0 0 79 1\n";
        assert_eq!(accepted(table, 25), 1);
    }

    #[test]
    fn both_cgroup_versions() {
        assert_eq!(oom_kills("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(oom_kills("oom_kill_disable 0\n"), None);
    }
}
