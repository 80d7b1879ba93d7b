//! Postfix's files and directories: main.cf and master.cf from their templates and the settings, the tables, the queue.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::delivery::{self, Delivery};
use super::external::{self, Tables};
use super::main_cf::Given;
use super::master_cf::{self, Service};
use super::master_settings::{Change, MasterSetting, applied};
use super::parameters::{OURS, Parameters};
use super::settings::Settings;
use super::user_tables::UserFiles;
use super::{META_DIRECTORY, catch_all, main_cf, relay_only, submission_rate, tables};
use crate::daemon::Basis;
use crate::layout::{
    CERTIFICATE, KEY, MAIL_DIRECTORY, POSTFIX_CONFIG_DIRECTORY, POSTFIX_TABLES, QUEUE_DIRECTORY, RELAY_LOGIN,
    RUN_DIRECTORY, SUBMISSION_POLICY_SOCKET, VMAIL_UID,
};
use crate::plan::{File, Plan};
use crate::settings::Values;
use crate::settings::gather::DROP_INS;
use crate::site::{MAILBOXES, Protocols, Site};
use crate::system::files::Owner;
use crate::system::owners::Without;
use crate::templates;

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
const PRIVATE_QUEUES: [&str; 10] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "trace",
];

/// Those that hold messages and what is known of them. What lies in `maildrop` belongs to the user who wrote it.
const MESSAGE_QUEUES: [&str; 9] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "trace",
];

/// All files and directories of Postfix. `mailboxes` is where mail is kept, if not in each account's own mailbox.
pub(super) fn plan(
    settings: &Settings,
    files: &UserFiles,
    services: &[Service],
    mailboxes: Option<Given>,
    delivery: &Delivery,
    basis: &Basis,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    directories(&mut plan);
    let at = |name: &str| Path::new(POSTFIX_TABLES).join(name);
    let relay = &settings.relay;
    if !relay.username.is_empty() {
        let login = format!("{}:{}", relay.username, relay.password);
        let hosts = relay.host.split(", ");
        let logins: Vec<(String, String)> = hosts.map(|host| (host.to_owned(), login.clone())).collect();
        plan.secret_table(RELAY_LOGIN.into(), &logins);
    }
    external::add(&mut plan, basis.directory.external, basis.site);
    let delimiters = &basis.site.recipient_delimiter;
    if !delimiters.is_empty() {
        plan.files.push(File::public(
            at(tables::EXTENSION),
            tables::without_extension(delimiters),
        ));
    }
    plan.files
        .push(File::public(at(tables::WHOLE_DOMAIN), tables::whole_domain()));
    plan.files.push(File::public(
        master_cf_file(),
        master_cf_text(services, &settings.master),
    ));
    plan.files.push(File::public(
        main_cf_file(),
        without_unused(&main_cf_text(settings, mailboxes, delivery, basis)?, services, settings),
    ));
    for file in [main_cf_file(), master_cf_file()] {
        let drop_ins = drop_ins_of(&file);
        plan.drop_ins.push((file, drop_ins));
    }
    plan.referenced.clone_from(&files.referenced);
    Ok(plan)
}

pub(super) fn master_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("master.cf")
}

pub(super) fn main_cf_file() -> PathBuf {
    Path::new(POSTFIX_CONFIG_DIRECTORY).join("main.cf")
}

/// Such as /etc/mailroom/main.cf.d.
fn drop_ins_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Path::new(DROP_INS).join(format!("{name}.d"))
}

pub(super) fn data_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("postfix")
}

fn directories(plan: &mut Plan) {
    plan.directory(POSTFIX_CONFIG_DIRECTORY, Owner::ROOT, 0o755);
    // `postfix check` complains of any other owner, and of what others can write, also of what an older image left.
    let without = Without {
        directories: 0o022,
        files: 0o022,
    };
    plan.tree(POSTFIX_CONFIG_DIRECTORY, Owner::ROOT, without, false);
    plan.directory(POSTFIX_TABLES, Owner::ROOT, 0o755);
    plan.directory(data_directory(), POSTFIX, 0o700);
    let queue = Path::new(QUEUE_DIRECTORY);
    plan.directory(queue, Owner::ROOT, 0o755);
    plan.directory(queue.join("pid"), Owner::ROOT, 0o755);
    for name in PRIVATE_QUEUES {
        plan.directory(queue.join(name), POSTFIX, 0o700);
    }
    // No program uses them as this image runs Postfix.
    plan.optional_directory(queue.join("saved"), POSTFIX, 0o700);
    plan.optional_directory(queue.join("dev"), Owner::ROOT, 0o755);
    for name in MESSAGE_QUEUES {
        plan.tree(queue.join(name), MESSAGES, Without::default(), false);
    }
    plan.directory(queue.join("maildrop"), POSTDROP, 0o730);
    plan.directory(queue.join("public"), POSTDROP, 0o710);
}

