//! What happened lately, within bounded memory: wrong passwords that count together, and moments that are remembered.
//!
//! Names and addresses are not kept, but hashes of them with a random key, so that nobody can choose two that are one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// The hash of a name, of an address, of a guess.
pub(super) type Key = u64;

/// Most guesses that are remembered, of all keys together: the oldest are forgotten first. A full memory takes 1.5 MB.
const MOST_GUESSES: usize = 16_384;

/// Guesses within a window of time, each counted once, however often it is repeated.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    /// In the order of their times.
    made: VecDeque<(Duration, Key, Key)>,
    /// How many of them each key has.
    counts: HashMap<Key, u32>,
    known: HashSet<(Key, Key)>,
}

impl Guesses {
    /// Counts a guess for a key, unless it counts already.
    pub(super) fn add(&mut self, key: Key, guess: Key, now: Duration) {
        if !self.known.insert((key, guess)) {
            return;
        }
        self.made.push_back((now, key, guess));
        *self.counts.entry(key).or_default() += 1;
        if self.made.len() > MOST_GUESSES {
            self.forget_oldest();
        }
    }

    /// How many guesses of a key are left within the window.
    pub(super) fn count(&mut self, key: Key, window: Duration, now: Duration) -> u32 {
        while self
            .made
            .front()
            .is_some_and(|(at, ..)| now.saturating_sub(*at) >= window)
        {
            self.forget_oldest();
        }
        self.counts.get(&key).copied().unwrap_or(0)
    }

    fn forget_oldest(&mut self) {
        let Some((_, key, guess)) = self.made.pop_front() else {
            return;
        };
        self.known.remove(&(key, guess));
        if let Some(count) = self.counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }
}

/// When each of a number of things happened last.
#[derive(Debug)]
pub(super) struct Moments {
    last: HashMap<Key, Duration>,
    /// Most of them; the oldest is forgotten first.
    most: usize,
    /// For so long.
    age: Duration,
}

impl Moments {
    pub(super) fn new(most: usize, age: Duration) -> Moments {
        Moments {
            last: HashMap::new(),
            most,
            age,
        }
    }

    /// It happens now.
    pub(super) fn note(&mut self, key: Key, now: Duration) {
        if self.last.len() >= self.most && !self.last.contains_key(&key) {
            let age = self.age;
            self.last.retain(|_, at| now.saturating_sub(*at) < age);
            let oldest = self.last.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            if let Some(oldest) = oldest.filter(|_| self.last.len() >= self.most) {
                self.last.remove(&oldest);
            }
        }
        self.last.insert(key, now);
    }

    /// Whether it happened lately.
    pub(super) fn has(&self, key: Key, now: Duration) -> bool {
        self.last.get(&key).is_some_and(|at| now.saturating_sub(*at) < self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_guess_counts_once_and_for_a_while() {
        let mut guesses = Guesses::default();
        for (guess, seconds) in [(1, 0), (1, 1), (2, 100), (1, 200)] {
            guesses.add(7, guess, at(seconds));
        }
        guesses.add(8, 1, at(200));
        assert_eq!(guesses.count(7, WINDOW, at(599)), 2);
        assert_eq!(guesses.count(8, WINDOW, at(599)), 1);
        assert_eq!(guesses.count(7, WINDOW, at(600)), 1);
        assert_eq!(guesses.count(7, WINDOW, at(700)), 0);
        guesses.add(7, 1, at(701));
        assert_eq!(guesses.count(7, WINDOW, at(701)), 1, "it may count again");
    }

    #[test]
    fn a_flood_finds_bounded_memory() {
        let mut guesses = Guesses::default();
        let mut moments = Moments::new(100, WINDOW);
        for key in 0..100_000 {
            guesses.add(key, key, at(key / 10_000));
            moments.note(key, at(key / 10_000));
        }
        assert_eq!(guesses.made.len(), MOST_GUESSES);
        assert_eq!(
            (guesses.known.len(), guesses.counts.len()),
            (MOST_GUESSES, MOST_GUESSES)
        );
        assert_eq!(moments.last.len(), 100);
        assert_eq!(guesses.count(99_999, WINDOW, at(10)), 1, "the newest are kept");
        assert!(moments.has(99_999, at(10)) && !moments.has(0, at(10)));
    }

    #[test]
    fn moments_pass() {
        let mut moments = Moments::new(2, WINDOW);
        for (key, seconds) in [(1, 0), (2, 1), (1, 2), (3, 3)] {
            moments.note(key, at(seconds));
        }
        assert!(moments.has(1, at(3)) && !moments.has(2, at(3)) && moments.has(3, at(602)));
        assert!(!moments.has(3, at(603)));
    }

    proptest! {
        /// Whatever is guessed when, a key's count is that of the different guesses within the window.
        #[test]
        fn counts_are_those_of_different_guesses(made in proptest::collection::vec((0u64..3, 0u64..4, 0u64..300), 0..60)) {
            let mut guesses = Guesses::default();
            let mut counted: Vec<(u64, u64, u64)> = Vec::new();
            let mut now = 0;
            for (key, guess, pause) in made {
                now += pause;
                counted.retain(|(_, _, at)| now - at < WINDOW.as_secs());
                prop_assert_eq!(guesses.count(key, WINDOW, at(now)) as usize, counted.iter().filter(|made| made.0 == key).count());
                guesses.add(key, guess, at(now));
                if !counted.iter().any(|made| (made.0, made.1) == (key, guess)) {
                    counted.push((key, guess, now));
                }
            }
        }
    }
}
