//! What the policy knows of all services, and the times that follow from it.

use std::time::Duration;

use super::{Id, OnFailure, Phase};
use crate::supervise::service::StopShare;

/// Hundredths of the stop budget that the services get at most, together; the rest is for what they leave.
const MOST_SHARED: u32 = 90;

/// What is known of one service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub(super) phase: Phase,
    /// Its configuration changed before it could take the signal.
    pub(super) reload: bool,
    /// Crashes since it was last stable.
    pub(super) consecutive: u32,
    /// Times of the failures within the window.
    pub(super) failures: Vec<Duration>,
    /// When there are too many of them.
    pub(super) on_failure: OnFailure,
    pub(super) window: Window,
}

/// A service's window of a stop, counted from the stop's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Window {
    /// Until then it may finish its work.
    pub(super) drain_until: Duration,
    /// Then its processes are killed.
    pub(super) kill_at: Duration,
}

/// The windows of all services: one after the other, from the last to the first. Shares that are too many together
/// shrink alike.
fn windows(shares: &[StopShare], budget: Duration) -> Vec<Window> {
    let sum: u32 = shares
        .iter()
        .map(|share| share.drain.min(100) + share.end.min(100))
        .sum();
    let whole = (sum * 100).div_ceil(MOST_SHARED).max(100);
    let mut spent = 0;
    let mut until = |share: u32| {
        spent += share.min(100);
        budget * spent / whole
    };
    let backwards = shares.iter().rev().map(|share| Window {
        drain_until: until(share.drain),
        kill_at: until(share.end),
    });
    let mut windows: Vec<Window> = backwards.collect();
    windows.reverse();
    windows
}

/// A stop under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stopping {
    pub(super) since: Duration,
    pub(super) code: u8,
    /// It was asked for: asked again, it hurries.
    pub(super) asked: bool,
}

/// The state of all services.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) services: Vec<Service>,
    pub(super) stopping: Option<Stopping>,
    pub(super) stop_budget: Duration,
    pub(super) exited: bool,
}

impl State {
    /// Of services with these parts of the time for a stop, and with what too many failures of each lead to, in the order of
    /// starts, none started. All of a stop happens within `stop_budget`.
    pub fn new(services: &[(StopShare, OnFailure)], stop_budget: Duration) -> State {
        let shares: Vec<StopShare> = services.iter().map(|(share, _)| *share).collect();
        let service = |(window, (_, on_failure)): (Window, &(StopShare, OnFailure))| Service {
            phase: Phase::Down,
            reload: false,
            consecutive: 0,
            failures: Vec::new(),
            on_failure: *on_failure,
            window,
        };
        let windows = windows(&shares, stop_budget).into_iter();
        State {
            services: windows.zip(services).map(service).collect(),
            stopping: None,
            stop_budget,
            exited: false,
        }
    }

    /// What a service is doing.
    pub fn phase(&self, id: Id) -> Phase {
        self.services[id].phase
    }

    /// Everything is to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// When a `Tick` is due, if nothing happens before.
    pub fn next_tick(&self) -> Option<Duration> {
        if self.exited {
            return None;
        }
        let due = self.services.iter().filter_map(|service| match service.phase {
            Phase::Backoff { until } | Phase::Paused { until } | Phase::Draining { until } => Some(until),
            Phase::Stopping { kill_at } => Some(kill_at),
            _ => None,
        });
        due.chain(self.give_up_at()).min()
    }

    /// The end of the budget, whatever is still there.
    pub(super) fn give_up_at(&self) -> Option<Duration> {
        self.stopping.map(|stopping| stopping.since + self.stop_budget)
    }

    /// How long a service may finish its work.
    pub(super) fn drain_until(&self, id: Id, now: Duration) -> Duration {
        self.stopping.map_or(now, |stopping| stopping.since) + self.services[id].window.drain_until
    }

    /// When a service that was asked to end is killed.
    pub(super) fn kill_at(&self, id: Id, now: Duration) -> Duration {
        self.stopping.map_or(now, |stopping| stopping.since) + self.services[id].window.kill_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows within a budget of 9 s, in milliseconds, in the order of the stop.
    fn stop(shares: &[(u32, u32)]) -> Vec<(u128, u128)> {
        let shares: Vec<StopShare> = shares.iter().map(|&(drain, end)| StopShare { drain, end }).collect();
        let windows = windows(&shares, Duration::from_secs(9));
        let times = |window: &Window| (window.drain_until.as_millis(), window.kill_at.as_millis());
        windows.iter().rev().map(times).collect()
    }

    #[test]
    fn each_service_has_its_window() {
        assert_eq!(stop(&[(0, 20), (50, 20)]), [(4500, 6300), (6300, 8100)]);
        assert_eq!(
            stop(&[(0, 10), (0, 10), (30, 10)]),
            [(2700, 3600), (3600, 4500), (4500, 5400)]
        );
        assert!(stop(&[]).is_empty());
    }

    #[test]
    fn too_large_shares_shrink_alike() {
        assert_eq!(stop(&[(0, 40), (100, 40)]), [(4500, 6300), (6300, 8100)]);
        let last = stop(&[(u32::MAX, 7), (3, 70), (5, 11)])[2].1;
        assert!(last <= 8100, "{last}");
    }
}
