//! What this process may do, as the kernel says it (proc_pid_status(5), capabilities(7)), and what Mailroom and its daemons
//! need. Asked before anything is touched: the operating system's own "Operation not permitted" names neither the operation
//! nor the capability.

use std::fs;

/// A capability, its number (linux/capability.h), and what needs it.
struct Needed(&'static str, u32, &'static str);

/// Without one of these, mail does not flow.
const NEEDED: [Needed; 6] = [
    Needed("CHOWN", 0, "the queue and the mailboxes get their owners"),
    Needed(
        "DAC_OVERRIDE",
        1,
        "root writes where the daemons' accounts own the directories",
    ),
    Needed("FOWNER", 3, "modes of what the daemons' accounts own are set"),
    Needed("SETGID", 6, "the daemons' processes run with groups of their own"),
    Needed("SETUID", 7, "the daemons' processes run as accounts of their own"),
    Needed(
        "SYS_CHROOT",
        18,
        "processes for logins shut themselves into an empty directory",
    ),
];

/// Needed where ports below 1024 are privileged.
const NET_BIND_SERVICE: Needed = Needed("NET_BIND_SERVICE", 10, "the daemons listen on ports below 1024");
/// The lowest of the daemons' ports.
const LOWEST_PORT: u32 = 25;
/// Signals to processes of other accounts.
const KILL: u32 = 5;

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// The effective user.
    user: u32,
    /// The effective capabilities, a bit for each.
    capabilities: u64,
    /// No program may gain rights, by a setgid bit for example (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// The first port that needs no capability.
    first_free_port: u32,
}

/// All rights: for want of better knowledge.
impl Default for Rights {
    fn default() -> Rights {
        Rights {
            user: 0,
            capabilities: u64::MAX,
            no_new_privileges: false,
            first_free_port: 0,
        }
    }
}

impl Rights {
    /// Those of this process.
    pub fn gather() -> Rights {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Rights::parse(
            &read("/proc/self/status"),
            &read("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
        )
    }

    fn parse(status: &str, first_free_port: &str) -> Rights {
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let all = Rights::default();
        let user = field("Uid").and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok());
        let capabilities = field("CapEff").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Rights {
            user: user.unwrap_or(all.user),
            capabilities: capabilities.unwrap_or(all.capabilities),
            no_new_privileges: field("NoNewPrivs").is_some_and(|word| word.trim() == "1"),
            first_free_port: first_free_port.trim().parse().unwrap_or(all.first_free_port),
        }
    }

    /// Why mail would not flow, if it would not.
    pub fn refusal(&self) -> Option<String> {
        if self.user != 0 {
            return Some(format!(
                "runs as uid {}, and must begin as root: its daemons give up root's rights themselves, each as far as it \
                 can; leave out --user (Kubernetes: runAsUser and runAsNonRoot)",
                self.user
            ));
        }
        let of_ports = (self.first_free_port > LOWEST_PORT).then_some(&NET_BIND_SERVICE);
        let missing: Vec<&Needed> = NEEDED
            .iter()
            .chain(of_ports)
            .filter(|Needed(_, number, _)| !self.has(*number))
            .collect();
        if missing.is_empty() {
            return None;
        }
        let names: Vec<String> = missing
            .iter()
            .map(|Needed(name, _, why)| format!("{name} ({why})"))
            .collect();
        let options: Vec<String> = missing
            .iter()
            .map(|Needed(name, ..)| format!("--cap-add {name}"))
            .collect();
        Some(format!(
            "the container lacks {} {}: give docker run {} (Kubernetes: securityContext.capabilities.add)",
            if missing.len() == 1 {
                "the capability"
            } else {
                "the capabilities"
            },
            names.join(", "),
            options.join(" ")
        ))
    }

    /// What works less well for want of a right.
    pub fn warning(&self) -> Option<String> {
        let warning = "Warning: the container lacks the capability KILL: processes of the daemons' own accounts cannot be \
                       signalled, and a stop takes longer; give docker run --cap-add KILL";
        (!self.has(KILL)).then(|| warning.to_owned())
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(uid: u32, capabilities: u64, port: &str) -> Rights {
        let status = format!("Name:\tmailroom\nUid:\t0\t{uid}\t0\t0\nCapEff:\t{capabilities:016x}\nNoNewPrivs:\t1\n");
        Rights::parse(&status, port)
    }

    /// What docker gives when it is told nothing.
    const DOCKER: u64 = 0xa804_25fb;

    #[test]
    fn dockers_own_set_is_enough() {
        assert_eq!(rights(0, DOCKER, "1024\n").refusal(), None);
        assert_eq!(rights(0, DOCKER, "0").warning(), None);
        assert!(rights(0, DOCKER, "0").no_new_privileges);
        let unknown = Rights::parse("", "");
        assert_eq!(unknown, Rights::default());
        assert_eq!(unknown.refusal(), None);
    }

    #[test]
    fn each_missing_one_is_named_with_what_needs_it() {
        let without = |number: u32| rights(0, DOCKER & !(1 << number), "0");
        assert_eq!(
            without(18).refusal().unwrap(),
            "the container lacks the capability SYS_CHROOT (processes for logins shut themselves into an empty directory): \
             give docker run --cap-add SYS_CHROOT (Kubernetes: securityContext.capabilities.add)"
        );
        for Needed(name, number, why) in &NEEDED {
            let refusal = without(*number).refusal().unwrap();
            assert!(refusal.contains(&format!("{name} ({why})")), "{refusal}");
        }
        let none = rights(0, 0, "1024").refusal().unwrap();
        assert!(
            none.contains("CHOWN") && none.contains("--cap-add NET_BIND_SERVICE"),
            "{none}"
        );
    }

    #[test]
    fn ports_need_a_capability_only_where_they_are_privileged() {
        let without = |port| rights(0, DOCKER & !(1 << 10), port).refusal();
        assert!(without("1024").unwrap().contains("NET_BIND_SERVICE"));
        assert_eq!(without("25"), None);
    }

    #[test]
    fn kill_is_missed_but_not_needed() {
        let rights = rights(0, DOCKER & !(1 << KILL), "0");
        assert_eq!(rights.refusal(), None);
        assert!(rights.warning().unwrap().contains("--cap-add KILL"));
    }

    #[test]
    fn another_user_is_refused() {
        let refusal = rights(1001, 0, "0").refusal().unwrap();
        assert!(refusal.starts_with("runs as uid 1001, "), "{refusal}");
    }
}
