//! The second step: from what was read to everything that shall be. Pure but for random salts of passwords.

use std::path::Path;

use anyhow::bail;

use super::notices::{self, Notices};
use super::read::Read;
use crate::accounts::known::primary_domain_file;
use crate::accounts::{Directory, TestAccounts};
use crate::certificates::Found;
use crate::daemon::{AccountFiles, Basis, Checker, Part};
use crate::facts::Facts;
use crate::health::Named;
use crate::layout::{CERTIFICATE_DIRECTORY, LOG_MASK_KEY, PROBE_ADDRESS};
use crate::plan::{File, Plan};
use crate::report::Mistake;
use crate::secrets::Secrets;
use crate::site::Site;
use crate::supervise::service::Service;
use crate::trust::Trust;

/// What shall be.
#[derive(Debug)]
pub struct Desired {
    /// The settings of the site.
    pub site: Site,
    /// Who is trusted.
    pub trust: Trust,
    /// What is written.
    pub plan: Plan,
    /// What is kept of accounts.
    pub records: Vec<File>,
    /// Files that follow the accounts.
    pub account_files: Vec<Box<dyn AccountFiles>>,
    /// What is asked by the health check, unless the settings close it.
    pub probes: Vec<Named>,
    /// The daemons' own checkers.
    pub checkers: Vec<Box<dyn Checker>>,
    /// What is kept running.
    pub services: Vec<Service>,
    /// The certificate and its key, or what they are made of.
    pub certificate: Found,
    /// What is never shown.
    pub secrets: Secrets,
    /// What a user should know.
    pub notices: Notices,
    /// Mistakes that keep nobody from being served.
    pub troubles: Vec<Mistake>,
    /// The names of accounts that log in from trusted networks only.
    pub test_accounts: Vec<String>,
    /// What daemons read at their start alone: its name, and a value to compare.
    pub read_at_start: Vec<(&'static str, String)>,
    /// What local parts of addresses are hashed with in the logs.
    pub log_mask_key: String,
    /// An address that gets a name in /etc/hosts.
    pub host_name: Option<(&'static str, &'static str)>,
}

/// Decides everything.
pub fn desired(read: &Read) -> anyhow::Result<Desired> {
    let Read {
        site,
        configured,
        facts,
        secrets,
        kept,
        known,
        external,
        troubles,
        ..
    } = read;
    let trust = Trust::decide(site, facts);
    let test_accounts = TestAccounts::beside(known, site).map_err(anyhow::Error::msg)?;
    let directory = Directory::of(site, known, &test_accounts, external.as_ref());
    let environment = daemon_environment(site);
    let basis = Basis {
        site,
        facts,
        trust: &trust,
        directory: &directory,
        environment: &environment,
    };
    let (mut plan, mut probes) = (Plan::default(), Vec::new());
    let (mut checkers, mut services, mut account_files) = (Vec::new(), Vec::new(), Vec::new());
    for daemon in configured {
        let part: Part = daemon.part(&basis)?;
        plan.extend(part.plan);
        probes.extend(part.probes);
        checkers.push(part.checker);
        services.extend(part.service);
        account_files.extend(part.account_files);
    }
    if site.mailboxes {
        plan.files.push(primary_domain_file(&site.domain));
    }
    if site.log_mask {
        plan.files.push(File {
            mode: 0o600,
            ..File::public(LOG_MASK_KEY, facts.log_mask_key.clone())
        });
    }
    plan.protect(secrets);
    let records = kept.files(known);
    let of_accounts = account_files.iter().flat_map(|files| files.files()).chain(&records);
    can_be_written(&plan, of_accounts, site, facts)?;
    let name_is_missing = !facts.probe_is_named && facts.hosts_can_be_written;
    Ok(Desired {
        notices: notices::of(read, &trust, &directory),
        read_at_start: configured
            .iter()
            .filter_map(|daemon| daemon.read_at_start(site))
            .collect(),
        test_accounts: directory
            .accounts
            .iter()
            .filter(|account| account.trusted_networks_only)
            .flat_map(|account| account.logins(&site.domain))
            .collect(),
        host_name: name_is_missing.then_some((PROBE_ADDRESS, "healthcheck")),
        certificate: facts.certificate.clone(),
        log_mask_key: facts.log_mask_key.clone(),
        troubles: troubles.clone(),
        site: site.clone(),
        secrets: secrets.clone(),
        trust,
        plan,
        records,
        account_files,
        probes,
        checkers,
        services,
    })
}

/// What cannot be written is found before anything is. A certificate is only read where one is there.
fn can_be_written<'a>(
    plan: &'a Plan,
    of_accounts: impl Iterator<Item = &'a File>,
    site: &Site,
    facts: &Facts,
) -> anyhow::Result<()> {
    let is_read_only = |volume: &&str| *volume != CERTIFICATE_DIRECTORY && facts.read_only.contains(Path::new(volume));
    if let Some(volume) = site.volumes().find(is_read_only) {
        bail!("{volume} is read-only, but is written by a running server: mount it without :ro (readOnly)");
    }
    let written = plan.files.iter().chain(of_accounts).map(|file| &file.path);
    let written = written.chain(plan.drop_ins.iter().map(|(file, _)| file));
    let Some(path) = written.into_iter().find(|path| facts.mounts.contains(*path)) else {
        return Ok(());
    };
    let drop_ins = plan.drop_ins.iter().find(|(file, _)| file == path);
    let instead = match drop_ins {
        Some((_, directory)) => format!("mount a file with your own settings into {}", directory.display()),
        None => "mount your own file at another path".to_owned(),
    };
    bail!(
        "{} is mounted from outside, but is written at every start: {instead} instead",
        path.display()
    )
}

/// Nothing of our own environment reaches the daemons: it may hold secrets.
fn daemon_environment(site: &Site) -> Vec<(String, String)> {
    // The C library reads no file for UTC0. That of UTC may hold another zone: what docker mounts at /etc/localtime lies
    // where that link leads.
    let time_zone = match site.time_zone.as_str() {
        "UTC" => "UTC0",
        zone => zone,
    };
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TZ", time_zone),
        // resolv.conf(5): a DNS that does not answer holds up a greeting for 2 s, not for 10 s.
        ("RES_OPTIONS", "timeout:1 attempts:2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests;
