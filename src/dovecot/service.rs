//! How Dovecot runs: in the foreground, as a direct child.

use std::path::Path;

use super::config_file;
use crate::layout::{AUTH_SOCKET, DOVECOT_RUN_DIRECTORY, RUN_DIRECTORY};
use crate::supervise::service::{Readiness, Service};

/// `dovecot -F` says by sd_notify(3) that its listeners are open. It trusts the bare number in a stale master.pid and
/// refuses to start, so that file goes first; so does the login socket, which Postfix waits for.
pub fn service(environment: &[(String, String)]) -> Service {
    let pid_file = Path::new(DOVECOT_RUN_DIRECTORY).join("master.pid");
    let notify = Path::new(RUN_DIRECTORY).join("notify-dovecot");
    let mut environment = environment.to_vec();
    environment.push(("NOTIFY_SOCKET".to_owned(), notify.display().to_string()));
    Service {
        name: "dovecot",
        command: vec!["/usr/sbin/dovecot".to_owned(), "-F".to_owned()],
        environment,
        own_group: true,
        stale_files: vec![pid_file.clone(), AUTH_SOCKET.into()],
        preparations: Vec::new(),
        needs: None,
        ready: Readiness::Notify(notify),
        pid_file,
        process: "dovecot",
        reads: config_file().parent().map(Path::to_owned).into_iter().collect(),
        sessions: None,
        drain: None,
        // Clients get their BYE from the first; the second pass it on, they hold the TLS sessions; all log to the last.
        farewell: vec![
            vec!["imap", "imap-hibernate", "pop3", "lmtp", "managesieve", "submission"],
            vec!["imap-login", "pop3-login", "managesieve-log", "submission-logi"],
            vec!["log"],
        ],
    }
}
