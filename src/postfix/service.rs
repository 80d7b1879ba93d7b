//! How Postfix runs: master(8) as a direct child.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::files::main_cf_file;
use super::main_cf::{self, Given};
use super::{leftovers, master_cf, probes, reload_guard};
use crate::health::Named;
use crate::layout::{AUTH_SOCKET, CERTIFICATE_DIRECTORY, POSTFIX_CONFIG_DIRECTORY, POSTFIX_TABLES, QUEUE_DIRECTORY};
use crate::plan::{File, Plan};
use crate::supervise::service::{Drain, Preparation, Queue, Readiness, ReloadGuard, Service, StopShare};

/// Where the package puts the daemons: Debian's own `daemon_directory`.
const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// Repairs the queue.
const POSTSUPER: &str = "/usr/sbin/postsuper";

/// Files what waits anew (postsuper(1)).
const REQUEUE: [&str; 6] = [POSTSUPER, "-r", "ALL", "incoming", "active", "deferred"];

/// A file in a queue is a message when it has these bits; before, it is being written (mail_queue.h in Postfix's sources).
const FINISHED: u32 = 0o700;

/// `master -s` stays in the foreground and makes a session of its own. `postfix start-fg` would put a shell between us
/// that a SIGTERM ends alone. What `postfix start` does besides is done here: postsuper(1) before every start, for a
/// queue that was copied has files with colliding ids.
///
/// It starts once Dovecot's login socket answers: an early client on port 465 would have its service throttled.
///
/// Where all mail is kept (`keeps_all`), what waits in the queue goes through cleanup(8) again: it was filed for routes and
/// filters that there are no more. What is on hold stays there.
///
/// Nothing where no listener is on.
pub(super) fn service(
    environment: &[(String, String)],
    named: &[Named],
    plan: &Plan,
    services: &[master_cf::Service],
    keeps_all: bool,
) -> Option<Service> {
    let first = named.first()?.probe.clone();
    let tables = plan.referenced.iter().map(|(path, _)| path.clone());
    Some(Service {
        name: "postfix",
        command: vec![MASTER.to_owned(), "-s".to_owned()],
        environment: environment.to_vec(),
        essential: true,
        own_group: false,
        needs: vec![AUTH_SOCKET.into()],
        provides: Vec::new(),
        stale_files: Vec::new(),
        preparations: [
            Preparation::Call(leftovers::remove),
            Preparation::Run(vec![POSTSUPER.to_owned()]),
        ]
        .into_iter()
        .chain(keeps_all.then(|| Preparation::Run(REQUEUE.map(str::to_owned).into())))
        .collect(),
        ready: Readiness::Answers(first),
        pid_file: Path::new(QUEUE_DIRECTORY).join("pid/master.pid"),
        process: "master",
        reads: [POSTFIX_CONFIG_DIRECTORY, POSTFIX_TABLES, CERTIFICATE_DIRECTORY]
            .map(Into::into)
            .into_iter()
            .chain(tables)
            .collect(),
        reload_guard: Some(ReloadGuard {
            waiting: Rc::new(reload_guard::waiting),
            replaced: Rc::new(reload_guard::replaced),
            probes: named.iter().map(|named| named.probe.clone()).collect(),
        }),
        drain: Some(Drain {
            closing: closing(plan).into_iter().collect(),
            ports: probes::PORTS.to_vec(),
            queues: ["maildrop", "incoming", "active"].map(queue).into(),
            dispatcher: "qmgr",
            handed_out: delivery_sockets(services),
        }),
        stop_share: StopShare { drain: 50, end: 20 },
        stop_order: Vec::new(),
    })
}

fn queue(name: &str) -> Queue {
    Queue {
        path: Path::new(QUEUE_DIRECTORY).join(name),
        finished: FINISHED,
    }
}

/// The programs that deliver, or say why not.
const DELIVERY_AGENTS: [&str; 7] = ["discard", "error", "lmtp", "local", "pipe", "smtp", "virtual"];

/// Where qmgr(8) hands a message to a delivery agent, below the queue directory.
fn delivery_sockets(services: &[master_cf::Service]) -> Vec<String> {
    let deliver =
        |service: &&master_cf::Service| service.kind == "unix" && DELIVERY_AGENTS.contains(&service.program.as_str());
    services
        .iter()
        .filter(deliver)
        .map(|service| format!("private/{}", service.name))
        .collect()
}

/// main.cf for the time of a stop: new clients are turned away at once, to come back later; smtpd processes that have a
/// client read it only when that client is gone. (SIGTERM to master, `postfix stop` and `postfix drain` all cut or hang
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
