//! What happened in the last hour, minute by minute, and in the last day, in quarters of an hour: a few kilobytes of memory, for
//! the graphs of the status page. A pause, as of a machine that sleeps, is a row of zeros.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Seconds and number of the samples of the last hour.
const MINUTES: (i64, usize) = (60, 60);
/// The same of the last day.
const QUARTERS: (i64, usize) = (900, 96);

/// The figures of a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When the span began, in seconds since 1970.
    pub at: i64,
    /// Messages taken.
    pub received: u64,
    /// Deliveries that succeeded.
    pub delivered: u64,
    /// Deliveries put off.
    pub deferred: u64,
    /// Recipients given up.
    pub bounced: u64,
    /// Clients, recipients and messages refused.
    pub rejected: u64,
    /// Logins.
    pub logins: u64,
    /// Logins refused.
    pub login_failures: u64,
    /// Messages in the queue, at the end.
    pub queued: u64,
}

/// The samples, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Of the last hour.
    pub hour: Vec<Sample>,
    /// Of the last day.
    pub day: Vec<Sample>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) deferred: u64,
    pub(super) bounced: u64,
    pub(super) rejected: u64,
    pub(super) logins: u64,
    pub(super) login_failures: u64,
}

/// Both rows of samples, and the counts up to which they go.
#[derive(Debug, Default)]
pub(super) struct Histories {
    last: Totals,
    hour: VecDeque<Sample>,
    day: VecDeque<Sample>,
}

impl Histories {
    /// Adds what has happened since the last call.
    pub(super) fn add(&mut self, now: i64, totals: Totals, queued: Option<u64>) {
        let before = self.hour.back().map_or(0, |last| last.queued);
        let queued = queued.unwrap_or(before);
        let last = std::mem::replace(&mut self.last, totals);
        let more = Sample {
            at: now,
            received: totals.received - last.received,
            delivered: totals.delivered - last.delivered,
            deferred: totals.deferred - last.deferred,
            bounced: totals.bounced - last.bounced,
            rejected: totals.rejected - last.rejected,
            logins: totals.logins - last.logins,
            login_failures: totals.login_failures - last.login_failures,
            queued,
        };
        add(&mut self.hour, more, MINUTES);
        add(&mut self.day, more, QUARTERS);
    }

    pub(super) fn told(&self) -> History {
        History {
            hour: self.hour.iter().copied().collect(),
            day: self.day.iter().copied().collect(),
        }
    }
}

/// Adds figures to the span that they belong to.
fn add(samples: &mut VecDeque<Sample>, more: Sample, (step, length): (i64, usize)) {
    let at = more.at - more.at.rem_euclid(step);
    let span = step * i64::try_from(length).unwrap_or(i64::MAX);
    // A clock that was set back, or far ahead, begins a new row.
    if samples.back().is_some_and(|last| at < last.at || at - last.at >= span) {
        samples.clear();
    }
    let next = samples.back().map_or(at, |last| last.at + step);
    for at in (next..=at).step_by(usize::try_from(step).unwrap_or(1)) {
        samples.push_back(Sample {
            at,
            queued: more.queued,
            ..Sample::default()
        });
    }
    while samples.len() > length {
        samples.pop_front();
    }
    if let Some(last) = samples.back_mut() {
        last.received += more.received;
        last.delivered += more.delivered;
        last.deferred += more.deferred;
        last.bounced += more.bounced;
        last.rejected += more.rejected;
        last.logins += more.logins;
        last.login_failures += more.login_failures;
        last.queued = more.queued;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_796_126_400;

    fn received(received: u64) -> Totals {
        Totals {
            received,
            ..Totals::default()
        }
    }

    #[test]
    fn figures_belong_to_their_minute_and_quarter() {
        let mut histories = Histories::default();
        histories.add(NOON + 5, received(3), Some(1));
        histories.add(NOON + 50, received(4), Some(2));
        histories.add(NOON + 190, received(10), Some(0));
        let told = histories.told();
        let hour: Vec<_> = told
            .hour
            .iter()
            .map(|sample| (sample.at - NOON, sample.received, sample.queued))
            .collect();
        assert_eq!(hour, [(0, 4, 2), (60, 0, 0), (120, 0, 0), (180, 6, 0)]);
        assert_eq!((told.day.len(), told.day[0].received), (1, 10));
    }

    #[test]
    fn it_is_bounded_whatever_the_clock_does() {
        let mut histories = Histories::default();
        for minute in 0..2_000 {
            histories.add(NOON + minute * 60, received(minute.unsigned_abs()), None);
        }
        assert_eq!((histories.hour.len(), histories.day.len()), (60, 96));
        histories.add(i64::MAX / 2, received(3_000), None);
        histories.add(0, received(3_001), None);
        let told = histories.told();
        assert_eq!((told.hour.len(), told.hour[0].received), (1, 1));
    }
}
