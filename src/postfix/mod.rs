//! All that is known of Postfix: its parameters, its files, how it is started and stopped.

pub mod main_cf;
pub mod master_cf;
pub mod parameters;
pub mod service;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::master_cf::Service;
use crate::accounts::{ADMINISTRATOR_ALIASES, Account, Role};
use crate::layout::{
    CERTIFICATE, KEY, MAIL_DIRECTORY, POSTFIX_CONFIG_DIRECTORY, QUEUE_DIRECTORY, RELAY_LOGIN, RUN_DIRECTORY, VMAIL_UID,
};
use crate::plan::{File, Plan, TABLE_HEADER};
use crate::render::render;
use crate::settings::master::{Change, applied};
use crate::settings::{Credentials, Settings};
use crate::system::files::Owner;
use crate::trust::Trust;

/// Pristine meta files (dynamicmaps.cf, postfix-files) and a main.cf with nothing in it, filled when the image is
/// built: /etc/postfix is a volume and may be empty, or another image's.
pub const META_DIRECTORY: &str = "/usr/share/mailroom/postfix";

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

/// Those that hold messages and what is known of them. What lies in `maildrop` belongs to whoever wrote it.
const MESSAGE_QUEUES: [&str; 9] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "trace",
];

/// All files and directories of Postfix.
pub fn plan(settings: &Settings, trust: &Trust, accounts: &[Account]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    directories(&mut plan);
    let config = PathBuf::from(POSTFIX_CONFIG_DIRECTORY);
    plan.table(config.join("vmailbox"), &mailboxes(settings, accounts));
    plan.table(config.join("virtual"), &aliases(accounts));
    plan.table(config.join("sender_login"), &sender_logins(accounts));
    if let Some(Credentials { username, password }) = &settings.relay_credentials {
        let login = (settings.relayhost.clone(), format!("{username}:{password}"));
        plan.table(RELAY_LOGIN.into(), &[login]);
    }
    plan.files.push(File::public(
        config.join("sender_login.regexp"),
        sender_login_patterns(accounts),
    ));
    plan.files.push(File::public(master_cf_file(), master_cf(settings)?));
    plan.files.push(File::public(main_cf_file(), main_cf(settings, trust)?));
    Ok(plan)
}

fn master_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("master.cf")
}

fn main_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("main.cf")
}

fn directories(plan: &mut Plan) {
    plan.directory(POSTFIX_CONFIG_DIRECTORY, Owner::ROOT, 0o755);
    // `postfix check` complains of anybody else's, also of what an older image left.
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

fn data_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("postfix")
}

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
    mynetworks_set: bool,
    vmail_uid: u32,
    certificate: &'a str,
    key: &'a str,
    relay_login: bool,
}

fn main_cf(settings: &Settings, trust: &Trust) -> anyhow::Result<String> {
    let values = MainCf {
        hostname: &settings.hostname,
        domain: &settings.domain,
        data_directory: data_directory(),
        meta_directory: META_DIRECTORY,
        config_directory: POSTFIX_CONFIG_DIRECTORY,
        mail_directory: MAIL_DIRECTORY,
        protocols: &settings.protocols,
        mynetworks: trust.mynetworks(),
        mynetworks_set: settings.networks.is_some(),
        vmail_uid: VMAIL_UID,
        certificate: CERTIFICATE,
        key: KEY,
        relay_login: settings.relay_login,
    };
    let rendered = render("main.cf", main_cf::TEMPLATE, &values)?;
    Ok(main_cf::with_parameters(&rendered, &settings.parameters))
}

#[derive(Serialize)]
struct MasterCf {
    /// Right-aligned like the other columns.
    delivery_processes: String,
}

/// The template's services, with the changes of the environment, and with those of drop-in files in place of them or
/// beside them.
fn master_cf(settings: &Settings) -> anyhow::Result<String> {
    let delivery_processes = settings
        .delivery_processes
        .map_or("-".to_owned(), |limit| limit.to_string());
    let rendered = render("master.cf", master_cf::TEMPLATE, &MasterCf { delivery_processes })?;
    let services =
        master_cf::parse(&rendered).map_err(|(line, reason)| anyhow::anyhow!("template master.cf:{line}: {reason}"))?;
    let services = applied(services, &settings.master, &settings.services);
    let header = rendered
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"));
    let off = settings.master.iter().filter(|setting| setting.change == Change::Off);
    let off = off.map(|setting| format!("# off: {}\n", setting.variable));
    Ok(header
        .chain(off)
        .chain(services.iter().map(Service::to_string))
        .collect())
}

/// virtual_mailbox_maps: the Maildir below virtual_mailbox_base; the slash at the end makes it one (virtual(8)).
fn mailboxes(settings: &Settings, accounts: &[Account]) -> Vec<(String, String)> {
    let maildir = |account: &Account| {
        let home = account.home(&settings.domain);
        let relative = home.strip_prefix(MAIL_DIRECTORY).unwrap_or(&home).display().to_string();
        format!("{relative}/Maildir/")
    };
    accounts
        .iter()
        .map(|account| (account.address(), maildir(account)))
        .collect()
}

/// virtual_alias_maps: the administrator's roles.
fn aliases(accounts: &[Account]) -> Vec<(String, String)> {
    let administrators = accounts.iter().filter(|account| account.role == Role::Administrator);
    administrators
        .flat_map(|account| {
            ADMINISTRATOR_ALIASES.map(|alias| (format!("{alias}@{}", account.domain), account.address()))
        })
        .collect()
}

/// smtpd_sender_login_maps: who owns which sender address. The login is what SASL returns, the full address.
fn sender_logins(accounts: &[Account]) -> Vec<(String, String)> {
    accounts
        .iter()
        .map(|account| (account.address(), account.address()))
        .chain(aliases(accounts))
        .collect()
}

/// Owners that a plain table cannot express: any address for the relay role, `user+detail` for its user.
///
/// The first match ends a regexp table, so each line names all its owners, and the one for all addresses comes last.
fn sender_login_patterns(accounts: &[Account]) -> String {
    let relays: Vec<String> = accounts
        .iter()
        .filter(|account| account.role == Role::Relay)
        .map(Account::address)
        .collect();
    let with_relays = |address: String| {
        std::iter::once(address)
            .chain(relays.iter().cloned())
            .collect::<Vec<_>>()
    };
    let detail = |account: &Account| {
        let pattern = format!(
            "/^{}\\+[^@]*@{}$/",
            escape_pattern(&account.name),
            escape_pattern(&account.domain)
        );
        format!("{pattern} {}\n", with_relays(account.address()).join(", "))
    };
    let details = accounts
        .iter()
        .filter(|account| account.role != Role::Relay)
        .map(detail);
    let any = (!relays.is_empty()).then(|| format!("/^/ {}\n", relays.join(", ")));
    std::iter::once(TABLE_HEADER.to_owned())
        .chain(details)
        .chain(any)
        .collect()
}

fn escape_pattern(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] })
        .collect()
}
