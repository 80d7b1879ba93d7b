//! `mailroom run`, the default: the whole road from the environment to running daemons.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::accounts::{self, Account, Hashes};
use crate::facts::{self, Facts, PRIMARY_DOMAIN_RECORD};
use crate::health::Targets;
use crate::layout::{CERTIFICATE, KEY, PROBE_ADDRESS};
use crate::logs::{Configuration, Logs};
use crate::plan::{File, Plan};
use crate::postfix::parameters::Parameters;
use crate::settings::report::shown;
use crate::settings::{Environment, Mistake, Report, Settings, needs_parameters};
use crate::supervise::service::Service;
use crate::supervise::supervise;
use crate::system::processes::Processes;
use crate::trust::Trust;
use crate::{certificates, commit, dovecot, postfix, stage};

/// EX_USAGE (sysexits.h): the environment is wrong.
const EXIT_USAGE: u8 = 64;
/// EX_CONFIG (sysexits.h): what was found on disk, or what Postfix or Dovecot say of the configuration.
const EXIT_CONFIG: u8 = 78;

/// Open files for each daemon. Some engines give a container a billion, and programs that close them all spin for
/// minutes.
const OPEN_FILES: u64 = 65_536;
/// Last wait for the logs: standard output may block.
const FLUSH: Duration = Duration::from_millis(500);
/// How long processes that nobody supervises may take to end.
const SWEEP: Duration = Duration::from_millis(300);

/// Runs until told to stop. Returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let code = LocalSet::new().block_on(&runtime, async {
        // First of all: PID 1 has no default actions, and a SIGTERM from here on must count.
        let stop = stop_requests()?;
        let processes = Processes::start()?;
        let code = start(environment, stop, &processes).await;
        sweep(&processes).await;
        code
    });
    // Threads may still block on standard output; nothing waits for them.
    runtime.shutdown_background();
    code
}

/// An item for each SIGTERM or SIGINT.
fn stop_requests() -> io::Result<UnboundedReceiver<()>> {
    let (sender, stop) = unbounded_channel();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut requests, sender) = (signal(kind)?, sender.clone());
        spawn_local(async move {
            while requests.recv().await.is_some() {
                let _ = sender.send(());
            }
        });
    }
    Ok(stop)
}

/// Provisions and supervises; a stop while provisioning ends it there.
async fn start(
    environment: &Environment,
    mut stop: UnboundedReceiver<()>,
    processes: &Processes,
) -> anyhow::Result<u8> {
    let known = parameters(environment, processes).await?;
    let settings = match Settings::from_environment(environment, &known) {
        Ok(settings) => settings,
        Err(report) => return Ok(refuse(&report)),
    };
    let facts = Facts::gather(environment);
    if let Some(report) = other_primary_domain(&settings, &facts) {
        return Ok(refuse(&report));
    }
    limit_open_files()?;
    let logs = Logs::start()?;
    let provisioned = tokio::select! {
        provisioned = provision(&settings, &facts, &logs, processes) => provisioned,
        Some(()) = stop.recv() => return Ok(0),
    };
    let code = match provisioned {
        Ok(services) => supervise(services, stop, settings.stop_timeout, processes.clone(), logs.clone()).await,
        Err(error) => {
            logs.own(format!("Cannot start: {error:#}"));
            EXIT_CONFIG
        }
    };
    if code == 0 {
        logs.own("Mail server stopped".to_owned());
    }
    logs.flush(FLUSH);
    Ok(code)
}

fn refuse(report: &Report) -> u8 {
    eprintln!("mailroom: {report}");
    EXIT_USAGE
}

/// The parameters of the installed Postfix; it is asked only where a variable needs them.
async fn parameters(environment: &Environment, processes: &Processes) -> anyhow::Result<Parameters> {
    if !needs_parameters(environment) {
        return Ok(Parameters::default());
    }
    let mut postconf = Command::new("/usr/sbin/postconf");
    let output = processes
        .output(
            postconf.args(["-c", postfix::META_DIRECTORY, "-d"]),
            Duration::from_secs(10),
        )
        .await?;
    Ok(Parameters::parse(&output.stdout))
}

/// With another primary domain the short home directories would hand one user's mail to another.
fn other_primary_domain(settings: &Settings, facts: &Facts) -> Option<Report> {
    let recorded = facts
        .recorded_domain
        .as_ref()
        .filter(|recorded| **recorded != settings.domain)?;
    let reason = format!(
        "the mailboxes in /var/mail belong to {recorded}: set POSTFIX_MYDOMAIN={recorded}, or start with another volume \
         (to hand them over to {} on purpose, remove {PRIMARY_DOMAIN_RECORD})",
        settings.domain
    );
    let mistake = Mistake {
        variable: "POSTFIX_MYDOMAIN".to_owned(),
        value: settings.domain.clone(),
        reason,
    };
    Some(Report(vec![mistake]))
}

fn limit_open_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).context("cannot limit the number of open files")
}