/// What fills the template.
#[derive(Serialize)]
struct MainCf<'a> {
    hostname: &'a str,
    domain: &'a str,
    domains: String,
    data_directory: PathBuf,
    meta_directory: &'a str,
    tables: &'a str,
    submission_policy: &'a str,
    mail_directory: &'a str,
    protocols: &'a str,
    mynetworks: String,
    mynetworks_origin: Option<&'a str>,
    vmail_uid: u32,
    certificate: &'a str,
    key: &'a str,
    relay_login: bool,
    one_copy: bool,
    /// Tables of a directory, each with what comes before it.
    mailbox_maps: String,
    alias_maps: String,
    sender_login_maps: String,
    virtual_transport: String,
    host_lookup: &'a str,
    transport_maps: Option<String>,
    quota: Option<QuotaQuestion>,
}

/// Whether a mailbox has room.
#[derive(Serialize)]
struct QuotaQuestion {
    class: &'static str,
    policy: String,
    question: String,
}

/// Whether a parameter that Mailroom decides would be given what it has anyway.
pub(super) fn is_written(parameter: &str, value: &str, known: &Parameters, values: &Values) -> bool {
    let domain = values.entry("POSTFIX_MYDOMAIN").map(|entry| entry.canonical.as_str());
    let more = values
        .entry("MAILROOM_DOMAINS")
        .map_or("", |entry| entry.canonical.as_str());
    let domains: Vec<&str> = domain
        .into_iter()
        .chain(more.split(", "))
        .filter(|domain| !domain.is_empty())
        .collect();
    let filled = |text: &str| {
        text.replace("{{ domain }}", domain.unwrap_or("{{ domain }}"))
            .replace("{{ domains }}", &domains.join(", "))
            .replace("{{ data_directory }}", &data_directory().display().to_string())
            .replace("{{ meta_directory }}", META_DIRECTORY)
            .replace("{{ config_directory }}", POSTFIX_CONFIG_DIRECTORY)
            .replace("{{ mail_directory }}", MAIL_DIRECTORY)
            .replace("{{ vmail_uid }}", &VMAIL_UID.to_string())
            .replace("{{ virtual_transport }}", "virtual")
            .replace("{{ certificate }}", CERTIFICATE)
            .replace("{{ key }}", KEY)
    };
    let is_relay_only = values.entry(MAILBOXES).is_some_and(|entry| entry.canonical == "false");
    let relay_only = relay_only::written(parameter).filter(|_| is_relay_only);
    let written = match relay_only.or_else(|| main_cf::in_template(parameter)) {
        Some(text) => filled(text),
        None => known.default_of(parameter).to_owned(),
    };
    value.trim() == written
}

/// Restrictions of the mail clients' ports go with the last of these: postconf(1) objects to a parameter that nothing uses.
fn without_unused(text: &str, services: &[Service], settings: &Settings) -> String {
    let refers = |name: &str| {
        let options = services.iter().flat_map(|service| &service.options);
        let given = settings.parameters.values().map(|given| &given.value);
        let mut values = options.map(|(_, value)| value).chain(given);
        values.any(|value| main_cf::refers(value, name))
    };
    let is_unused = |line: &&str| {
        let name = line.split_once('=').map(|(name, _)| name.trim());
        name.is_some_and(|name| OURS.contains(&name) && !refers(name))
    };
    let unused: Vec<usize> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_unused(line))
        .map(|(at, _)| at)
        .collect();
    let origin = |at: usize, line: &str| line.starts_with("# POSTFIX_") && unused.contains(&(at + 1));
    let kept = text
        .lines()
        .enumerate()
        .filter(|(at, line)| !unused.contains(at) && !origin(*at, line));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// `virtual_mailbox_domains`.
pub(super) fn mailbox_domains(site: &Site) -> String {
    site.mailbox_domains().collect::<Vec<_>>().join(", ")
}

