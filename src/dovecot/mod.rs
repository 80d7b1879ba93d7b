//! All that is known of Dovecot: its files, how it is started and stopped.

pub mod service;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accounts::Account;
use crate::layout::{AUTH_SOCKET, CERTIFICATE, DOVECOT_RUN_DIRECTORY, KEY, MAIL_DIRECTORY, RUN_DIRECTORY, VMAIL_UID};
use crate::plan::{File, Plan, TABLE_HEADER};
use crate::render::render;
use crate::settings::Settings;
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

/// The accounts (Dovecot docs, "Passwd-file").
pub fn users_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/users")
}

fn state_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/state")
}

/// All files and directories of Dovecot, mailboxes included.
pub fn plan(settings: &Settings, trust: &Trust, accounts: &[Account]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    plan.directory(config_file().parent().unwrap_or(Path::new("/")), Owner::ROOT, 0o755);
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
        for part in ["cur", "new", "tmp"] {
            plan.directory(home.join("Maildir").join(part), Owner::VMAIL, 0o700);
        }
    }
}

#[derive(Serialize)]
struct Config<'a> {
    domain: &'a str,
    listen: &'a str,
    state_directory: PathBuf,
    mail_directory: &'a str,
    vmail_uid: u32,
    users: PathBuf,
    trusted: Vec<String>,
    certificate: &'a str,
    key: &'a str,
    auth_socket: &'a str,
}

fn config(settings: &Settings, trust: &Trust) -> anyhow::Result<String> {
    let values = Config {
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
        trusted: trust.cidrs().iter().map(ToString::to_string).collect(),
        certificate: CERTIFICATE,
        key: KEY,
        auth_socket: AUTH_SOCKET,
    };
    render("dovecot.conf", include_str!("../../templates/dovecot.conf"), &values)
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
