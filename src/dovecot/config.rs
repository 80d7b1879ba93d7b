//! dovecot.conf: the template, then the settings of the environment, then the drop-in files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::settings::{DovecotSetting, Settings, unquoted};
use super::{
    drop_in, external, login_policy_file, refused_file, refuses_itself, sieve, state_directory, unknown_file, users,
};
use crate::accounts::password;
use crate::daemon::Basis;
use crate::facts::Facts;
use crate::layout::{
    AUTH_SOCKET, CERTIFICATE, KEY, LAST_LOGIN, LMTP_SOCKET, LOGIN_POLICY_SERVER, MAIL_DIRECTORY, PROGRAM, QUOTA_SOCKET,
    USERS_FILE, VMAIL_UID,
};
use crate::plan::TABLE_HEADER;
use crate::probes::HEALTH;
use crate::settings::{DropIn, Values};
use crate::site::{MAILBOXES, Protocols};
use crate::templates;

#[derive(Serialize)]
struct Config<'a> {
    hostname: &'a str,
    domain: &'a str,
    listen: &'a str,
    state_directory: PathBuf,
    mail_directory: &'a str,
    last_login: String,
    vmail_uid: u32,
    users: &'a str,
    unknown: PathBuf,
    unknown_hashes: usize,
    auth_memory: u32,
    refused: Option<PathBuf>,
    trusted: Vec<String>,
    certificate: &'a str,
    key: &'a str,
    auth_socket: &'a str,
    lmtp_socket: &'a str,
    delimiter: String,
    login_policy: Option<PathBuf>,
    mailboxes: bool,
    /// An account has a quota.
    quotas: bool,
    /// How far the last message may go over it, in bytes.
    grace: u64,
    quota_socket: &'a str,
    program: &'a str,
    sieve: bool,
    /// Those of the site, in their order.
    scripts: Vec<PathBuf>,
    compiled: PathBuf,
    /// Where filters hand over what they send.
    submission: &'a str,
    /// `yes` or `no`.
    protocols: &'a str,
    directory: external::Lines,
    /// The protocol of the health check's logins.
    health: &'a str,
}

/// In MiB: what the most expensive hash takes, and room for a hundred thousand accounts.
const AUTH_MEMORY: u32 = password::MOST_MEMORY + 256;

/// More than any message has.
const NO_LIMIT: u64 = 1 << 40;

impl Config<'_> {
    /// What is the same everywhere.
    fn new() -> Config<'static> {
        Config {
            hostname: "",
            domain: "",
            listen: "",
            state_directory: state_directory(),
            mail_directory: MAIL_DIRECTORY,
            last_login: format!("%{{home}}/{LAST_LOGIN}"),
            vmail_uid: VMAIL_UID,
            users: USERS_FILE,
            unknown: unknown_file(),
            unknown_hashes: users::UNKNOWN,
            auth_memory: AUTH_MEMORY,
            refused: None,
            trusted: Vec::new(),
            certificate: CERTIFICATE,
            key: KEY,
            auth_socket: AUTH_SOCKET,
            lmtp_socket: LMTP_SOCKET,
            delimiter: String::new(),
            login_policy: None,
            mailboxes: true,
            quotas: false,
            grace: 0,
            quota_socket: QUOTA_SOCKET,
            program: PROGRAM,
            sieve: false,
            scripts: Vec::new(),
            compiled: sieve::compiled(),
            submission: "",
            protocols: "yes",
            directory: external::Lines::default(),
            health: HEALTH,
        }
    }

    /// Without mailboxes no protocol of theirs is served.
    fn with_mailboxes(self, mailboxes: bool) -> Self {
        let protocols = if mailboxes { "yes" } else { "no" };
        Config {
            mailboxes,
            protocols,
            ..self
        }
    }
}

fn filled(values: &Config) -> anyhow::Result<String> {
    templates::render("dovecot.conf", include_str!("../../templates/dovecot.conf"), values)
}

/// For the words of `POSTFIX_INET_PROTOCOLS`.
fn listens(protocols: &str) -> &'static str {
    match protocols {
        "ipv6" => "::",
        "all" => "*, ::",
        _ => "*",
    }
}

