//! What this process uses, of memory and of the processors.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// Memory in bytes, shared pages of the program's file included (proc_pid_statm(5)); 0 where that cannot be read.
pub fn resident_memory() -> u64 {
    let pages = || {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(0);
    pages().unwrap_or(0) * u64::try_from(size).unwrap_or(0)
}

/// Processor time in seconds, of all threads (getrusage(2)).
pub fn processor_time() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    let times = [usage.user_time(), usage.system_time()];
    times
        .iter()
        .map(|time| {
            let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
            u32::try_from(microseconds / 1_000).map_or(0.0, f64::from) / 1_000.0
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something() {
        assert!(resident_memory() > 1 << 20);
        let mut sum = 0_u64;
        while processor_time() == 0.0 {
            sum = sum.wrapping_add(1);
        }
    }
}
