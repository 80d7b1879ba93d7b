//! How many sessions one client address may have, and how many there can be: where the first is not below the second, one
//! client can keep all others waiting.

use super::shown::{Shown, settings};

/// A service through which sessions go.
struct Service {
    name: &'static str,
    protocol: &'static str,
    /// Its own default limits of processes, and of clients for each; nothing where those for all services hold.
    own: (Option<u64>, Option<u64>),
}

const fn service(name: &'static str, protocol: &'static str, own: (Option<u64>, Option<u64>)) -> Service {
    Service { name, protocol, own }
}

/// TLS goes through the login processes as long as a session lasts. The defaults are those of Dovecot 2.4.
const SERVICES: [Service; 4] = [
    service("imap", "imap", (Some(1024), Some(1))),
    service("pop3", "pop3", (Some(1024), Some(1))),
    service("imap-login", "imap", (None, None)),
    service("pop3-login", "pop3", (None, None)),
];

/// A line for each service that one client can fill, as `doveconf -n` shows the limits.
pub(super) fn notes(shown: &str) -> Vec<String> {
    let settings = settings(shown);
    let is_on = |service: &&Service| !settings.iter().any(|setting| setting.switches_off(service.protocol));
    let served = SERVICES.iter().filter(is_on);
    served.filter_map(|service| note(service, &settings)).collect()
}

fn note(service: &Service, settings: &[Shown]) -> Option<String> {
    let number = |block: &str, name: &str| {
        let mut found = settings.iter().rev();
        let found = found.find(|setting| setting.block == block && setting.name == name)?;
        found.value.parse::<u64>().ok()
    };
    let of_client = "mail_max_userip_connections";
    let one = number(&format!("protocol {}", service.protocol), of_client).or_else(|| number("", of_client))?;
    let block = format!("service {}", service.name);
    let processes = number(&block, "process_limit")
        .or(service.own.0)
        .or_else(|| number("", "default_process_limit"))
        .unwrap_or(100);
    let clients = number(&block, "client_limit")
        .or(service.own.1)
        .or_else(|| number("", "default_client_limit"))
        .unwrap_or(1000);
    let all = processes.saturating_mul(clients);
    let variable = service.name.replace('-', "_").to_ascii_uppercase();
    (one >= all).then(|| {
        format!(
            "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS={one}: one client may have all {all} sessions of {}, and all others wait: set \
             it lower, or DOVECOT_SERVICE__{variable}__PROCESS_LIMIT higher",
            service.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_must_not_fill_a_service() {
        let ours = "mail_max_userip_connections = 100\nservice imap-login {\n  process_min_avail = 1\n}\n";
        assert!(notes(ours).is_empty());
        for (more, said) in [
            (
                "service imap {\n  process_limit = 100\n}\n",
                "all 100 sessions of imap, ",
            ),
            (
                "mail_max_userip_connections = 1024\n",
                "DOVECOT_SERVICE__POP3__PROCESS_LIMIT",
            ),
            (
                "protocol imap {\n  mail_max_userip_connections = 2000\n}\n",
                "CONNECTIONS=2000",
            ),
            (
                "default_client_limit = 10\ndefault_process_limit = 5\n",
                "all 50 sessions of imap-login, ",
            ),
            (
                "service pop3-login {\n  client_limit = 10\n  process_limit = 10\n}\n",
                "DOVECOT_SERVICE__POP3_LOGIN__PROCESS_LIMIT",
            ),
        ] {
            let notes = notes(&format!("{ours}{more}"));
            assert!(notes.iter().any(|note| note.contains(said)), "{more}: {notes:?}");
        }
        let off = "protocols {\n  imap = no\n  pop3 = no\n}\nmail_max_userip_connections = 9999\n";
        assert!(notes(off).is_empty());
        assert!(notes(&format!("{ours}service imap {{\n  process_limit = 101\n}}\n")).is_empty());
    }
}
