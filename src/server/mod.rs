//! What PID 1 does while the daemons run: it supervises them, reloads them, follows the networks, obeys signals and
//! requests, and ends what is left at the end. Here the parts are wired together.
//!
//! Requests flow one way: signals, the control socket and changed networks ask for reloads; a reload, a stop and what the
//! daemons' log lines mean are requests to the supervisor.

mod declared_files;
mod networks;
mod observe;
mod reload;
pub mod sweep;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

pub use self::declared_files::DeclaredFiles;
pub use self::networks::Networks;
use self::observe::Observer;
use self::reload::Reload;
use crate::accounts::change::Change;
use crate::accounts::records::Records;
use crate::control::listener::{self, Asked as Question};
use crate::control::{Answer, Door, Request as Command};
use crate::daemon::Daemon;
use crate::health;
use crate::http;
use crate::layout::{PROBE_ADDRESS, PROBE_ADDRESS_IPV6};
use crate::logs::lines::Meaning;
use crate::logs::{Configuration, Logs, Mask, Meanings, Trusted};
use crate::metrics::Metrics;
use crate::provision::notices::Notices;
use crate::provision::{Desired, Fingerprints, Provisioned, Read};
use crate::settings::Environment;
use crate::site::{OnFailure, Protocols, Site};
use crate::supervise::policy;
use crate::supervise::{Limits, Output, Request, supervise};
use crate::system::memory;
use crate::system::panics;
use crate::system::processes::Processes;
use crate::system::signals::Asked;

/// By then the daemons have started as a rule, and what that needed is needed no more.
const STARTED: Duration = Duration::from_secs(5);
/// Time between two explanations of log lines: finding the reason costs a conversation with another server.
const BETWEEN_EXPLANATIONS: Duration = Duration::from_secs(600);

/// A wish for a reload, perhaps with other accounts.
#[derive(Debug, Default)]
struct Wish {
    /// What changes.
    change: Option<Change>,
    /// Where its outcome is awaited, if anywhere.
    outcome: Option<oneshot::Sender<Answer>>,
}

/// A wish, and its outcome, once it is there.
fn wish(change: Option<Change>) -> (Wish, oneshot::Receiver<Answer>) {
    let (outcome, awaited) = oneshot::channel();
    let outcome = Some(outcome);
    (Wish { change, outcome }, awaited)
}

/// What everything starts from, at the start and at each reload.
#[derive(Clone)]
pub struct Origin {
    /// All daemons.
    pub daemons: &'static [&'static dyn Daemon],
    /// The environment.
    pub environment: Environment,
    /// The one owner of wait().
    pub processes: Processes,
    /// The running logs.
    pub logs: Logs,
    /// What is counted.
    pub metrics: Metrics,
}

/// What the running daemons were given; a reload compares with it.
pub struct InForce {
    /// What it was decided from, without accounts.
    pub read: Read,
    /// What is declared, and kept. It may be much, and is not read again for each change.
    pub declared: Option<Arc<Records>>,
    /// Of all files but those of accounts.
    pub plan: u64,
    /// What each service reads.
    pub fingerprints: Fingerprints,
    /// What the log has said.
    pub notices: Notices,
    /// The certificate is a user's own.
    pub certificate_is_users: bool,
    /// What daemons read at their start alone.
    pub read_at_start: Vec<(&'static str, String)>,
}

impl InForce {
    /// Before anything is in place.
    pub fn new(read: Read, desired: &Desired) -> InForce {
        InForce {
            declared: read.kept.declared_then(&read.known),
            read: read.without_accounts(),
            plan: desired.plan.fingerprint(),
            fingerprints: Fingerprints::new(),
            notices: desired.notices.clone(),
            certificate_is_users: desired.certificate.is_users(),
            read_at_start: desired.read_at_start.clone(),
        }
    }
}

/// What is followed while the daemons run, as it was when it was read.
pub struct Followed {
    /// The networks of this container.
    pub networks: Networks,
    /// The files that declare accounts and aliases.
    pub declared: DeclaredFiles,
}

/// Keeps everything running until a stop. Returns the exit code.
pub async fn serve(
    origin: Origin,
    provisioned: Provisioned,
    mut in_force: InForce,
    followed: Followed,
    limits: Limits,
    asked: UnboundedReceiver<Asked>,
    meanings: Meanings,
) -> u8 {
    let (requests, requested) = unbounded_channel();
    let (wishes, reloads) = unbounded_channel();
    let (questions, questioned) = unbounded_channel();
    listen(&in_force.read.site, &questions);
    let observer = Observer::of(&origin, &in_force.read.site);
    spawn_local(answer(questioned, wishes.clone(), Rc::clone(&observer)));
    let watching = panics::keep({
        let observer = Rc::clone(&observer);
        move || Rc::clone(&observer).watch()
    });
    spawn_local(understand(meanings, requests.clone(), origin.clone()));
    spawn_local(obey(asked, requests.clone(), wishes.clone(), origin.logs.clone()));
    in_force.fingerprints = provisioned.fingerprints;
    spawn_local(async {
        tokio::time::sleep(STARTED).await;
        memory::give_back();
    });
    let (processes, output) = (origin.processes.clone(), Rc::new(origin.logs.clone()));
    let Followed { networks, declared } = followed;
    let (networks, declared) = (Rc::new(networks), Rc::new(declared));
    let environment = Rc::new(origin.environment.clone());
    let of_files = wishes.clone();
    let following_files = panics::keep(move || {
        let (declared, wishes) = (Rc::clone(&declared), of_files.clone());
        async move { declared.follow(&wishes).await }
    });
    let following = panics::keep(move || {
        let (networks, environment) = (Rc::clone(&networks), Rc::clone(&environment));
        let wishes = wishes.clone();
        async move { networks.follow(&environment, &wishes).await }
    });
    let reloading = spawn_local(Reload::new(origin, in_force, requests).serve(reloads));
    // From then on nothing may open the doors again that the stop closes.
    let stopping = move || {
        observer.stopping();
        watching.abort();
        following.abort();
        following_files.abort();
        reloading.abort();
    };
    let output: Rc<dyn Output> = output;
    supervise(provisioned.services, limits, requested, stopping, processes, output).await
}

/// What the settings say about the supervisor. `reserved` is the part of the time for a stop that others need.
pub fn limits(site: &Site, reserved: Duration) -> Limits {
    Limits {
        stop_budget: site.stop_timeout.saturating_sub(reserved),
        on_failure: match site.on_failure {
            OnFailure::Exit => policy::OnFailure::Exit,
            OnFailure::Keep => policy::OnFailure::Keep,
        },
    }
}

/// What the settings say about the logs.
pub fn configure_logs(desired: &Desired, logs: &Logs) -> anyhow::Result<()> {
    let (site, trust) = (&desired.site, &desired.trust);
    logs.configure(Configuration {
        time_zone: jiff::tz::TimeZone::get(&site.time_zone)?,
        host: site.hostname.split('.').next().unwrap_or_default().to_owned(),
        trusted: Trusted {
            networks: trust.cidrs(),
            gateways: trust.gateways.clone(),
            pods_are_strangers: trust.pods_are_strangers,
            test_accounts: desired.test_accounts.clone(),
        },
        probe_address: match site.protocols {
            Protocols::Ipv6 => PROBE_ADDRESS_IPV6,
            Protocols::Ipv4 | Protocols::All => PROBE_ADDRESS,
        },
        level: site.log_level,
        format: site.log_format,
        mask: site.log_mask.then(|| Mask::new(desired.log_mask_key.clone())),
        files: site.log_files,
    });
    Ok(())
}

impl Output for Logs {
    fn follow(&self, service: &'static str, pipe: tokio::net::unix::pipe::Receiver) {
        spawn_local(self.clone().follow(service, pipe));
    }

