//! How Postfix runs: master(8) as a direct child.

use std::path::Path;

use crate::health::{Daemon, Targets};
use crate::layout::{AUTH_SOCKET, QUEUE_DIRECTORY};
use crate::supervise::service::{Readiness, Service};

/// Where the package puts the daemons: Debian's own `daemon_directory`.
const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// How `/healthcheck` finds it.
pub fn daemon() -> Daemon {
    let pid_file = Path::new(QUEUE_DIRECTORY).join("pid/master.pid");
    Daemon {
        name: "postfix".to_owned(),
        pid_file,
        process: "master".to_owned(),
    }
}

/// `master -s` stays in the foreground and makes a session of its own. `postfix start-fg` would put a shell between us
/// that a SIGTERM ends alone. What `postfix start` does besides is done here: postsuper(1) before every start, for a
/// queue that was copied has files with colliding ids.
///
/// It starts once Dovecot's login socket answers: an early client on port 465 would have its service throttled.
pub fn service(environment: &[(String, String)], targets: &Targets) -> Option<Service> {
    let port = targets.smtp()?.clone();
    Some(Service {
        name: "postfix",
        command: vec![MASTER.to_owned(), "-s".to_owned()],
        environment: environment.to_vec(),
        own_group: false,
        stale_files: Vec::new(),
        preparations: vec![vec!["/usr/sbin/postsuper".to_owned()]],
        needs: Some(AUTH_SOCKET.into()),
        ready: Readiness::Greets(port, targets.source),
        pid_file: daemon().pid_file,
        process: "master",
    })
}
