//! Health, metrics and the status page by HTTP: a daemon of Mailroom's own, `mailroom httpd`, which orchestrators, Prometheus and
//! browsers ask. It knows nothing itself: PID 1 answers its questions at a socket of its own ([`QUESTIONS`]), where nothing can be
//! changed. What strangers send is read here, by a process without privileges whose crash touches no mail.
//!
//! Whoever reaches the port may ask whether the server lives and serves; all else is for trusted networks.

mod listener;
mod page;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::server::run;
use crate::daemon::{Basis, Configured, Part, Set};
use crate::health::Named;
use crate::layout::{HTTP_QUESTIONS, LOGIN_POLICY_SERVER, PROGRAM, RUN_DIRECTORY};
use crate::own_daemon::{OwnDaemon, Unchecked};
use crate::plan::{File, Plan};
use crate::probes::Probe;
use crate::report::Mistake;
use crate::settings::Values;
use crate::site::{HTTP_LISTEN, Site};
use crate::supervise::service::{Readiness, Service, StopShare};
use crate::system::files::Owner;

/// Its name in messages, and that of its process.
const NAME: &str = "httpd";

/// The account that it runs as, which owns nothing.
const OWNER: Owner = Owner {
    user: NAME,
    group: NAME,
};

/// Who may ask PID 1 how the server is: its group.
pub const ASKER: Owner = Owner {
    user: "root",
    group: NAME,
};

/// Ports that are for mail, whether or not something listens there now.
const MAIL_PORTS: [u16; 8] = [25, 110, 143, 465, 587, 993, 995, 4190];

fn directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join(NAME)
}

fn config_file() -> PathBuf {
    directory().join("httpd.json")
}

/// What its file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    listen: SocketAddr,
    /// Who may see more than whether all is well.
    trusted: Vec<IpNet>,
}

/// The daemon.
pub static HTTPD: OwnDaemon = OwnDaemon {
    service: NAME,
    is_own: |program| program == NAME,
    configured,
};

fn configured() -> Box<dyn Configured> {
    Box::new(OfTheSite)
}

/// Nothing is set here that the site does not know.
#[derive(Debug)]
struct OfTheSite;

impl Configured for OfTheSite {
    fn examine(&mut self, site: &Site, _: &Values) -> anyhow::Result<Vec<Mistake>> {
        let taken = |listen: &SocketAddr| {
            let port = listen.port();
            MAIL_PORTS.contains(&port) || port == LOGIN_POLICY_SERVER.1
        };
        let mistake = |listen: SocketAddr| {
            let reason = format!(
                "port {} is for mail here: choose another one, such as 8025",
                listen.port()
            );
            Mistake::new(HTTP_LISTEN, listen.to_string(), reason)
        };
        Ok(site.http_listen.filter(taken).map(mistake).into_iter().collect())
    }

    fn count(&self) -> usize {
        0
    }

    fn settings(&self) -> Vec<Set> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn read_at_start(&self, site: &Site) -> Option<(&'static str, String)> {
        let listen = site.http_listen.map_or("off".to_owned(), |listen| listen.to_string());
        Some((HTTP_LISTEN, listen))
    }

    fn part(&self, basis: &Basis) -> anyhow::Result<Part> {
        let listen = basis.site.http_listen;
        Ok(Part {
            plan: listen
                .map(|listen| plan(listen, basis))
                .transpose()?
                .unwrap_or_default(),
            account_files: None,
            service: listen.map(|listen| service(listen, basis.environment)),
            probes: listen.map(probe).into_iter().collect(),
            checker: Box::new(Unchecked),
        })
    }
}

fn plan(listen: SocketAddr, basis: &Basis) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    plan.directory(directory(), Owner::ROOT, 0o755);
    let settings = Settings {
        listen,
        trusted: basis.trust.cidrs(),
    };
    let text = serde_json::to_string_pretty(&settings)? + "\n";
    plan.files.push(File::public(config_file(), text));
    Ok(plan)
}

/// Whether it answers, and PID 1 answers it.
fn question(listen: SocketAddr) -> Probe {
    let host = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Probe::Http {
        address: SocketAddr::new(host, listen.port()),
        path: server::LIVEZ.to_owned(),
    }
}

fn probe(listen: SocketAddr) -> Named {
    Named {
        name: NAME.to_owned(),
        probe: question(listen),
        essential: false,
    }
}

/// It is stopped last, by its place in the list of daemons: it says that the others are being stopped.
fn service(listen: SocketAddr, environment: &[(String, String)]) -> Service {
    Service {
        name: NAME,
        command: vec![PROGRAM.to_owned(), NAME.to_owned()],
        environment: environment.to_vec(),
        essential: false,
        own_group: true,
        needs: vec![HTTP_QUESTIONS.into()],
        provides: Vec::new(),
        stale_files: Vec::new(),
        preparations: Vec::new(),
        ready: Readiness::Answers(question(listen)),
        pid_file: directory().join("pid"),
        process: NAME,
        reads: vec![directory()],
        reload_guard: None,
        drain: None,
        stop_share: StopShare { drain: 0, end: 2 },
        stop_order: Vec::new(),
    }
}