    fn repeat(&self, service: &'static str) {
        self.repeat(service);
    }
}

/// Hands on what signals ask for.
async fn obey(
    mut asked: UnboundedReceiver<Asked>,
    requests: UnboundedSender<Request>,
    wishes: UnboundedSender<Wish>,
    logs: Logs,
) {
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::ReopenLogs => logs.reopen(),
            Asked::Reload => drop(wishes.send(Wish::default())),
            Asked::Stop => drop(requests.send(Request::Stop)),
        }
    }
}

/// Opens the doors at which requests come. Where one cannot be opened, the server serves mail all the same.
fn listen(site: &Site, questions: &UnboundedSender<Question>) {
    if let Err(error) = listener::listen(Door::of_root(), questions.clone()) {
        tracing::warn!("mailroom reload will not work: {error}");
    }
    let is_served = site.http_listen.is_some();
    let door = is_served.then(|| Door::of_observer(http::ASKER));
    if let Some(Err(error)) = door.map(|door| listener::listen(door, questions.clone())) {
        tracing::warn!("the status page and the metrics will not work: {error}");
    }
}

/// Answers what comes by the control sockets.
async fn answer(mut questions: UnboundedReceiver<Question>, wishes: UnboundedSender<Wish>, observer: Rc<Observer>) {
    while let Some(Question { request, answer }) = questions.recv().await {
        let change = match request {
            Command::Reload => None,
            Command::Change(change) => Some(change),
            Command::Observe(question) => {
                let observer = Rc::clone(&observer);
                spawn_local(async move { answer.send(observer.answer(question).await) });
                continue;
            }
        };
        let (wish, awaited) = wish(change);
        let _ = wishes.send(wish);
        spawn_local(async move {
            let stopping = |_| Answer::Refused("the server is stopping".to_owned());
            let _ = answer.send(awaited.await.unwrap_or_else(stopping));
        });
    }
}

/// Hands on what the daemons' log lines mean.
async fn understand(mut meanings: Meanings, requests: UnboundedSender<Request>, origin: Origin) {
    let mut explained: BTreeMap<Meaning, Instant> = BTreeMap::new();
    while let Some((service, meaning)) = meanings.recv().await {
        match meaning {
            Meaning::ReloadBegins => drop(requests.send(Request::ReloadBegins(service))),
            Meaning::Reloaded => drop(requests.send(Request::Reloaded(service))),
            Meaning::Throttled(part) => health::throttle(&part),
            Meaning::NoLogin | Meaning::NoMailbox => {
                let is_recent = |then: &Instant| then.elapsed() < BETWEEN_EXPLANATIONS;
                if !explained.get(&meaning).is_some_and(is_recent) {
                    explained.insert(meaning.clone(), Instant::now());
                    spawn_local(explain(origin.clone(), service, meaning));
                }
            }
        }
    }
}

/// Logs why, where a daemon knows.
async fn explain(origin: Origin, service: &'static str, meaning: Meaning) {
    let daemon = origin
        .daemons
        .iter()
        .find(|daemon| daemon.log_lines().service == service);
    let Some(daemon) = daemon else { return };
    match daemon.explain(meaning.clone(), &origin.processes).await {
        Ok(Some(why)) => tracing::warn!(service, "{why}"),
        Ok(None) => {}
        Err(error) => tracing::debug!(service, "{meaning:?} is not explained: {error:#}"),
    }
}
