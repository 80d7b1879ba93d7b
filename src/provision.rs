//! From a draft to files in place and services to run: keep, stage, commit. The effects of a start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::task::spawn_blocking;

use crate::draft::Draft;
use crate::layout::{CERTIFICATE, KEY, PROBE_ADDRESS, RUN_DIRECTORY};
use crate::logs::{Configuration, Logs};
use crate::plan::{File, Plan, Tree};
use crate::settings::Settings;
use crate::supervise::service::Service;
use crate::system::files::{self, Owner};
use crate::system::processes::Processes;
use crate::trust::Trust;
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

/// Puts everything in place. On an error no file was changed.
pub async fn provision(
    settings: &Settings,
    draft: Draft,
    logs: &Logs,
    processes: &Processes,
) -> anyhow::Result<Provisioned> {
    // A key is a matter of luck, 40 to 400 ms, as long as all the rest: it is made beside it.
    let hostname = settings.hostname.clone();
    let keep = move || certificates::keep(Path::new(CERTIFICATE), Path::new(KEY), &hostname);
    let certificate = spawn_blocking(keep);
    let Draft { plan, targets, .. } = draft;
    files::directory(Path::new(RUN_DIRECTORY), Owner::ROOT, 0o755)?;
    let mut files = stage::stage(&plan, Path::new(RUN_DIRECTORY), processes).await?;
    let kept = certificate.await.context("the certificate's thread failed")??;
    files.extend(kept.files);
    commit::directories(&plan.directories)?;
    let (files, prepared) = spawn_blocking(move || commit::prepare(&files).map(|prepared| (files, prepared))).await??;
    commit::put(prepared)?;
    if let Some(news) = kept.news {
        logs.own(news);
    }

    let environment = daemon_environment(settings);
    let services = [
        Some(dovecot::service::service(&environment)),
        postfix::service::service(&environment, &targets, &plan),
    ];
    let services: Vec<Service> = services.into_iter().flatten().collect();
    let fingerprints = services
        .iter()
        .map(|service| (service.name, fingerprint(service, &files, &plan.referenced)))
        .collect();
    Ok(Provisioned {
        services,
        fingerprints,
        trees: plan.trees,
    })
}

/// What the logs need to know.
pub fn configure_logs(settings: &Settings, trust: &Trust, logs: &Logs) -> anyhow::Result<()> {
    logs.configure(Configuration {
        time_zone: jiff::tz::TimeZone::get(&settings.time_zone)?,
        host: settings.hostname.split('.').next().unwrap_or_default().to_owned(),
        gateways: trust.gateways.iter().map(ToString::to_string).collect(),
    });
    Ok(())
}

/// Gives the health probe's address a name in /etc/hosts. Without one Postfix asks DNS at each greeting, which takes
/// 10 s when DNS is dead; then probes come from 127.0.0.1 and show in the log.
pub fn name_probe_address() -> io::Result<()> {
    let mut hosts = fs::OpenOptions::new().append(true).open("/etc/hosts")?;
    writeln!(hosts, "{PROBE_ADDRESS}\thealthcheck")
}

/// Mends owners, after another image, a backup or `cp -r`. Mailboxes may be large: they are gone through while mail flows
/// already.
pub async fn repair(trees: Vec<Tree>, logs: &Logs) {
    let (beside, first): (Vec<Tree>, Vec<Tree>) = trees.into_iter().partition(|tree| tree.beside);
    let mend = |trees: Vec<Tree>| {
        let logs = logs.clone();
        spawn_blocking(move || commit::trees(&trees, |line| logs.own(line)))
    };
    // One that panics is told; the services start all the same.
    let _ = mend(first).await;
    mend(beside);
}

/// Removes what an earlier PID 1 that was killed left unfinished: it may hold secrets.
pub fn remove_leftovers(plan: &Plan) {
    let stages = fs::read_dir(RUN_DIRECTORY).into_iter().flatten().flatten();
    for entry in stages.filter(|entry| stage::is_scratch(&entry.path())) {
        let _ = fs::remove_dir_all(entry.path());
    }
    let directories: BTreeSet<&Path> = plan.files.iter().filter_map(|file| file.path.parent()).collect();
    directories.into_iter().for_each(files::remove_temporary);
}

/// Of the files that a service reads, the user's own among them, and of the certificate.
fn fingerprint(service: &Service, files: &[File], referenced: &[(PathBuf, Vec<u8>)]) -> u64 {
    let files = files.iter().map(|file| (&file.path, &file.bytes));
    let referenced = referenced.iter().map(|(path, bytes)| (path, bytes));
    let is_read = |path: &Path| service.reads.iter().any(|read| path.starts_with(read));
    let mut hasher = DefaultHasher::new();
    for file in files.chain(referenced).filter(|(path, _)| is_read(path)) {
        file.hash(&mut hasher);
    }
    for path in [CERTIFICATE, KEY] {
        fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish()
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
