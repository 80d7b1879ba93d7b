//! Explains refusals of who is not trusted, the docker gateway or other pods: the daemons' own words do not say why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time between two explanations of the same.
const QUIET: Duration = Duration::from_secs(60);

/// Explains each refusal at most once a minute.
#[derive(Debug, Default)]
pub(super) struct Hints {
    gateways: Vec<String>,
    pods_are_strangers: bool,
    explained: BTreeMap<String, Instant>,
}

impl Hints {
    /// For these addresses; for all, where other pods are strangers.
    pub(super) fn new(gateways: Vec<String>, pods_are_strangers: bool) -> Hints {
        Hints {
            gateways,
            pods_are_strangers,
            explained: BTreeMap::new(),
        }
    }

    /// The explanation to log beside a line, if any. `refuses` says whether the line refuses something to an address, or
    /// to any.
    pub(super) fn explain(&mut self, refuses: impl Fn(Option<&str>) -> bool, now: Instant) -> Option<String> {
        let why = self.why(refuses)?;
        let is_recent = |then: &Instant| now.duration_since(*then) < QUIET;
        if self.explained.get(&why).is_some_and(is_recent) {
            return None;
        }
        self.explained.insert(why.clone(), now);
        Some(why)
    }

    fn why(&self, refuses: impl Fn(Option<&str>) -> bool) -> Option<String> {
        if let Some(gateway) = self.gateways.iter().find(|gateway| refuses(Some(gateway))) {
            return Some(format!(
                "Refused because {gateway} is the docker gateway, which is not trusted: strangers may arrive with its \
                 address (MAILROOM_TRUST_GATEWAY in the README)"
            ));
        }
        (self.pods_are_strangers && refuses(None)).then(|| {
            "Refused because no other pod is trusted under Kubernetes: name the networks of those that may relay and log in \
             without TLS in POSTFIX_MYNETWORKS"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_gateway_is_explained_once_a_minute() {
        let mut hints = Hints::new(vec!["172.20.0.1".into(), "172.21.0.1".into()], false);
        let now = Instant::now();
        let refused = |address: Option<&str>| address.is_none_or(|address| address == "172.20.0.1");
        let hint = hints.explain(refused, now).unwrap();
        assert!(
            hint.contains("172.20.0.1") && hint.contains("MAILROOM_TRUST_GATEWAY"),
            "{hint}"
        );
        assert_eq!(hints.explain(refused, now + Duration::from_secs(59)), None);
        assert!(hints.explain(|address| address == Some("172.21.0.1"), now).is_some());
        assert!(hints.explain(refused, now + Duration::from_secs(60)).is_some());
        assert_eq!(hints.explain(|_| false, now + Duration::from_secs(200)), None);
    }

    #[test]
    fn pods_that_are_refused() {
        let now = Instant::now();
        let mut hints = Hints::new(Vec::new(), true);
        assert_eq!(hints.explain(|_| false, now), None);
        assert!(hints.explain(|_| true, now).unwrap().contains("POSTFIX_MYNETWORKS"));
        assert_eq!(hints.explain(|_| true, now), None);
        assert_eq!(Hints::new(Vec::new(), false).explain(|_| true, now), None);
    }
}
