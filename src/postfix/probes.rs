//! What is asked of Postfix: its greetings (RFC 5321), and the processes behind them, without which smtpd(8) greets and
//! then nothing more happens. What the environment switches off is not asked.
//!
//! cleanup(8) logs a line for a message that was not finished, so that it is not asked: of it is seen alone that it is
//! stopped. It has no process limit, so that one which hangs keeps nobody else waiting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::limits;
use super::master_cf::Service;
use super::master_settings::Change;
use super::settings::Settings;
use crate::facts::Facts;
use crate::health::Named;
use crate::layout::{PROBE_ADDRESS, QUEUE_DIRECTORY};
use crate::probes::{Greeting, Most, Probe};
use crate::site::{Protocols, Site};

/// Bytes without which no message of any size can be taken.
const LEAST: u64 = 1 << 20;

/// How Postfix greets; postscreen(8) begins with `220-`.
const SMTP: &str = "220";

/// Where clients hand mail over: service, port, TLS from the first byte.
pub(super) const LISTENERS: [(&str, u16, bool); 3] = [
    ("smtp", 25, false),
    ("submission", 587, false),
    ("submissions", 465, true),
];

/// The ports of all listeners, on or off.
pub const PORTS: [u16; 3] = [25, 587, 465];

/// The greetings of the listeners that are on.
pub fn greetings(settings: &Settings, services: &[Service], site: &Site, facts: &Facts) -> Vec<Greeting> {
    let loopback = loopback(site);
    let host = address(settings).unwrap_or(loopback);
    // smtpd(8) looks up the client's name before it greets: probes come from an address that /etc/hosts names.
    let source = PROBE_ADDRESS
        .parse()
        .ok()
        .filter(|_| facts.probe_is_named || facts.hosts_can_be_written)
        .filter(|_| host == loopback && loopback.is_ipv4());
    LISTENERS
        .into_iter()
        .filter(|(name, ..)| !is_off(settings, name))
        .map(|(name, port, tls)| Greeting {
            address: SocketAddr::new(host, port),
            source,
            begins: SMTP.to_owned(),
            goodbye: "QUIT".to_owned(),
            tls,
            most: most(settings, services, name),
        })
        .collect()
}

/// What is asked about the processes that serve the others: trivial-rewrite(8), qmgr(8), cleanup(8) and, where a table is read
/// through it, proxymap(8). Then whether one of all of them is stopped, and whether there is room for messages.
pub fn inner(settings: &Settings, site: &Site) -> Vec<Named> {
    let is_proxied = settings
        .parameters
        .values()
        .any(|given| given.explicit && given.value.contains("proxy:"));
    let asked = [
        ("trivial-rewrite", "private/rewrite", true),
        ("qmgr", "public/qmgr", true),
        // It makes a file in the queue before it asks, and takes that back.
        ("cleanup", "public/cleanup", true),
        ("proxymap", "private/proxymap", is_proxied),
    ];
    let asked = asked.into_iter().filter(|(.., is_used)| *is_used);
    let asked = asked.map(|(name, path, _)| Named {
        name: name.to_owned(),
        probe: Probe::Farewell {
            path: Path::new(QUEUE_DIRECTORY).join(path),
        },
        essential: true,
    });
    let processes = Named {
        name: "postfix".to_owned(),
        probe: Probe::Processes {
            pid_file: Path::new(QUEUE_DIRECTORY).join("pid/master.pid"),
            process: "master".to_owned(),
        },
        essential: true,
    };
    // Below that smtpd(8) refuses all mail (postconf(5), `queue_minfree`).
    let least = site.message_size_limit.saturating_mul(3) / 2;
    let space = Named {
        name: "the queue".to_owned(),
        probe: Probe::Space {
            path: QUEUE_DIRECTORY.into(),
            least: least.max(LEAST),
        },
        essential: true,
    };
    asked.chain([processes, space]).collect()
}

/// The most sessions of a listener.
fn most(settings: &Settings, services: &[Service], name: &str) -> Option<Most> {
    let service = services
        .iter()
        .find(|service| service.is(name, "inet") && service.program == "smtpd")?;
    let (sessions, variable) = limits::sessions(settings, service)?;
    let sessions = usize::try_from(sessions).ok()?;
    Some(Most { sessions, variable })
}

fn loopback(site: &Site) -> IpAddr {
    match site.protocols {
        Protocols::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Protocols::Ipv4 | Protocols::All => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// Where Postfix listens, where `inet_interfaces` (postconf(5)) names addresses that loopback is not among.
fn address(settings: &Settings) -> Option<IpAddr> {
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

pub(super) fn is_off(settings: &Settings, name: &str) -> bool {
    settings
        .master
        .iter()
        .any(|setting| setting.service.0 == name && setting.service.1 == "inet" && setting.change == Change::Off)
}
