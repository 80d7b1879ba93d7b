//! Explains what clients meet with where the daemons' own words do not say why: mostly that their network is not trusted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::lines::{Kind, Trouble};

/// Time between two explanations of the same.
const QUIET: Duration = Duration::from_secs(60);

/// The same where it is a guess: whoever looks whether a port is open does what a client does that is offered no login.
const QUIET_GUESS: Duration = Duration::from_secs(60 * 60);

/// Who is trusted, as far as explanations need it.
#[derive(Debug, Default)]
pub struct Trusted {
    /// Who may log in without TLS, and to test accounts.
    pub networks: Vec<IpNet>,
    /// Gateways that are not trusted though their networks are.
    pub gateways: Vec<IpAddr>,
    /// Other pods would be, were this not Kubernetes.
    pub pods_are_strangers: bool,
    /// The names of accounts that log in from trusted networks only.
    pub test_accounts: Vec<String>,
}

/// Explains each kind of trouble at most once a minute (a guess: an hour) for each gateway, and once for all other clients: strangers are many.
#[derive(Debug, Default)]
pub(super) struct Hints {
    trusted: Trusted,
    explained: BTreeMap<(&'static str, Option<IpAddr>), Instant>,
}

impl Hints {
    /// For these networks and accounts.
    pub(super) fn new(trusted: Trusted) -> Hints {
        Hints {
            trusted,
            explained: BTreeMap::new(),
        }
    }

    /// The explanation to log beside a line, if any.
    pub(super) fn explain(&mut self, Trouble { address, kind }: &Trouble, now: Instant) -> Option<String> {
        let address = address.to_canonical();
        let gateway = Some(address).filter(|address| self.trusted.gateways.contains(address));
        let is_trusted = self.trusted.networks.iter().any(|net| net.contains(&address));
        let who = match gateway {
            Some(gateway) => format!("{gateway} is the docker gateway, which is not trusted"),
            None => format!("{address} is in no trusted network"),
        };
        let are_pods = self.trusted.pods_are_strangers && gateway.is_none();
        let see = match gateway {
            Some(_) => " (MAILROOM_TRUST_GATEWAY in the README)",
            None if are_pods => {
                "; under Kubernetes no other pod is trusted unless POSTFIX_MYNETWORKS names its network"
            }
            None => "",
        };
        let (name, text) = match kind {
            Kind::Relay if are_pods && !is_trusted => ("relay", format!("Refused because {who}{see}")),
            Kind::Relay => {
                gateway?;
                let strangers = "strangers may arrive with its address";
                ("relay", format!("Refused because {who}: {strangers}{see}"))
            }
            Kind::WithoutTls if !is_trusted => {
                let tls = "a login without TLS is for trusted networks only; use TLS";
                ("tls", format!("Refused because {who}: {tls}{see}"))
            }
            Kind::GaveUp if !is_trusted => {
                let tls = "a login without TLS is offered to trusted networks only; use TLS";
                (
                    "gave up",
                    format!("Left without a login, perhaps because {who}: {tls}{see}"),
                )
            }
            Kind::Login(user) if !is_trusted && self.is_test_account(user) => {
                let only = format!(
                    "{} is a test account, which logs in from trusted networks only",
                    user.to_lowercase()
                );
                ("test account", format!("Refused because {who}: {only}{see}"))
            }
            Kind::NoEnd if is_trusted => (
                "no end",
                format!(
                    "{address} began to send a message, and its end never came: a client whose lines end with LF alone, without \
                     CR, cannot end one. Mend it, or name it in POSTFIX_SMTPD_FORBID_BARE_NEWLINE_EXCLUSIONS={address}"
                ),
            ),
            _ => return None,
        };
        let quiet = if *kind == Kind::GaveUp { QUIET_GUESS } else { QUIET };
        let explained = self.explained.insert((name, gateway), now);
        if let Some(then) = explained.filter(|then| now.duration_since(*then) < quiet) {
            self.explained.insert((name, gateway), then);
            return None;
        }
        Some(text)
    }