/// The whole of main.cf.
fn main_cf_text(
    settings: &Settings,
    mailboxes: Option<Given>,
    delivery: &Delivery,
    basis: &Basis,
) -> anyhow::Result<String> {
    let (site, trust, directory) = (basis.site, basis.trust, basis.directory);
    let (certificate, key) = basis.facts.certificate.paths();
    let external = Tables::of(directory.external, site);
    let values = MainCf {
        hostname: &site.hostname,
        domain: &site.domain,
        domains: mailbox_domains(site) + &listed(&external.domains),
        mailbox_maps: listed(&external.mailboxes),
        alias_maps: listed(&external.aliases),
        sender_login_maps: tables::sender_login_maps(&external, &site.recipient_delimiter),
        virtual_transport: delivery.transport(),
        data_directory: data_directory(),
        meta_directory: META_DIRECTORY,
        tables: POSTFIX_TABLES,
        submission_policy: SUBMISSION_POLICY_SOCKET,
        mail_directory: MAIL_DIRECTORY,
        protocols: match site.protocols {
            Protocols::Ipv4 => "ipv4",
            Protocols::Ipv6 => "ipv6",
            Protocols::All => "all",
        },
        mynetworks: trust.mynetworks(),
        mynetworks_origin: settings.networks_origin.as_deref(),
        vmail_uid: VMAIL_UID,
        certificate,
        key,
        relay_login: settings.relay_login(),
        one_copy: (!directory.aliases.is_empty() || directory.external.is_some()) && site.catch_all().is_none(),
        host_lookup: host_lookup(settings),
        transport_maps: (!delivery.delivered.is_empty()).then(delivery::transport_maps),
        quota: delivery.question().map(|question| QuotaQuestion {
            class: delivery::CLASS,
            policy: delivery::policy(),
            question,
        }),
    };
    let rendered = templates::render("main.cf", main_cf::TEMPLATE, &values)?;
    let mut parameters = settings.parameters.clone();
    // The user's own come first.
    if let Some(given) = parameters.get_mut("virtual_alias_maps").filter(|_| site.mailboxes) {
        given.value.push_str(&listed(&external.aliases));
    }
    parameters.extend(mailboxes.map(|maps| ("virtual_mailbox_maps".to_owned(), maps)));
    // What is asked for may be more than this machine has.
    if let Some(given) = parameters.get_mut("inet_protocols") {
        values.protocols.clone_into(&mut given.value);
    }
    Ok(main_cf::with_parameters(&rendered, &parameters))
}

/// Tables behind others.
fn listed(tables: &[String]) -> String {
    tables.iter().map(|table| format!(", {table}")).collect()
}

/// Signatures of DNS (DNSSEC) reach Postfix by its own look-up alone.
fn host_lookup(settings: &Settings) -> &'static str {
    let level = settings.parameters.get("smtp_dns_support_level");
    if level.is_some_and(|given| given.value == "dnssec") {
        "dns, native"
    } else {
        "native"
    }
}

/// What fills the template.
#[derive(Serialize)]
struct MasterCf {
    /// Right-aligned like the other columns.
    delivery_processes: String,
}

/// The services as they shall run: the template's, with the changes of the environment, and with those of drop-in files in
/// place of them or beside them; and with none that sends where all mail is kept.
pub(super) fn services(settings: &Settings, site: &Site) -> anyhow::Result<Vec<Service>> {
    let delivery_processes = match settings.relay.processes {
        0 => "-".to_owned(),
        limit => limit.to_string(),
    };
    let rendered = templates::render("master.cf", master_cf::TEMPLATE, &MasterCf { delivery_processes })?;
    let services =
        master_cf::parse(&rendered).map_err(|(line, reason)| anyhow::anyhow!("template master.cf:{line}: {reason}"))?;
    let mut services = applied(services, &settings.master, &settings.services);
    if !settings.parameters.contains_key(SENDERS) {
        services.iter_mut().for_each(check_senders);
    }
    if site.submission_rate.is_some() {
        submission_rate::apply(&mut services, settings);
    }
    if site.catch_all().is_some() {
        catch_all::keep_in(&mut services);
    }
    Ok(services)
}

const SENDERS: &str = "smtpd_sender_restrictions";

/// Logins send under addresses of their own wherever a user switches them on: as a rule of main.cf this would make a line in the
/// log for each message of services without logins.
fn check_senders(service: &mut Service) {
    let has = |name: &str, value: Option<&str>| {
        let mut options = service.options.iter();
        options.any(|(there, set)| there == name && value.is_none_or(|value| set == value))
    };
    if service.program == "smtpd" && has("smtpd_sasl_auth_enable", Some("yes")) && !has(SENDERS, None) {
        let restrictions = "$mua_sender_restrictions".to_owned();
        service.options.push((SENDERS.to_owned(), restrictions));
    }
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
