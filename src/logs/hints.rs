//! Explains refusals of the untrusted gateway: the daemons' own words do not say why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time between two explanations of the same.
const QUIET: Duration = Duration::from_secs(60);

/// Explains each gateway's refusals, at most once a minute.
#[derive(Debug, Default)]
pub(super) struct Hints {
    gateways: Vec<String>,
    explained: BTreeMap<String, Instant>,
}

impl Hints {
    /// For these addresses.
    pub(super) fn new(gateways: Vec<String>) -> Hints {
        Hints {
            gateways,
            explained: BTreeMap::new(),
        }
    }

    /// The explanation to log beside a line, if any. `refuses` says whether the line refuses something to an address.
    pub(super) fn explain(&mut self, refuses: impl Fn(&str) -> bool, now: Instant) -> Option<String> {
        let gateway = self.gateways.iter().find(|gateway| refuses(gateway))?;
        let is_recent = |then: &Instant| now.duration_since(*then) < QUIET;
        if self.explained.get(gateway).is_some_and(is_recent) {
            return None;
        }
        self.explained.insert(gateway.clone(), now);
        Some(format!(
            "Refused because {gateway} is the docker gateway, which is not trusted: strangers may arrive with its \
             address (MAILROOM_TRUST_GATEWAY in the README)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_gateway_is_explained_once_a_minute() {
        let mut hints = Hints::new(vec!["172.20.0.1".into(), "172.21.0.1".into()]);
        let now = Instant::now();
        let refused = |address: &str| address == "172.20.0.1";
        let hint = hints.explain(refused, now).unwrap();
        assert!(
            hint.contains("172.20.0.1") && hint.contains("MAILROOM_TRUST_GATEWAY"),
            "{hint}"
        );
        assert_eq!(hints.explain(refused, now + Duration::from_secs(59)), None);
        assert!(hints.explain(|address| address == "172.21.0.1", now).is_some());
        assert!(hints.explain(refused, now + Duration::from_secs(60)).is_some());
        assert_eq!(hints.explain(|_| false, now + Duration::from_secs(200)), None);
    }
}
