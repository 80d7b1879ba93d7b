//! Whether a client would be served: what is probed, written down at start, and the probes themselves.

pub mod probe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layout::{AUTH_SOCKET, PROBE_ADDRESS, RUN_DIRECTORY};
use crate::plan::{File, Plan};
use crate::settings::Settings;
use crate::settings::master::{Change, MasterSetting};

/// What `/healthcheck` probes. It runs in a process of its own, so the list is handed over in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Ports that must greet.
    pub ports: Vec<Port>,
    /// The socket on which Dovecot answers Postfix about logins.
    pub auth_socket: PathBuf,
    /// The address to probe from, where its sessions can be told from others.
    pub source: Option<IpAddr>,
}

/// A port and the greeting expected there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Where to connect.
    pub address: SocketAddr,
    /// What the first line begins with.
    pub greeting: String,
    /// What a polite client says before it leaves.
    pub goodbye: String,
    /// TLS from the first byte.
    pub tls: bool,
}

/// Where the list lies.
pub fn targets_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("health.json")
}

/// How Postfix greets (RFC 5321); postscreen(8) begins with `220-`.
const SMTP: &str = "220";

/// Where Postfix listens, where `inet_interfaces` (postconf(5)) names addresses that loopback is not among.
fn postfix_address(settings: &Settings) -> Option<IpAddr> {
    let interfaces = &settings.parameters.get("inet_interfaces")?.value;
    let words = || {
        interfaces
            .split([',', ' '])
            .map(|word| word.trim_matches(['[', ']']))
            .filter(|word| !word.is_empty())
    };
    let addresses: Vec<IpAddr> = words().filter_map(|word| word.parse().ok()).collect();
    let other = words().count() > addresses.len() || addresses.iter().any(IpAddr::is_loopback);
    addresses.first().copied().filter(|_| !other)
}

/// A listener of Postfix that the environment switches off.
fn is_off(settings: &Settings, port: u16) -> bool {
    let name = match port {
        25 => "smtp",
        587 => "submission",
        465 => "submissions",
        _ => return false,
    };
    let off = |setting: &MasterSetting| {
        setting.service.0 == name && setting.service.1 == "inet" && setting.change == Change::Off
    };
    settings.master.iter().any(off)
}

impl Targets {
    /// All that these settings serve. `probe_address_is_known` says that /etc/hosts has the probe's address: Postfix
    /// would ask DNS for it otherwise, before each greeting.
    pub fn new(settings: &Settings, probe_address_is_known: bool) -> Targets {
        let ipv6 = settings.protocols == "ipv6";
        let host = if ipv6 {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        };
        let smtp_host = postfix_address(settings).unwrap_or(host);
        let port = |port: u16, greeting: &str, goodbye: &str, tls: bool| Port {
            address: SocketAddr::new(if greeting == SMTP { smtp_host } else { host }, port),
            greeting: greeting.to_owned(),
            goodbye: goodbye.to_owned(),
            tls,
        };
        Targets {
            // What is switched off is not probed.
            ports: [
                port(25, SMTP, "QUIT", false),
                port(587, SMTP, "QUIT", false),
                port(465, SMTP, "QUIT", true),
                port(110, "+OK", "QUIT", false),
                port(143, "* OK", "a LOGOUT", false),
                port(993, "* OK", "a LOGOUT", true),
                port(995, "+OK", "QUIT", true),
            ]
            .into_iter()
            .filter(|port| !is_off(settings, port.address.port()))
            .collect(),
            auth_socket: AUTH_SOCKET.into(),
            source: PROBE_ADDRESS
                .parse()
                .ok()
                .filter(|_| probe_address_is_known && !ipv6 && smtp_host == host),
        }
    }

    /// Where Postfix greets.
    pub fn smtp(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.greeting == SMTP)
    }

    /// The file for `/healthcheck`.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        Ok(Plan {
            files: vec![File::public(targets_file(), self.text()?)],
            ..Plan::default()
        })
    }

    fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The list in a file of the plan, without ports that turn out to be closed.
pub fn without(file: &File, closed: &[u16]) -> anyhow::Result<File> {
    let mut targets: Targets = serde_json::from_slice(&file.bytes)?;
    targets.ports.retain(|port| !closed.contains(&port.address.port()));
    Ok(File {
        bytes: targets.text()?.into_bytes(),
        ..file.clone()
    })
}
