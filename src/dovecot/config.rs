//! dovecot.conf: the template, then the settings of the environment, then the drop-in files.

use std::path::PathBuf;

use serde::Serialize;

use super::settings::{DovecotSetting, Settings};
use super::{drop_in, refused_file, state_directory};
use crate::daemon::Basis;
use crate::layout::{AUTH_SOCKET, LMTP_SOCKET, MAIL_DIRECTORY, USERS_FILE, VMAIL_UID};
use crate::settings::DropIn;
use crate::site::Protocols;
use crate::templates;

#[derive(Serialize)]
struct Config<'a> {
    hostname: &'a str,
    domain: &'a str,
    listen: &'a str,
    state_directory: PathBuf,
    mail_directory: &'a str,
    vmail_uid: u32,
    users: &'a str,
    refused: Option<PathBuf>,
    trusted: Vec<String>,
    certificate: &'a str,
    key: &'a str,
    auth_socket: &'a str,
    lmtp_socket: &'a str,
    delimiter: String,
}

/// The whole file.
pub(super) fn render(settings: &Settings, basis: &Basis) -> anyhow::Result<String> {
    let (site, trust) = (basis.site, basis.trust);
    let (certificate, key) = basis.facts.certificate.paths();
    let values = Config {
        hostname: &site.hostname,
        domain: &site.domain,
        listen: match site.protocols {
            Protocols::Ipv4 => "*",
            Protocols::Ipv6 => "::",
            Protocols::All => "*, ::",
        },
        state_directory: state_directory(),
        mail_directory: MAIL_DIRECTORY,
        vmail_uid: VMAIL_UID,
        users: USERS_FILE,
        refused: (!trust.itself).then(refused_file),
        trusted: trust.cidrs().iter().map(ToString::to_string).collect(),
        certificate,
        key,
        auth_socket: AUTH_SOCKET,
        lmtp_socket: LMTP_SOCKET,
        delimiter: delimiter(&site.recipient_delimiter),
    };
    let mut text = templates::render("dovecot.conf", include_str!("../../templates/dovecot.conf"), &values)?;
    if !settings.given.is_empty() || !settings.files.is_empty() {
        text.push_str(OWN_SETTINGS);
        text.extend(settings.given.iter().map(DovecotSetting::lines));
    }
    let include = |file: &DropIn| format!("!include {}\n", drop_in(&file.path).display());
    text.extend(settings.files.iter().map(include));
    Ok(text)
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
