//! Where smtp(8) is sent, as far as settings say it: hosts, and `transport:nexthop`. It dies of what is neither a host nor an
//! address, at each delivery; mail for a host that is this server itself goes in circles.

use std::net::IpAddr;
use std::time::Duration;

use super::check::program;
use super::settings::Settings;
use crate::facts::Facts;
use crate::report::Mistake;
use crate::site::Site;
use crate::system::processes::Processes;
use crate::system::programs::Program;
use crate::values::relay_host::{self, RelayHost};

/// Parameters that hold hosts.
const HOSTS: [&str; 2] = ["relayhost", "smtp_fallback_relay"];

/// Parameters that hold `transport:nexthop`.
pub(super) const TRANSPORTS: [&str; 5] = [
    "address_verify_default_transport",
    "address_verify_relay_transport",
    "content_filter",
    "default_transport",
    "relay_transport",
];

/// Transports of master.cf that are smtp(8).
const OF_SMTP: [&str; 2] = ["relay", "smtp"];

/// Ports of this server that take mail.
const OWN_PORTS: [u16; 3] = [25, 465, 587];

/// A name server that is asked for this server's own name answers within a millisecond.
const RESOLVING: Duration = Duration::from_millis(300);

const GETENT: Program = Program {
    package: "libc-bin",
    ..program("getent")
};

/// A value as Postfix is given it: what can be put right is (a final dot, a service in capitals), what smtp(8) would die of is
/// refused.
pub(super) fn canonical(name: &str, value: &str) -> Result<String, String> {
    match nexthop(name, value) {
        Some((transport, hosts)) => Ok(format!("{transport}{}", relay_host::canonical(hosts)?)),
        None => Ok(value.to_owned()),
    }
}

/// The hosts to which a parameter sends smtp(8).
fn hosts(name: &str, value: &str) -> Vec<RelayHost> {
    let hosts = nexthop(name, value).map(|(_, hosts)| relay_host::parse_list(hosts).unwrap_or_default());
    hosts.unwrap_or_default()
}

/// The transport with its colon, if any, and the hosts behind it.
fn nexthop<'a>(name: &str, value: &'a str) -> Option<(&'a str, &'a str)> {
    if HOSTS.contains(&name) {
        return Some(("", value));
    }
    let (transport, hosts) = value.split_once(':')?;
    let is_smtp = TRANSPORTS.contains(&name) && OF_SMTP.contains(&transport) && !hosts.is_empty();
    is_smtp.then(|| value.split_at(transport.len() + 1))
}

/// A host that may be this server itself.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    /// The variable, or `file:line`, that names it.
    origin: String,
    /// The whole value.
    value: String,
    host: RelayHost,
}

impl Destination {
    fn is_itself(&self, how: &str) -> Mistake {
        let reason = format!(
            "{} is this server itself{how}: its mail would come back to it; leave it empty for none, or name another host",
            self.host.text()
        );
        Mistake::new(&self.origin, &self.value, reason)
    }
}

/// Hosts with a port of ours. Those of MX records are not known here.
fn candidates(settings: &Settings) -> impl Iterator<Item = Destination> {
    let given = settings.parameters.iter();
    let of_parameters = given.flat_map(|(name, given)| {
        let destination = |host| Destination {
            origin: given.variable.clone(),
            value: given.value.clone(),
            host,
        };
        hosts(name, &given.value).into_iter().map(destination)
    });
    of_parameters.filter(|destination| {
        let host = &destination.host;
        OWN_PORTS.contains(&host.port_number()) && (host.in_brackets || host.address().is_some())
    })
}

fn is_plainly_this_server(host: &RelayHost, site: &Site) -> bool {
    host.is_loopback() || host.name.eq_ignore_ascii_case(&site.hostname)
}

/// Hosts that are this server by their very names.
pub(super) fn wrong(settings: &Settings, site: &Site) -> Vec<Mistake> {
    let own = candidates(settings).filter(|destination| is_plainly_this_server(&destination.host, site));
    own.map(|destination| destination.is_itself("")).collect()
}

/// Hosts that may be this server by their addresses, and its addresses.
#[derive(Debug)]
pub(super) struct Unresolved {
    destinations: Vec<Destination>,
    own: Vec<IpAddr>,
}

impl Unresolved {
    pub(super) fn of(settings: &Settings, facts: &Facts) -> Unresolved {
        Unresolved {
            destinations: candidates(settings).collect(),
            own: facts.interfaces.iter().map(ipnet::IpNet::addr).collect(),
        }
    }

    /// Those that have one of them, such as the container's network alias. A name that cannot be resolved now may be that of
    /// a container which starts later.
    pub(super) async fn wrong(&self, processes: &Processes) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for destination in &self.destinations {
            let addresses = match destination.host.address() {
                Some(address) => vec![address],
                None => resolve(&destination.host.name, processes).await,
            };
            if let Some(own) = addresses.iter().find(|address| self.own.contains(address)) {
                mistakes.push(destination.is_itself(&format!(" ({own})")));
            }
        }
        mistakes
    }
}

/// What the C library makes of a name, without a search list, as smtp(8) does.
async fn resolve(name: &str, processes: &Processes) -> Vec<IpAddr> {
    let Ok(mut command) = GETENT.command() else {
        return Vec::new();
    };
    command.env("LOCALDOMAIN", "").args(["ahosts", name]);
    let said = processes.output(&mut command, RESOLVING).await;
    let said = said.map(|output| output.stdout).unwrap_or_default();
    let first_words = said.lines().filter_map(|line| line.split_whitespace().next());
    first_words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nexthops_are_what_smtp_takes() {
        for (name, value, right) in [
            ("relayhost", "[sink.]:SMTP", "[sink]:smtp"),
            ("smtp_fallback_relay", "[a.] b.example:587", "[a], b.example:587"),
            ("default_transport", "smtp:[sink.]:25", "smtp:[sink]:25"),
            ("default_transport", "smtp:", "smtp:"),
            (
                "default_transport",
                "error:5.1.1 no [mail]:x",
                "error:5.1.1 no [mail]:x",
            ),
            ("virtual_transport", "lmtp:unix:private/x", "lmtp:unix:private/x"),
            ("content_filter", "", ""),
        ] {
            assert_eq!(canonical(name, value), Ok(right.to_owned()), "{name}");
        }
        for (name, value) in [
            ("smtp_fallback_relay", "[a..b]"),
            ("default_transport", "smtp:[300.1.1.1]:25"),
            ("content_filter", "smtp:sink:nosuch"),
        ] {
            assert!(canonical(name, value).is_err(), "{name}");
        }
        assert_eq!(hosts("relay_transport", "relay:[a]:25, [b]:465").len(), 2);
        assert!(hosts("relay_transport", "lmtp:[a]:25").is_empty());
    }
}
