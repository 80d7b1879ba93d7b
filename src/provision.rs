//! From a draft to files in place and services to run: keep, stage, commit. The effects of a start.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use crate::draft::Draft;
use crate::layout::{CERTIFICATE, KEY, PROBE_ADDRESS, RUN_DIRECTORY};
use crate::logs::{Configuration, Logs};
use crate::plan::{File, Tree};
use crate::settings::Settings;
use crate::supervise::service::Service;
use crate::system::files::{self, Owner};
use crate::system::processes::Processes;
use crate::{certificates, commit, dovecot, postfix, stage};

/// What is in place.
#[derive(Debug)]
pub struct Provisioned {
    /// To be kept running.
    pub services: Vec<Service>,
    /// What each of them reads.
    pub fingerprints: Fingerprints,
    /// Directories whose owners are to be looked through before the services start.
    pub trees: Vec<Tree>,
}

/// A number for all that a service reads, by the service's name: it changes with what is read.
pub type Fingerprints = BTreeMap<&'static str, u64>;

/// Puts everything in place. On an error nothing that runs was touched.
pub async fn provision(
    settings: &Settings,
    draft: Draft,
    logs: &Logs,
    processes: &Processes,
) -> anyhow::Result<Provisioned> {
    // The key takes as long as all the rest: it is made beside it.
    let certificate = certificate(settings);
    let Draft { plan, targets, .. } = draft;
    files::directory(Path::new(RUN_DIRECTORY), Owner::ROOT, 0o755)?;
    let files = stage::stage(&plan, Path::new(RUN_DIRECTORY), processes).await?;
    commit::directories(&plan.directories)?;
    if let Some(news) = certificate.await? {
        logs.own(news);
    }
    commit::files(&files)?;

    let environment = daemon_environment(settings);
    let services = [
        Some(dovecot::service::service(&environment)),
        postfix::service::service(&environment, &targets, &plan),
    ];
    let services: Vec<Service> = services.into_iter().flatten().collect();
    let fingerprints = services
        .iter()
        .map(|service| (service.name, fingerprint(service, &files)))
        .collect();
    Ok(Provisioned {
        services,
        fingerprints,
        trees: plan.trees,
    })
}

/// What the logs need to know.
pub fn configure_logs(settings: &Settings, draft: &Draft, logs: &Logs) -> anyhow::Result<()> {
    logs.configure(Configuration {
        time_zone: jiff::tz::TimeZone::get(&settings.time_zone)?,
        host: settings.hostname.split('.').next().unwrap_or_default().to_owned(),
        gateways: draft.trust.gateways.iter().map(ToString::to_string).collect(),
    });
    Ok(())
}

/// Gives the health probe's address a name in /etc/hosts. Without one Postfix asks DNS at each greeting, which takes
/// 10 s when DNS is dead; then probes come from 127.0.0.1 and show in the log.
pub fn name_probe_address() -> io::Result<()> {
    let mut hosts = fs::OpenOptions::new().append(true).open("/etc/hosts")?;
    writeln!(hosts, "{PROBE_ADDRESS}\thealthcheck")
}

/// Mends owners, after another image, a backup or `cp -r`. Mailboxes may be large: they are gone through on a thread of their
/// own, while mail flows already.
pub fn repair(trees: Vec<Tree>, logs: &Logs) -> io::Result<()> {
    let (beside, first): (Vec<Tree>, Vec<Tree>) = trees.into_iter().partition(|tree| tree.beside);
    commit::trees(&first, |line| logs.own(line));
    let logs = logs.clone();
    let work = move || commit::trees(&beside, |line| logs.own(line));
    std::thread::Builder::new()
        .name("owners".to_owned())
        .spawn(work)
        .map(drop)
}

/// Of the files below the directories that a service reads, and of the certificate, which may be the user's own.
fn fingerprint(service: &Service, files: &[File]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files
        .iter()
        .filter(|file| service.reads.iter().any(|directory| file.path.starts_with(directory)))
    {
        (&file.path, &file.bytes).hash(&mut hasher);
    }
    for path in [CERTIFICATE, KEY] {
        fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish()
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
