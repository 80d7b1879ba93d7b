//! Counters with labels, of which every one exists from the start.

use std::fmt::Debug;
use std::hash::Hash;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Labels with fixed sets of values.
pub(super) trait Labels: EncodeLabelSet + Debug + Clone + Eq + Hash + Send + Sync + 'static {
    /// All there can be.
    fn all() -> Vec<Self>;
}

/// A counter for each.
#[derive(Debug)]
pub(super) struct Counts<L: Labels>(Family<L, Counter>);

impl<L: Labels> Counts<L> {
    /// All at zero.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Counts<L> {
        let family = Family::default();
        for labels in L::all() {
            let _: Counter = family.get_or_create_owned(&labels);
        }
        registry.register(name, help, family.clone());
        Counts(family)
    }

    /// Counts one.
    pub(super) fn add(&self, labels: &L) {
        self.0.get_or_create(labels).inc();
    }

    /// The sum of those that are wanted.
    pub(super) fn sum(&self, is_wanted: impl Fn(&L) -> bool) -> u64 {
        let wanted = L::all().into_iter().filter(is_wanted);
        wanted.map(|labels| self.0.get_or_create(&labels).get()).sum()
    }
}
