//! How Dovecot runs: in the foreground, as a direct child.

use std::path::Path;

use super::config_file;
use crate::layout::{AUTH_SOCKET, CERTIFICATE_DIRECTORY, DOVECOT_RUN_DIRECTORY, RUN_DIRECTORY};
use crate::supervise::service::{Readiness, Service, StopShare};

/// `dovecot -F` says by sd_notify(3) that its listeners are open. It trusts the bare number in a stale master.pid and
/// refuses to start, so that file is removed first; so is the login socket, which Postfix waits for.
pub(super) fn service(environment: &[(String, String)]) -> Service {
    let pid_file = Path::new(DOVECOT_RUN_DIRECTORY).join("master.pid");
    let notify = Path::new(RUN_DIRECTORY).join("notify-dovecot");
    let mut environment = environment.to_vec();
    environment.push(("NOTIFY_SOCKET".to_owned(), notify.display().to_string()));
    Service {
        name: "dovecot",
        command: vec!["/usr/sbin/dovecot".to_owned(), "-F".to_owned()],
        environment,
        essential: true,
        own_group: true,
        needs: Vec::new(),
        provides: vec![AUTH_SOCKET.into()],
        stale_files: vec![pid_file.clone()],
        preparations: Vec::new(),
        ready: Readiness::Notify(notify),
        pid_file,
        process: "dovecot",
        reads: [config_file().parent(), Some(Path::new(CERTIFICATE_DIRECTORY))]
            .into_iter()
            .flatten()
            .map(Path::to_owned)
            .collect(),
        reload_guard: None,
        drain: None,
        stop_share: StopShare { drain: 0, end: 20 },
        // Clients get their BYE from the first; the second pass it on, they hold the TLS sessions; all log to the last.
        stop_order: vec![
            vec!["imap", "imap-hibernate", "pop3", "lmtp", "managesieve", "submission"],
            vec!["imap-login", "pop3-login", "managesieve-log", "submission-logi"],
            vec!["log"],
        ],
    }
}