/// What the template says at the top: settings by their names.
#[derive(Debug, Default)]
pub(super) struct Written(BTreeMap<String, String>);

impl Written {
    /// For these variables of the table.
    pub(super) fn of(values: &Values) -> anyhow::Result<Written> {
        let value = |name: &str| values.entry(name).map_or("", |entry| entry.canonical.as_str());
        let text = filled(&Config {
            hostname: value("POSTFIX_MYHOSTNAME"),
            domain: value("POSTFIX_MYDOMAIN"),
            listen: listens(value("POSTFIX_INET_PROTOCOLS")),
            delimiter: delimiter(value("POSTFIX_RECIPIENT_DELIMITER")),
            ..Config::new().with_mailboxes(value(MAILBOXES) != "false")
        })?;
        let lines = text.lines().filter(|line| !line.starts_with([' ', '#']));
        let settings = lines.filter_map(|line| line.split_once(" = "));
        Ok(Written(
            settings
                .map(|(name, value)| (name.to_owned(), unquoted(value)))
                .collect(),
        ))
    }

    /// Whether a setting at the top has this value anyway; one that is not written has none.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.0.get(name).map_or("", String::as_str) == value
    }
}

/// The whole file.
pub(super) fn render(settings: &Settings, basis: &Basis) -> anyhow::Result<String> {
    let (site, trust) = (basis.site, basis.trust);
    let (certificate, key) = basis.facts.certificate.paths();
    let listen = match site.protocols {
        Protocols::Ipv4 => "ipv4",
        Protocols::Ipv6 => "ipv6",
        Protocols::All => "all",
    };
    let mut text = filled(&Config {
        hostname: &site.hostname,
        domain: &site.domain,
        listen: listens(listen),
        refused: refuses_itself(basis).then(refused_file),
        trusted: trust.cidrs().iter().map(ToString::to_string).collect(),
        certificate,
        key,
        delimiter: delimiter(&site.recipient_delimiter),
        quotas: basis.directory.has_quotas(site),
        grace: match site.message_size_limit {
            0 => NO_LIMIT,
            limit => limit,
        },
        sieve: site.sieve,
        scripts: settings
            .scripts
            .iter()
            .map(|script| sieve::copy(&script.path))
            .collect(),
        submission: match site.protocols {
            Protocols::Ipv6 => "[::1]:25",
            Protocols::Ipv4 | Protocols::All => "127.0.0.1:25",
        },
        login_policy: site.limits_logins().then(login_policy_file),
        directory: external::Lines::of(basis.directory.external, site),
        ..Config::new().with_mailboxes(site.mailboxes)
    })?;
    if !settings.given.is_empty() || !settings.files.is_empty() {
        text.push_str(OWN_SETTINGS);
        text.extend(settings.given.iter().map(DovecotSetting::lines));
    }
    let include = |file: &DropIn| format!("!include {}\n", drop_in(&file.path).display());
    text.extend(settings.files.iter().map(include));
    Ok(text)
}

/// What is asked about each login (Dovecot docs, "Authentication Policy"). No answer is a yes. The key is also what passwords are
/// hashed with; twelve bits of a hash are enough to know a password again.
pub(super) fn login_policy(facts: &Facts) -> String {
    let (address, secret) = (SocketAddr::from(LOGIN_POLICY_SERVER), &facts.login_policy_secret);
    format!(
        "{TABLE_HEADER}auth_policy_server_url = http://{address}/\nauth_policy_server_api_header = {secret}\n\
         auth_policy_hash_nonce = {secret}\nauth_policy_reject_on_fail = no\n"
    )
}

/// Signs that mean something in dovecot.conf stand in quotes.
fn delimiter(signs: &str) -> String {
    if signs.bytes().all(|sign| b"+-_.".contains(&sign)) && !signs.is_empty() {
        return signs.to_owned();
    }
    format!("\"{signs}\"")
}

/// What comes behind this is the user's.
const OWN_SETTINGS: &str = "\n# Settings that are set\n";

/// The configuration without what is the user's.
pub(super) fn template_part(config: &str) -> &str {
    config.split_once(OWN_SETTINGS).map_or(config, |(template, _)| template)
}