/// Everything up to the first daemon: keep, plan, stage, commit.
async fn provision(
    settings: &Settings,
    facts: &Facts,
    logs: &Logs,
    processes: &Processes,
) -> anyhow::Result<Vec<Service>> {
    let trust = Trust::decide(settings, facts);
    logs.configure(Configuration {
        time_zone: jiff::tz::TimeZone::get(&settings.time_zone)?,
        host: settings.hostname.split('.').next().unwrap_or_default().to_owned(),
        gateways: trust.gateways.iter().map(ToString::to_string).collect(),
    });
    logs.own("Starting Postfix SMTP server configuration...".to_owned());
    tell_settings(settings, &trust, logs);

    // The key takes as long as all the rest: it is made beside it.
    let certificate = certificate(settings);
    let accounts = test_accounts(settings, &trust)?;
    logs.own(format!(
        "Test accounts: {} (their passwords are public; they log in from trusted networks only)",
        accounts
            .iter()
            .map(|account| account.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let targets = Targets::new(settings, name_probe_address(logs));
    let plan = plan(settings, &trust, &accounts, &targets)?;
    commit::directories(&plan.directories)?;
    if let Some(news) = certificate.await? {
        logs.own(news);
    }
    let files = stage::stage(&plan, processes).await?;
    commit::files(&files)?;
    logs.own("Mail server configuration complete".to_owned());

    let environment = daemon_environment(settings);
    let services = [
        Some(dovecot::service::service(&environment)),
        postfix::service::service(&environment, &targets),
    ];
    Ok(services.into_iter().flatten().collect())
}

/// The seed's `Configuring:` lines: what the environment decides, secrets hidden.
fn tell_settings(settings: &Settings, trust: &Trust, logs: &Logs) {
    for (name, given) in &settings.parameters {
        logs.own(
            format!("Configuring: {name} = {}", shown(&given.variable, &given.value))
                .trim_end()
                .to_owned(),
        );
    }
    logs.own(format!("Configuring: mynetworks = {}", trust.mynetworks()));
    for note in settings.notes.iter().chain(&trust.notes) {
        logs.own(note.clone());
    }
}

/// On a thread of its own: an RSA key is a matter of luck, 40 to 400 ms.
fn certificate(settings: &Settings) -> impl Future<Output = anyhow::Result<Option<String>>> + use<> {
    let hostname = settings.hostname.clone();
    let (sender, kept) = tokio::sync::oneshot::channel();
    let work = move || {
        let _ = sender.send(certificates::keep(Path::new(CERTIFICATE), Path::new(KEY), &hostname));
    };
    let started = std::thread::Builder::new().name("certificate".to_owned()).spawn(work);
    async move {
        started?;
        kept.await.context("the certificate's thread failed")?
    }
}

fn test_accounts(settings: &Settings, _trust: &Trust) -> anyhow::Result<Vec<Account>> {
    let kept = Hashes::from_passwd_file(&fs::read_to_string(dovecot::users_file()).unwrap_or_default());
    accounts::test_accounts(&settings.domain, &kept).map_err(anyhow::Error::msg)
}

/// Gives the health probe's address a name in /etc/hosts. Without one Postfix asks DNS at each greeting, which takes
/// 10 s when DNS is dead; then probes come from 127.0.0.1 and show in the log.
fn name_probe_address(logs: &Logs) -> bool {
    if facts::hosts_file_has(PROBE_ADDRESS) {
        return true;
    }
    let append = || -> io::Result<()> {
        use std::io::Write;
        let mut hosts = fs::OpenOptions::new().append(true).open("/etc/hosts")?;
        writeln!(hosts, "{PROBE_ADDRESS}\thealthcheck")
    };
    match append() {
        Ok(()) => true,
        Err(error) => {
            logs.own(format!(
                "/etc/hosts: {error}; health probes will show in the log: give docker run \
                 --add-host healthcheck:{PROBE_ADDRESS}"
            ));
            false
        }
    }
}

fn plan(settings: &Settings, trust: &Trust, accounts: &[Account], targets: &Targets) -> anyhow::Result<Plan> {
    let mut plan = dovecot::plan(settings, trust, accounts)?;
    plan.extend(postfix::plan(settings, trust, accounts)?);
    plan.extend(targets.plan()?);
    plan.files.push(File::public(
        PathBuf::from(PRIMARY_DOMAIN_RECORD),
        format!("{}\n", settings.domain),
    ));
    Ok(plan)
}

/// Nothing of our own environment reaches the daemons: it may hold secrets.
fn daemon_environment(settings: &Settings) -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TZ", settings.time_zone.as_str()),
        // resolv.conf(5): a DNS that does not answer holds up a greeting for 2 s, not for 10 s.
        ("RES_OPTIONS", "timeout:1 attempts:2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// As PID 1, ends whatever is left in the container: asks, waits a moment, kills.
async fn sweep(processes: &Processes) {
    if nix::unistd::getpid() != Pid::from_raw(1) {
        return;
    }
    let everybody = Pid::from_raw(-1);
    if kill(everybody, Signal::SIGTERM).is_err() {
        return;
    }
    let gone = async {
        while kill(everybody, None).is_ok() {
            processes.reap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SWEEP, gone).await.is_err() {
        let _ = kill(everybody, Signal::SIGKILL);
    }
}
