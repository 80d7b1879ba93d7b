//! What is asked of Dovecot: its greetings, whether it answers Postfix about logins, and whether its main process lives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::shown::{self, Shown};
use crate::accounts::Directory;
use crate::facts::Facts;
use crate::health::Named;
use crate::layout::{AUTH_SOCKET, DOVECOT_RUN_DIRECTORY, LMTP_SOCKET, MAIL_DIRECTORY, PROBE_ADDRESS};
use crate::probes::{Greeting, Probe};
use crate::site::{Protocols, Site};

/// A listener for mail clients.
struct Listener {
    protocol: &'static str,
    name: &'static str,
    port: u16,
}

const fn listener(protocol: &'static str, name: &'static str, port: u16) -> Listener {
    Listener { protocol, name, port }
}

/// Dovecot's own names for them.
const LISTENERS: [Listener; 5] = [
    listener("pop3", "pop3", 110),
    listener("imap", "imap", 143),
    listener("imap", "imaps", 993),
    listener("pop3", "pop3s", 995),
    listener("sieve", "sieve", 4190),
];

/// Bytes without which no message of any size can be stored.
const LEAST: u64 = 1 << 20;

/// `healthcheck@mailroom.invalid` with the password `none`. Nobody can have this name (RFC 2606), so that no directory locks an
/// account for wrong passwords.
const NOBODY: &str = "AGhlYWx0aGNoZWNrQG1haWxyb29tLmludmFsaWQAbm9uZQ==";

/// All probes, whatever the settings close.
pub(super) fn all(site: &Site, facts: &Facts, directory: &Directory) -> Vec<Named> {
    let host = match site.protocols {
        Protocols::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Protocols::Ipv4 | Protocols::All => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let is_known = facts.probe_is_named || facts.hosts_can_be_written;
    let source = PROBE_ADDRESS.parse().ok().filter(|_| host.is_ipv4() && is_known);
    let greeting = |listener: &Listener| {
        let (greeting, goodbye) = match listener.protocol {
            "imap" => ("* OK", "a LOGOUT"),
            // Its capabilities (RFC 5804).
            "sieve" => ("\"IMPLEMENTATION\"", "LOGOUT"),
            _ => ("+OK", "QUIT"),
        };
        Named {
            name: listener.name.to_owned(),
            probe: Probe::Greeting(Greeting {
                address: SocketAddr::new(host, listener.port),
                source,
                begins: greeting.to_owned(),
                goodbye: goodbye.to_owned(),
                tls: listener.name.ends_with('s'),
                most: None,
            }),
            essential: true,
        }
    };
    // The auth server speaks first: `VERSION\t…` (Dovecot docs, "Authentication Protocol").
    let logins = Named {
        name: "logins".to_owned(),
        probe: Probe::Socket {
            path: AUTH_SOCKET.into(),
            greeting: Some("VERSION\t".to_owned()),
        },
        essential: true,
    };
    let is_served = |listener: &&Listener| site.mailboxes && (site.sieve || listener.protocol != "sieve");
    let served = LISTENERS.iter().filter(is_served);
    let has_lmtp = site.mailboxes && (site.sieve || directory.has_quotas(site));
    let lmtp = has_lmtp.then(|| Named {
        name: "deliveries".to_owned(),
        probe: Probe::Socket {
            path: LMTP_SOCKET.into(),
            greeting: Some("220 ".to_owned()),
        },
        essential: true,
    });
    let space = site.mailboxes.then(|| Named {
        name: "the mail store".to_owned(),
        probe: Probe::Space {
            path: MAIL_DIRECTORY.into(),
            least: LEAST,
        },
        essential: true,
    });
    let directory = directory.external.is_some().then(|| Named {
        name: "the directory of accounts".to_owned(),
        probe: Probe::Login {
            path: AUTH_SOCKET.into(),
            response: NOBODY.to_owned(),
        },
        essential: false,
    });
    served
        .map(greeting)
        .chain([logins])
        .chain(directory)
        .chain(lmtp)
        .chain(space)
        .chain(inner())
        .collect()
}

/// The main process, which starts all others, and whether one of them is stopped.
fn inner() -> [Named; 2] {
    let run = Path::new(DOVECOT_RUN_DIRECTORY);
    let named = |probe| Named {
        name: "dovecot".to_owned(),
        probe,
        essential: true,
    };
    [
        named(Probe::Farewell {
            path: run.join("master"),
        }),
        named(Probe::Processes {
            pid_file: run.join("master.pid"),
            process: "dovecot".to_owned(),
        }),
    ]
}

/// The ports that a configuration closes, as `doveconf -n` shows it: by `protocols`, by `ssl`, or by another port.
pub(super) fn closed_ports(shown: &str) -> Vec<u16> {
    let settings = shown::settings(shown);
    let closed = settings.iter().flat_map(|setting| {
        let closed_here = LISTENERS.iter().filter(|listener| closes(setting, listener));
        closed_here.map(|listener| listener.port)
    });
    closed.collect()
}

/// A warning where the ports that begin with TLS are closed.
pub(super) fn without_tls(shown: &str) -> Option<String> {
    let mut settings = shown::settings(shown).into_iter();
    let is_off = settings.any(|Shown { block, name, value }| block.is_empty() && name == "ssl" && value == "no");
    is_off.then(|| {
        "Warning: ssl=no closes ports 993 and 995, and there is no STARTTLS on 143 and 110, where clients outside the trusted \
         networks cannot log in then; 587 and 465 are Postfix's and stay as they are"
            .to_owned()
    })
}

/// Whether a setting closes a listener.
fn closes(setting: &Shown, listener: &Listener) -> bool {
    let Shown { block, name, value } = setting;
    match (*block, *name) {
        ("", "ssl") => *value == "no" && listener.name.ends_with('s'),
        (_, "port") => {
            block.strip_prefix("inet_listener ") == Some(listener.name) && *value != listener.port.to_string()
        }
        _ => setting.switches_off(listener.protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_ports_are_known() {
        assert_eq!(closed_ports("protocols {\n  imap = yes\n  pop3 = no\n}\n"), [110, 995]);
        assert_eq!(
            closed_ports("protocols = pop3 lmtp\nssl = no\n"),
            [143, 993, 4190, 993, 995]
        );
        let ports = "service pop3-login {\n  inet_listener pop3 {\n    port = 0\n  }\n  inet_listener pop3s {\n    port = 995\n  }\n}\n";
        assert_eq!(closed_ports(ports), [110]);
        assert!(without_tls("ssl = no\n").is_some_and(|said| said.contains("993 and 995")));
        assert!(without_tls("ssl = required\nremote 10.0.0.0/8 {\n  ssl = no\n}\n").is_none());
        assert!(closed_ports("remote 10.0.0.0/8 {\n  ssl = no\n}\n").is_empty());
    }
}
