//! How Postfix runs: master(8) as a direct child.

use std::collections::BTreeMap;
use std::path::Path;

use super::main_cf::{self, Given};
use super::{main_cf_file, master_cf, master_cf_file};
use crate::health::Targets;
use crate::layout::{AUTH_SOCKET, POSTFIX_CONFIG_DIRECTORY, QUEUE_DIRECTORY};
use crate::plan::{File, Plan};
use crate::supervise::service::{Drain, Readiness, Service, Sessions};

/// Where the package puts the daemons: Debian's own `daemon_directory`.
const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// `master -s` stays in the foreground and makes a session of its own. `postfix start-fg` would put a shell between us
/// that a SIGTERM ends alone. What `postfix start` does besides is done here: postsuper(1) before every start, for a
/// queue that was copied has files with colliding ids.
///
/// It starts once Dovecot's login socket answers: an early client on port 465 would have its service throttled.
pub fn service(environment: &[(String, String)], targets: &Targets, plan: &Plan) -> Option<Service> {
    let port = targets.smtp().next()?.clone();
    let tables = plan.referenced.iter().map(|(path, _)| path.clone());
    Some(Service {
        name: "postfix",
        command: vec![MASTER.to_owned(), "-s".to_owned()],
        environment: environment.to_vec(),
        own_group: false,
        stale_files: Vec::new(),
        preparations: vec![vec!["/usr/sbin/postsuper".to_owned()]],
        needs: Some(AUTH_SOCKET.into()),
        ready: Readiness::Greets(port, targets.source),
        pid_file: Path::new(QUEUE_DIRECTORY).join("pid/master.pid"),
        process: "master",
        reads: std::iter::once(POSTFIX_CONFIG_DIRECTORY.into()).chain(tables).collect(),
        sessions: Some(Sessions {
            process: "smtpd",
            ports: targets.smtp().cloned().collect(),
            source: targets.source,
        }),
        drain: Some(Drain {
            closing: closing(plan).into_iter().collect(),
            ports: SMTP_PORTS.to_vec(),
            queues: ["maildrop", "incoming", "active"]
                .map(|queue| Path::new(QUEUE_DIRECTORY).join(queue))
                .into(),
            dispatcher: "qmgr",
            handed_out: delivery_sockets(plan),
        }),
        farewell: Vec::new(),
    })
}

/// Where clients hand mail over.
const SMTP_PORTS: [u16; 3] = [25, 587, 465];

/// The programs that deliver, or say why not.
const DELIVERY_AGENTS: [&str; 7] = ["discard", "error", "lmtp", "local", "pipe", "smtp", "virtual"];

/// Where qmgr(8) hands a message to a delivery agent, below the queue directory.
fn delivery_sockets(plan: &Plan) -> Vec<String> {
    let master_cf = plan.file(&master_cf_file());
    let text = master_cf.map_or("".into(), |file| String::from_utf8_lossy(&file.bytes));
    let services = master_cf::parse(&text).unwrap_or_default();
    let deliver =
        |service: &master_cf::Service| service.kind == "unix" && DELIVERY_AGENTS.contains(&service.program.as_str());
    services
        .iter()
        .filter(|service| deliver(service))
        .map(|service| format!("private/{}", service.name))
        .collect()
}

/// main.cf for the time of a stop: new clients are told at once to come back later; smtpd processes that have a client
/// read it only when that client is gone. (SIGTERM to master, `postfix stop` and `postfix drain` all cut or hang
/// somebody.)
fn closing(plan: &Plan) -> Option<File> {
    let open = plan.file(&main_cf_file())?;
    let goodbye = "static:{421 4.3.2 Server is shutting down, try again later}";
    let parameters = [
        ("smtpd_client_restrictions", goodbye),
        ("mua_client_restrictions", goodbye),
        ("smtpd_delay_reject", "no"),
    ];
    let given = parameters.map(|(name, value)| {
        let given = Given {
            variable: "a stop".to_owned(),
            value: value.to_owned(),
            explicit: true,
        };
        (name.to_owned(), given)
    });
    let text = main_cf::with_parameters(&String::from_utf8_lossy(&open.bytes), &BTreeMap::from(given));
    Some(File {
        bytes: text.into_bytes(),
        ..open.clone()
    })
}
