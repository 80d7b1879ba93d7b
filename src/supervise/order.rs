//! The order of starts: a service comes after those that provide what it needs.
//!
//! All are started at once and wait for the sockets that they need, so this order decides only how they are stopped: in
//! reverse, so that a service finds what it needs until its own end.

use super::service::Service;

/// The services so that each comes after the providers of what it needs; otherwise in the order given. A socket that no
/// service provides counts for nothing, and services that need each other stay in the order given.
pub(super) fn in_start_order(services: Vec<Service>) -> Vec<Service> {
    let mut left = services;
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let next = left.iter().position(|service| !waits(service, &left)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// Whether one of `left`, besides the service itself, provides something that it needs.
fn waits(service: &Service, left: &[Service]) -> bool {
    let mut others = left.iter().filter(|other| other.name != service.name);
    others.any(|other| service.needs_one_of(&other.provides))
}

#[cfg(test)]
mod tests {
    use super::super::service::{Readiness, StopShare};
    use super::*;

    fn service(name: &'static str, needs: &[&str], provides: &[&str]) -> Service {
        let paths = |names: &[&str]| names.iter().map(Into::into).collect();
        Service {
            name,
            command: Vec::new(),
            environment: Vec::new(),
            essential: true,
            own_group: false,
            needs: paths(needs),
            provides: paths(provides),
            stale_files: Vec::new(),
            preparations: Vec::new(),
            ready: Readiness::Notify("/nonexistent".into()),
            pid_file: "/nonexistent".into(),
            process: name,
            reads: Vec::new(),
            reload_guard: None,
            drain: None,
            stop_share: StopShare { drain: 0, end: 0 },
            stop_order: Vec::new(),
        }
    }

    fn ordered(services: &[(&'static str, &[&str], &[&str])]) -> Vec<&'static str> {
        let services = services
            .iter()
            .map(|&(name, needs, provides)| service(name, needs, provides));
        in_start_order(services.collect())
            .iter()
            .map(|service| service.name)
            .collect()
    }

    #[test]
    fn providers_come_first_and_all_else_stays() {
        assert_eq!(
            ordered(&[
                ("postfix", &["auth", "milter"], &[]),
                ("other", &[], &[]),
                ("rspamd", &["redis"], &["milter"]),
                ("redis", &[], &["redis"]),
                ("dovecot", &[], &["auth", "lmtp"]),
            ]),
            ["other", "redis", "rspamd", "dovecot", "postfix"]
        );
        assert_eq!(ordered(&[("b", &[], &[]), ("a", &[], &[])]), ["b", "a"]);
        assert!(ordered(&[]).is_empty());
    }

    #[test]
    fn cycles_and_needs_without_a_provider_change_nothing() {
        assert_eq!(
            ordered(&[
                ("a", &["b"], &["a"]),
                ("b", &["a"], &["b"]),
                ("c", &["missing"], &[]),
                ("d", &["d"], &["d"]),
            ]),
            ["c", "d", "a", "b"]
        );
    }
}
