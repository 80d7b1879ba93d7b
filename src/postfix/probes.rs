//! What is asked of Postfix: its greetings (RFC 5321). What the environment switches off is not asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::master_settings::Change;
use super::settings::Settings;
use crate::facts::Facts;
use crate::layout::PROBE_ADDRESS;
use crate::probes::Greeting;
use crate::site::{Protocols, Site};

/// How Postfix greets; postscreen(8) begins with `220-`.
const SMTP: &str = "220";

/// Where clients hand mail over: service, port, TLS from the first byte.
const LISTENERS: [(&str, u16, bool); 3] = [
    ("smtp", 25, false),
    ("submission", 587, false),
    ("submissions", 465, true),
];

/// The ports of all listeners, on or off.
pub const PORTS: [u16; 3] = [25, 587, 465];

/// The greetings of the listeners that are on.
pub fn greetings(settings: &Settings, site: &Site, facts: &Facts) -> Vec<Greeting> {
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
        .map(|(_, port, tls)| Greeting {
            address: SocketAddr::new(host, port),
            source,
            begins: SMTP.to_owned(),
            goodbye: "QUIT".to_owned(),
            tls,
        })
        .collect()
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

fn is_off(settings: &Settings, name: &str) -> bool {
    settings
        .master
        .iter()
        .any(|setting| setting.service.0 == name && setting.service.1 == "inet" && setting.change == Change::Off)
}
