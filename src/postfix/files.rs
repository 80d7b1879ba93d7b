//! Postfix's files and directories: main.cf and master.cf from their templates and the settings, the tables, the queue.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::master_cf::{self, Service};
use super::master_settings::{Change, MasterSetting, applied};
use super::settings::Settings;
use super::user_tables::UserFiles;
use super::{META_DIRECTORY, main_cf, tables};
use crate::daemon::Basis;
use crate::layout::{
    CERTIFICATE, KEY, MAIL_DIRECTORY, POSTFIX_CONFIG_DIRECTORY, QUEUE_DIRECTORY, RELAY_LOGIN, RUN_DIRECTORY, VMAIL_UID,
};
use crate::plan::{File, Plan};
use crate::site::{Protocols, Site};
use crate::system::files::Owner;
use crate::templates;
use crate::trust::Trust;

const POSTFIX: Owner = Owner {
    user: "postfix",
    group: "root",
};
/// What Postfix's daemons make in the queues.
const MESSAGES: Owner = Owner {
    user: "postfix",
    group: "postfix",
};
const POSTDROP: Owner = Owner {
    user: "postfix",
    group: "postdrop",
};

/// Directories of the queue, as `postfix set-permissions` makes them (postfix-files).
const PRIVATE_QUEUES: [&str; 12] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace", "dev",
];

/// Those that hold messages and what is known of them. What lies in `maildrop` belongs to the user who wrote it.
const MESSAGE_QUEUES: [&str; 9] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "trace",
];

/// All files and directories of Postfix.
pub(super) fn plan(
    settings: &Settings,
    files: &UserFiles,
    services: &[Service],
    basis: &Basis,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    directories(&mut plan);
    let config = PathBuf::from(POSTFIX_CONFIG_DIRECTORY);
    let (accounts, domain) = (basis.accounts, &basis.site.domain);
    plan.table(config.join("vmailbox"), &tables::mailboxes(domain, accounts));
    plan.table(config.join("virtual"), &tables::aliases(accounts));
    plan.table(config.join("sender_login"), &tables::sender_logins(accounts));
    let relay = &settings.relay;
    if !relay.username.is_empty() {
        let login = (relay.host.clone(), format!("{}:{}", relay.username, relay.password));
        plan.table(RELAY_LOGIN.into(), &[login]);
    }
    plan.files.push(File::public(
        config.join("sender_login.regexp"),
        tables::sender_login_patterns(accounts),
    ));
    plan.files.push(File::public(
        master_cf_file(),
        master_cf_text(services, &settings.master),
    ));
    plan.files.push(File::public(
        main_cf_file(),
        main_cf_text(settings, basis.site, basis.trust)?,
    ));
    plan.referenced.clone_from(&files.referenced);
    Ok(plan)
}

pub(super) fn master_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("master.cf")
}

pub(super) fn main_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("main.cf")
}

fn data_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("postfix")
}

fn directories(plan: &mut Plan) {
    plan.directory(POSTFIX_CONFIG_DIRECTORY, Owner::ROOT, 0o755);
    // `postfix check` complains of any other owner, also of what an older image left.
    plan.tree(POSTFIX_CONFIG_DIRECTORY, Owner::ROOT, false);
    plan.directory(data_directory(), POSTFIX, 0o700);
    let queue = Path::new(QUEUE_DIRECTORY);
    plan.directory(queue, Owner::ROOT, 0o755);
    plan.directory(queue.join("pid"), Owner::ROOT, 0o755);
    for name in PRIVATE_QUEUES {
        let owner = if name == "dev" { Owner::ROOT } else { POSTFIX };
        let mode = if name == "dev" { 0o755 } else { 0o700 };
        plan.directory(queue.join(name), owner, mode);
    }
    for name in MESSAGE_QUEUES {
        plan.tree(queue.join(name), MESSAGES, false);
    }
    plan.directory(queue.join("maildrop"), POSTDROP, 0o730);
    plan.directory(queue.join("public"), POSTDROP, 0o710);
}

/// What fills the template.
#[derive(Serialize)]
struct MainCf<'a> {
    hostname: &'a str,
    domain: &'a str,
    data_directory: PathBuf,
    meta_directory: &'a str,
    config_directory: &'a str,
    mail_directory: &'a str,
    protocols: &'a str,
    mynetworks: String,
    mynetworks_origin: Option<&'a str>,
    vmail_uid: u32,
    certificate: &'a str,
    key: &'a str,
    relay_login: bool,
}

/// The whole of main.cf.
fn main_cf_text(settings: &Settings, site: &Site, trust: &Trust) -> anyhow::Result<String> {
    let values = MainCf {
        hostname: &site.hostname,
        domain: &site.domain,
        data_directory: data_directory(),
        meta_directory: META_DIRECTORY,
        config_directory: POSTFIX_CONFIG_DIRECTORY,
        mail_directory: MAIL_DIRECTORY,
        protocols: match site.protocols {
            Protocols::Ipv4 => "ipv4",
            Protocols::Ipv6 => "ipv6",
            Protocols::All => "all",
        },
        mynetworks: trust.mynetworks(),
        mynetworks_origin: settings.networks_origin.as_deref(),
        vmail_uid: VMAIL_UID,
        certificate: CERTIFICATE,
        key: KEY,
        relay_login: settings.relay_login(),
    };
    let rendered = templates::render("main.cf", main_cf::TEMPLATE, &values)?;
    Ok(main_cf::with_parameters(&rendered, &settings.parameters))
}

/// What fills the template.
#[derive(Serialize)]
struct MasterCf {
    /// Right-aligned like the other columns.
    delivery_processes: String,
}

/// The services as they shall run: the template's, with the changes of the environment, and with those of drop-in files in
/// place of them or beside them.
pub(super) fn services(settings: &Settings) -> anyhow::Result<Vec<Service>> {
    let delivery_processes = match settings.relay.processes {
        0 => "-".to_owned(),
        limit => limit.to_string(),
    };
    let rendered = templates::render("master.cf", master_cf::TEMPLATE, &MasterCf { delivery_processes })?;
    let services =
        master_cf::parse(&rendered).map_err(|(line, reason)| anyhow::anyhow!("template master.cf:{line}: {reason}"))?;
    Ok(applied(services, &settings.master, &settings.services))
}

/// The whole of master.cf.
fn master_cf_text(services: &[Service], master: &[MasterSetting]) -> String {
    let header = master_cf::TEMPLATE
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"));
    let off = master.iter().filter(|setting| setting.change == Change::Off);
    let off = off.map(|setting| format!("# off: {}\n", setting.variable));
    header
        .chain(off)
        .chain(services.iter().map(Service::to_string))
        .collect()
}
