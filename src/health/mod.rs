//! Whether a client would be served: what is probed, written down at start, and the probes themselves.

pub mod probe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dovecot;
use crate::layout::{AUTH_SOCKET, PROBE_ADDRESS, RUN_DIRECTORY};
use crate::plan::{File, Plan};
use crate::postfix;
use crate::settings::Settings;

/// What `/healthcheck` probes. It runs in a process of its own, so the list is handed over in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Daemons that must be alive.
    pub daemons: Vec<Daemon>,
    /// Ports that must greet.
    pub ports: Vec<Port>,
    /// The socket on which Dovecot answers Postfix about logins.
    pub auth_socket: PathBuf,
    /// The address to probe from, where its sessions can be told from others.
    pub source: Option<IpAddr>,
}

/// A daemon, known by its pid file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its name in messages.
    pub name: String,
    /// The file that holds its process id.
    pub pid_file: PathBuf,
    /// The name of the process (proc_pid_comm(5)).
    pub process: String,
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
        let port = |port: u16, greeting: &str, goodbye: &str, tls: bool| Port {
            address: SocketAddr::new(host, port),
            greeting: greeting.to_owned(),
            goodbye: goodbye.to_owned(),
            tls,
        };
        Targets {
            daemons: vec![postfix::service::daemon(), dovecot::service::daemon()],
            ports: vec![
                port(25, "220 ", "QUIT", false),
                port(587, "220 ", "QUIT", false),
                port(465, "220 ", "QUIT", true),
                port(110, "+OK", "QUIT", false),
                port(143, "* OK", "a LOGOUT", false),
                port(993, "* OK", "a LOGOUT", true),
                port(995, "+OK", "QUIT", true),
            ],
            auth_socket: AUTH_SOCKET.into(),
            source: PROBE_ADDRESS.parse().ok().filter(|_| probe_address_is_known && !ipv6),
        }
    }

    /// Where Postfix greets first.
    pub fn smtp(&self) -> Option<&Port> {
        self.ports.first()
    }

    /// The file for `/healthcheck`.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(Plan {
            files: vec![File::public(targets_file(), text)],
            ..Plan::default()
        })
    }
}
