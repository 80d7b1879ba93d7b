//! The second step: from what was read to everything that shall be. Pure but for random salts of passwords.

use std::path::PathBuf;

use super::notices::{self, Notices};
use super::read::Read;
use crate::accounts;
use crate::daemon::{Basis, Checker, Part};
use crate::health::Named;
use crate::layout::{PRIMARY_DOMAIN_RECORD, PROBE_ADDRESS};
use crate::plan::{File, Plan};
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
    /// What is asked by the health check, unless the settings close it.
    pub probes: Vec<Named>,
    /// The daemons' own checkers.
    pub checkers: Vec<Box<dyn Checker>>,
    /// What is kept running.
    pub services: Vec<Service>,
    /// What is never shown.
    pub secrets: Secrets,
    /// What a user should know.
    pub notices: Notices,
    /// What daemons read at their start alone: its name, and a value to compare.
    pub read_at_start: Vec<(&'static str, String)>,
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
        ..
    } = read;
    let trust = Trust::decide(site, facts);
    let accounts = accounts::test_accounts(&site.domain, &facts.hashes).map_err(anyhow::Error::msg)?;
    let environment = daemon_environment(site);
    let basis = Basis {
        site,
        facts,
        trust: &trust,
        accounts: &accounts,
        environment: &environment,
    };
    let (mut plan, mut probes) = (Plan::default(), Vec::new());
    let (mut checkers, mut services) = (Vec::new(), Vec::new());
    for daemon in configured {
        let part: Part = daemon.part(&basis)?;
        plan.extend(part.plan);
        probes.extend(part.probes);
        checkers.push(part.checker);
        services.extend(part.service);
    }
    plan.files.push(File::public(
        PathBuf::from(PRIMARY_DOMAIN_RECORD),
        format!("{}\n", site.domain),
    ));
    plan.protect(secrets);
    let name_is_missing = !facts.probe_is_named && facts.hosts_can_be_written;
    Ok(Desired {
        notices: notices::of(read, &trust, &accounts),
        read_at_start: configured
            .iter()
            .filter_map(|daemon| daemon.read_at_start(site))
            .collect(),
        host_name: name_is_missing.then_some((PROBE_ADDRESS, "healthcheck")),
        site: site.clone(),
        secrets: secrets.clone(),
        trust,
        plan,
        probes,
        checkers,
        services,
    })
}

/// Nothing of our own environment reaches the daemons: it may hold secrets.
fn daemon_environment(site: &Site) -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TZ", site.time_zone.as_str()),
        // resolv.conf(5): a DNS that does not answer holds up a greeting for 2 s, not for 10 s.
        ("RES_OPTIONS", "timeout:1 attempts:2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests;
