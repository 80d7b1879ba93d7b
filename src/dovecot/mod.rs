//! All that is known of Dovecot: its files, how it is started and stopped.

pub mod service;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accounts::{Account, Hashes};
use crate::layout::{
    AUTH_SOCKET, CERTIFICATE, DOVECOT_RUN_DIRECTORY, KEY, LMTP_SOCKET, MAIL_DIRECTORY, RUN_DIRECTORY, VMAIL_UID,
};
use crate::plan::{File, Plan, TABLE_HEADER};
use crate::render::render;
use crate::settings::DropIn;
use crate::settings::Settings;
use crate::settings::dovecot::{DovecotSetting, unquoted};
use crate::sources;
use crate::system::files::Owner;
use crate::trust::Trust;

const DOVECOT_GROUP: Owner = Owner {
    user: "root",
    group: "dovecot",
};

/// The configuration; /etc/dovecot/dovecot.conf is a link to it.
pub fn config_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/dovecot.conf")
}

/// Where a drop-in file is copied to, so that Dovecot reads what was checked.
pub fn drop_in(path: &Path) -> PathBuf {
    drop_in_directory().join(path.file_name().unwrap_or_default())
}

/// The accounts (Dovecot docs, "Passwd-file").
pub fn users_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/users")
}

/// Logins that nobody may make, as `protocol-secured-from`: without TLS from the container's own address.
fn refused_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/refused")
}

/// The hashes among the accounts.
pub fn kept_hashes() -> Hashes {
    Hashes::from_passwd_file(&std::fs::read_to_string(users_file()).unwrap_or_default())
}

fn drop_in_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/conf.d")
}

fn state_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/state")
}

/// All files and directories of Dovecot, mailboxes included.
pub fn plan(settings: &Settings, trust: &Trust, accounts: &[Account]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    plan.directory(config_file().parent().unwrap_or(Path::new("/")), Owner::ROOT, 0o755);
    plan.directory(drop_in_directory(), Owner::ROOT, 0o755);
    plan.directory(state_directory(), Owner::ROOT, 0o755);
    plan.directory(DOVECOT_RUN_DIRECTORY, Owner::ROOT, 0o755);
    mailboxes(&mut plan, settings, accounts);
    let users = users(settings, trust, accounts);
    plan.files.push(File {
        path: users_file(),
        bytes: users.into_bytes(),
        owner: DOVECOT_GROUP,
        mode: 0o640,
    });
    if !trust.itself {
        let refused = format!("{TABLE_HEADER}imap-secured-itself:\npop3-secured-itself:\n");
        plan.files.push(File::public(refused_file(), refused));
    }
    for file in &settings.dovecot_files {
        plan.files.push(File::public(drop_in(&file.path), file.text.clone()));
    }
    plan.files.push(File::public(config_file(), config(settings, trust)?));
    Ok(plan)
}

/// The Maildirs of all accounts, there from the start and not only from the first message on.
fn mailboxes(plan: &mut Plan, settings: &Settings, accounts: &[Account]) {
    plan.directory(MAIL_DIRECTORY, Owner::VMAIL, 0o755);
    for account in accounts {
        let home = account.home(&settings.domain);
        if account.domain != settings.domain {
            plan.directory(Path::new(MAIL_DIRECTORY).join(&account.domain), Owner::VMAIL, 0o700);
        }
        for path in [home.clone(), home.join("Maildir")] {
            plan.directory(path, Owner::VMAIL, 0o700);
        }
        plan.tree(home.clone(), Owner::VMAIL, true);
        for part in ["cur", "new", "tmp"] {
            plan.directory(home.join("Maildir").join(part), Owner::VMAIL, 0o700);
        }
    }
}

#[derive(Serialize)]
struct Config<'a> {
    hostname: &'a str,
    domain: &'a str,
    listen: &'a str,
    state_directory: PathBuf,
    mail_directory: &'a str,
    vmail_uid: u32,
    users: PathBuf,
    refused: Option<PathBuf>,
    trusted: Vec<String>,
    certificate: &'a str,
    key: &'a str,
    auth_socket: &'a str,
    lmtp_socket: &'a str,
}

fn config(settings: &Settings, trust: &Trust) -> anyhow::Result<String> {
    let values = Config {
        hostname: &settings.hostname,
        domain: &settings.domain,
        listen: match settings.protocols.as_str() {
            "ipv4" => "*",
            "ipv6" => "::",
            _ => "*, ::",
        },
        state_directory: state_directory(),
        mail_directory: MAIL_DIRECTORY,
        vmail_uid: VMAIL_UID,
        users: users_file(),
        refused: (!trust.itself).then(refused_file),
        trusted: trust.cidrs().iter().map(ToString::to_string).collect(),
        certificate: CERTIFICATE,
        key: KEY,
        auth_socket: AUTH_SOCKET,
        lmtp_socket: LMTP_SOCKET,
    };
    let mut text = render("dovecot.conf", include_str!("../../templates/dovecot.conf"), &values)?;
    if !settings.dovecot.is_empty() || !settings.dovecot_files.is_empty() {
        text.push_str(OWN_SETTINGS);
        text.extend(settings.dovecot.iter().map(DovecotSetting::lines));
    }
    let include = |file: &DropIn| format!("!include {}\n", drop_in(&file.path).display());
    text.extend(settings.dovecot_files.iter().map(include));
    Ok(text)
}