    fn is_test_account(&self, user: &str) -> bool {
        self.trusted
            .test_accounts
            .iter()
            .any(|name| name.eq_ignore_ascii_case(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "172.20.0.1";
    const NEIGHBOUR: &str = "172.20.0.9";
    const STRANGER: &str = "192.0.2.1";

    fn hints() -> Hints {
        Hints::new(Trusted {
            networks: vec!["127.0.0.0/8".parse().unwrap(), "172.20.0.8/29".parse().unwrap()],
            gateways: vec![GATEWAY.parse().unwrap(), "172.21.0.1".parse().unwrap()],
            pods_are_strangers: false,
            test_accounts: ["user", "user@a.test"].map(str::to_owned).into(),
        })
    }

    fn trouble(address: &str, kind: Kind) -> Trouble {
        Trouble {
            address: address.parse().unwrap(),
            kind,
        }
    }

    #[test]
    fn each_is_explained_once_a_minute() {
        let (mut hints, now) = (hints(), Instant::now());
        let mut at = |seconds, address| {
            let trouble = trouble(address, Kind::Relay);
            hints.explain(&trouble, now + Duration::from_secs(seconds))
        };
        let hint = at(0, GATEWAY).unwrap();
        assert!(
            hint.contains(GATEWAY) && hint.contains("MAILROOM_TRUST_GATEWAY"),
            "{hint}"
        );
        assert_eq!(at(59, GATEWAY), None);
        assert!(at(59, "172.21.0.1").is_some());
        assert!(at(60, GATEWAY).is_some());
        assert!(at(121, "::ffff:172.20.0.1").is_some());
        assert_eq!(at(200, STRANGER), None, "that is what relay access denied means");
        let mut left = |seconds| hints.explain(&trouble(STRANGER, Kind::GaveUp), now + Duration::from_secs(seconds));
        assert!(left(0).is_some() && left(3599).is_none() && left(3600).is_some());
    }

    #[test]
    fn what_is_explained_to_whom() {
        let explain = |address, kind| hints().explain(&trouble(address, kind), Instant::now());
        let login = |user: &str| Kind::Login(user.to_owned());
        for (address, kind, said) in [
            (
                GATEWAY,
                Kind::WithoutTls,
                "is the docker gateway, which is not trusted: a login without TLS",
            ),
            (
                STRANGER,
                Kind::WithoutTls,
                "192.0.2.1 is in no trusted network: a login without TLS",
            ),
            (
                STRANGER,
                Kind::GaveUp,
                "Left without a login, perhaps because 192.0.2.1 is in no trusted network",
            ),
            (GATEWAY, Kind::GaveUp, "(MAILROOM_TRUST_GATEWAY in the README)"),
            (GATEWAY, login("user"), ": user is a test account"),
            (
                STRANGER,
                login("User@A.test"),
                "192.0.2.1 is in no trusted network: user@a.test is a test account",
            ),
            (
                NEIGHBOUR,
                Kind::NoEnd,
                "POSTFIX_SMTPD_FORBID_BARE_NEWLINE_EXCLUSIONS=172.20.0.9",
            ),
        ] {
            let hint = explain(address, kind).unwrap();
            assert!(hint.contains(said), "{hint}");
        }
        for (address, kind) in [
            (NEIGHBOUR, Kind::WithoutTls),
            (NEIGHBOUR, Kind::GaveUp),
            (NEIGHBOUR, login("user")),
            (STRANGER, login("somebody@a.test")),
            (STRANGER, Kind::NoEnd),
        ] {
            assert_eq!(explain(address, kind.clone()), None, "{address} {kind:?}");
        }
    }

    #[test]
    fn pods_are_strangers_to_each_other() {
        let explain = |address, kind| {
            let mut hints = hints();
            hints.trusted.pods_are_strangers = true;
            hints.explain(&trouble(address, kind), Instant::now())
        };
        for kind in [Kind::Relay, Kind::WithoutTls, Kind::Login("user".to_owned())] {
            assert!(
                explain(STRANGER, kind.clone()).unwrap().contains("POSTFIX_MYNETWORKS"),
                "{kind:?}"
            );
            assert!(!explain(GATEWAY, kind).unwrap().contains("POSTFIX_MYNETWORKS"));
        }
        assert_eq!(explain(NEIGHBOUR, Kind::Relay), None);
    }
}
