//! Policies on logins and submissions: a daemon of Mailroom's own, `mailroom policyd`, which Postfix and Dovecot ask. What it
//! decides is in `logins` and `submissions`, how it is asked in `auth_policy` and `delegation`.
//!
//! Both go on without it: Dovecot takes no answer for a yes, and smtpd(8) is told to. So it may crash; mail and logins do not
//! wait for it, and the container does not end for it.
//!
//! Its variables are the site's, for Postfix and Dovecot follow them, too.

mod auth_policy;
mod delegation;
mod logins;
mod recent;
mod server;
mod submissions;

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::logins::Limits;
pub use self::server::run;
use crate::daemon::{Basis, Configured, Part, Set};
use crate::health::Named;
use crate::layout::{LOGIN_POLICY_SECRET, LOGIN_POLICY_SERVER, PROGRAM, RUN_DIRECTORY, SUBMISSION_POLICY_SOCKET};
use crate::own_daemon::{OwnDaemon, Unchecked};
use crate::plan::{File, Plan};
use crate::probes::Probe;
use crate::report::Mistake;
use crate::settings::Values;
use crate::site::Site;
use crate::supervise::service::{Readiness, Service, StopShare};
use crate::system::files::Owner;

/// Its name in messages, and that of its process.
const NAME: &str = "policyd";

/// The account that it runs as, which owns nothing.
const OWNER: Owner = Owner {
    user: NAME,
    group: NAME,
};

fn directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join(NAME)
}

fn config_file() -> PathBuf {
    directory().join("policyd.json")
}

/// What its file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    logins: Limits,
    /// Recipients an hour for each account.
    submission_rate: Option<u32>,
}

impl Settings {
    /// Many share a gateway's address, behind which docker and rootless engines hide who comes from outside; the container's own,
    /// for the same reason; and those of trusted networks, where applications and proxies are.
    fn of(basis: &Basis) -> Settings {
        let Basis { site, facts, trust, .. } = basis;
        let own = facts.interfaces.iter().map(|net| IpNet::from(net.addr()));
        let gateways = facts.gateways.iter().map(|gateway| IpNet::from(*gateway));
        let shared: Vec<IpNet> = trust.cidrs().into_iter().chain(own).chain(gateways).collect();
        Settings {
            logins: Limits {
                per_address: site.login_failures_per_address,
                per_account: site.login_failures_per_account,
                window: site.login_block,
                shared: IpNet::aggregate(&shared),
            },
            submission_rate: site.submission_rate,
        }
    }
}

/// The daemon.
pub static POLICYD: OwnDaemon = OwnDaemon {
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
    fn examine(&mut self, _: &Site, _: &Values) -> anyhow::Result<Vec<Mistake>> {
        Ok(Vec::new())
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
        let is_run = site.limits_logins() || site.submission_rate.is_some();
        Some(("whether anything limits logins and submissions", is_run.to_string()))
    }

    fn part(&self, basis: &Basis) -> anyhow::Result<Part> {
        let site = basis.site;
        let is_run = site.limits_logins() || site.submission_rate.is_some();
        Ok(Part {
            plan: if is_run { plan(basis)? } else { Plan::default() },
            account_files: None,
            service: is_run.then(|| service(basis.environment)),
            probes: if is_run { vec![probe()] } else { Vec::new() },
            checker: Box::new(Unchecked),
        })
    }
}

fn plan(basis: &Basis) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    plan.directory(directory(), Owner::ROOT, 0o755);
    let settings = serde_json::to_string_pretty(&Settings::of(basis))? + "\n";
    plan.files.push(File::public(config_file(), settings));
    plan.files.push(File {
        mode: 0o600,
        ..File::public(LOGIN_POLICY_SECRET, basis.facts.login_policy_secret.clone())
    });
    Ok(plan)
}

/// The kernel accepts for a process that is stopped or hangs: only an answer says that it decides. Without one each login waits
/// until Dovecot goes on without it.
fn question() -> Probe {
    Probe::Http {
        address: LOGIN_POLICY_SERVER.into(),
        path: "/".to_owned(),
    }
}

fn probe() -> Named {
    Named {
        name: NAME.to_owned(),
        probe: question(),
        essential: false,
    }
}

/// It is stopped last, by its place in the list of daemons: nobody waits for its socket at a start.
fn service(environment: &[(String, String)]) -> Service {
    Service {
        name: NAME,
        command: vec![PROGRAM.to_owned(), NAME.to_owned()],
        environment: environment.to_vec(),
        essential: false,
        own_group: true,
        needs: Vec::new(),
        provides: vec![SUBMISSION_POLICY_SOCKET.into()],
        stale_files: Vec::new(),
        preparations: Vec::new(),
        ready: Readiness::Answers(question()),
        pid_file: directory().join("pid"),
        process: NAME,
        reads: vec![directory()],
        reload_guard: None,
        drain: None,
        stop_share: StopShare { drain: 0, end: 2 },
        stop_order: Vec::new(),
    }
}
