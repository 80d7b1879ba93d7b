//! How much an account may send: a pure function of what it has sent and of the time.
//!
//! A message counts once for each of its recipients, when it is about to be sent (SMTP's DATA), so that one message to a
//! thousand people is not one. Counted are the last sixty minutes, minute by minute. What is turned away does not count. A
//! restart forgets everything.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60;

/// What is done about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken, and counted.
    Allow,
    /// It is not for now. `tell` says that it is the first within an hour: this deserves a line in the log.
    Later {
        /// Log it.
        tell: bool,
    },
    /// It has more recipients than an account may ever have within an hour.
    Never,
}

/// What each account has sent.
#[derive(Debug, Default)]
pub struct Submissions {
    /// Recipients an hour.
    limit: Option<u32>,
    accounts: HashMap<String, Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    /// Minutes, and how much was sent in each: an hour at most.
    minutes: VecDeque<(u64, u32)>,
    /// The minute of the last line about it.
    told: Option<u64>,
}

impl Sent {
    fn forget_before(&mut self, minute: u64) {
        while self.minutes.front().is_some_and(|(at, _)| at + HOUR <= minute) {
            self.minutes.pop_front();
        }
        self.told = self.told.filter(|at| at + HOUR > minute);
    }

    fn total(&self) -> u32 {
        self.minutes.iter().map(|(_, sent)| sent).sum()
    }

    fn add(&mut self, minute: u64, recipients: u32) {
        match self.minutes.back_mut() {
            Some((last, sent)) if *last == minute => *sent += recipients,
            _ => self.minutes.push_back((minute, recipients)),
        }
    }
}

impl Submissions {
    /// That many recipients an hour; nothing is sent yet.
    pub fn new(limit: Option<u32>) -> Submissions {
        Submissions {
            limit,
            accounts: HashMap::new(),
        }
    }

    /// Another limit; what is remembered stays.
    pub fn set(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// The limit.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(u32::MAX)
    }

    /// Decides about a message of an account. `now` is the time since some fixed moment.
    pub fn decide(&mut self, account: &str, recipients: u32, now: Duration) -> Verdict {
        let Some(limit) = self.limit else {
            return Verdict::Allow;
        };
        if recipients > limit {
            return Verdict::Never;
        }
        let minute = now.as_secs() / MINUTE;
        if !self.accounts.contains_key(account) {
            // Accounts that have sent nothing for an hour make room.
            self.accounts.values_mut().for_each(|sent| sent.forget_before(minute));
            self.accounts.retain(|_, sent| !sent.minutes.is_empty());
        }
        let sent = self.accounts.entry(account.to_owned()).or_default();
        sent.forget_before(minute);
        if sent.total() + recipients > limit {
            let tell = sent.told.replace(minute).is_none();
            return Verdict::Later { tell };
        }
        sent.add(minute, recipients);
        Verdict::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(minutes * MINUTE)
    }

    #[test]
    fn each_account_has_its_hour() {
        let mut submissions = Submissions::new(Some(3));
        let mut send = |account: &str, recipients, minutes| submissions.decide(account, recipients, at(minutes));
        assert_eq!(send("a", 1, 0), Verdict::Allow);
        assert_eq!(send("a", 2, 10), Verdict::Allow);
        assert_eq!(send("a", 1, 11), Verdict::Later { tell: true });
        assert_eq!(send("a", 1, 12), Verdict::Later { tell: false });
        assert_eq!(send("b", 3, 12), Verdict::Allow);
        assert_eq!(send("a", 1, 60), Verdict::Allow, "the first has become an hour old");
        assert_eq!(send("a", 1, 61), Verdict::Later { tell: false });
        assert_eq!(send("a", 2, 70), Verdict::Allow);
        assert_eq!(send("a", 4, 500), Verdict::Never);
    }

    #[test]
    fn a_flood_is_told_of_once_while_it_lasts() {
        let mut submissions = Submissions::new(Some(1));
        submissions.decide("a", 1, at(0));
        let told = (1..300).filter(|minute| submissions.decide("a", 1, at(*minute)) == Verdict::Later { tell: true });
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn accounts_that_are_quiet_are_forgotten() {
        let mut submissions = Submissions::new(Some(5));
        for account in 0..100 {
            submissions.decide(&account.to_string(), 1, at(account));
        }
        assert_eq!(submissions.accounts.len(), 60);
        submissions.set(None);
        assert!((0..10).all(|_| submissions.decide("a", 1000, at(99)) == Verdict::Allow));
    }

    proptest! {
        /// Never more within sixty minutes than the limit.
        #[test]
        fn the_limit_holds(limit in 1u32..20, sent in proptest::collection::vec((1u32..6, 0u64..30), 0..100)) {
            let mut submissions = Submissions::new(Some(limit));
            let (mut minute, mut taken) = (0, Vec::new());
            for (recipients, pause) in sent {
                minute += pause;
                if submissions.decide("a", recipients, at(minute)) == Verdict::Allow {
                    taken.push((minute, recipients));
                }
                let hour: u32 = taken.iter().filter(|(at, _)| at + HOUR > minute).map(|(_, recipients)| recipients).sum();
                prop_assert!(hour <= limit);
            }
        }
    }
}