/// What comes behind this is the user's.
const OWN_SETTINGS: &str = "\n# Settings that are set\n";

/// A place in a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

/// The place that doveconf(1) names, and what it says of it: `Error in configuration file PATH line N: …`.
pub fn place_of(said: &str) -> Option<(Place, String)> {
    let rest = said.strip_prefix("Error in configuration file ")?;
    let (place, what) = rest.split_once(": ")?;
    let (path, line) = place.rsplit_once(" line ")?;
    let place = Place {
        path: PathBuf::from(path),
        line: line.parse().ok()?,
    };
    Some((place, what.to_owned()))
}

/// The variable above a line of dovecot.conf, and the value in the line.
pub fn variable_at(config: &str, line: usize) -> Option<(String, String)> {
    let line_at = |number: usize| config.lines().nth(number.checked_sub(1)?);
    let variable = line_at(line.checked_sub(1)?)?.trim().strip_prefix("# DOVECOT_")?;
    let value = line_at(line)?.split_once(" =").map_or("", |(_, value)| value.trim());
    Some((format!("DOVECOT_{variable}"), unquoted(value)))
}

/// Dovecot's listeners for mail clients: protocol, name, port.
const LISTENERS: [(&str, &str, u16); 4] = [
    ("imap", "imap", 143),
    ("imap", "imaps", 993),
    ("pop3", "pop3", 110),
    ("pop3", "pop3s", 995),
];

/// The ports that a configuration closes, as `doveconf -n` shows it: by `protocols`, by `ssl`, or by another port.
pub fn closed_ports(shown: &str) -> Vec<u16> {
    let mut blocks: Vec<&str> = Vec::new();
    let mut closed = Vec::new();
    for line in shown.lines().map(str::trim) {
        if let Some(block) = line.strip_suffix(" {") {
            blocks.push(block);
        } else if line == "}" {
            blocks.pop();
        } else if let Some((name, value)) = line.split_once(" = ") {
            let block = blocks.last().copied().unwrap_or_default();
            let leaves_out = |(protocol, listener, port): &(&str, &str, u16)| match (block, name) {
                ("", "protocols") => !value.split_whitespace().any(|served| served == *protocol),
                ("", "ssl") => value == "no" && listener.ends_with('s'),
                ("protocols", _) => name == *protocol && value == "no",
                (_, "port") => block.strip_prefix("inet_listener ") == Some(listener) && value != port.to_string(),
                _ => false,
            };
            closed.extend(
                LISTENERS
                    .iter()
                    .filter(|listener| leaves_out(listener))
                    .map(|(.., port)| *port),
            );
        }
    }
    closed
}

/// The name in `…: Unknown setting: NAME`, behind which may stand in brackets where else it was looked for.
pub fn unknown_setting(what: &str) -> Option<String> {
    let (_, name) = what.rsplit_once("Unknown setting: ")?;
    let name = name.split(" (").next().unwrap_or(name);
    Some(name.rsplit('/').next().unwrap_or(name).trim().to_owned())
}

/// The drop-in file of which this is the copy.
pub fn source_of_drop_in(copy: &Path) -> PathBuf {
    Path::new(sources::DROP_INS)
        .join("dovecot.d")
        .join(copy.file_name().unwrap_or_default())
}

/// The configuration without what is the user's.
pub fn template_part(config: &str) -> &str {
    config.split_once(OWN_SETTINGS).map_or(config, |(template, _)| template)
}

/// `address:hash:uid:gid:gecos:home:shell:extra fields`. `local` in allow_nets stands for logins without an address,
/// such as those of `doveadm auth test`.
fn users(settings: &Settings, trust: &Trust, accounts: &[Account]) -> String {
    let networks: Vec<String> = trust.cidrs().iter().map(ToString::to_string).collect();
    let line = |account: &Account| {
        let (address, hash, home) = (account.address(), &account.hash, account.home(&settings.domain));
        let extra = if account.trusted_networks_only {
            format!("allow_nets={},local", networks.join(","))
        } else {
            String::new()
        };
        format!(
            "{address}:{hash}:{VMAIL_UID}:{VMAIL_UID}::{}::{extra}\n",
            home.display()
        )
    };
    std::iter::once(TABLE_HEADER.to_owned())
        .chain(accounts.iter().map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_ports_are_known() {
        assert_eq!(closed_ports("protocols {\n  imap = yes\n  pop3 = no\n}\n"), [110, 995]);
        assert_eq!(closed_ports("protocols = pop3 lmtp\nssl = no\n"), [143, 993, 993, 995]);
        let ports = "service pop3-login {\n  inet_listener pop3 {\n    port = 0\n  }\n  inet_listener pop3s {\n    port = 995\n  }\n}\n";
        assert_eq!(closed_ports(ports), [110]);
        assert!(closed_ports("remote 10.0.0.0/8 {\n  ssl = no\n}\n").is_empty());
    }
}
