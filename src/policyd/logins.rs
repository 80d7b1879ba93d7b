//! Who may try to log in: a pure function of what was tried before and of the time.
//!
//! Wrong passwords are counted for each address (IPv6: for each /64) and for each account, whatever the port and the
//! protocol. From half of the limit on a login is slowed, from the limit on it is refused, until the wrong passwords are
//! older than the window. A refused login does not count, so an end always comes. The same wrong password counts once: a
//! forgotten phone with yesterday's password locks nobody out.
//!
//! Many people share the address of a gateway, of a trusted network's proxy, of the container itself: such an address is never
//! refused as a whole. An account's own people are kept out by nobody's guesses where they have logged in lately: for them the
//! limit of the account does not hold, or, at a shared address, ten times as many guesses slow the login alone.
//!
//! It cannot tell a person at an address that is new to the account from an attacker: while the account is under attack from
//! elsewhere, that login is refused. A restart forgets everything.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::recent::{Guesses, Key, Moments};

/// How long a good login from an address is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(28 * 24 * 3600);
/// Most pairs of account and address that are remembered.
const MOST_KNOWN: usize = 16_384;
/// Longest time by which a login is slowed. smtpd(8) waits 10 s for Dovecot, which adds `auth_failure_delay`.
const SLOWEST: Duration = Duration::from_secs(5);
/// At a shared address a known person is refused only at so many times the account's limit.
const SHARED_FACTOR: u32 = 10;
/// Between two lines of the log about one address or account.
const BETWEEN_LINES: Duration = Duration::from_secs(60);
/// Most of those that are remembered for that.
const MOST_TOLD: usize = 1024;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Different wrong passwords from one address.
    pub per_address: Option<u32>,
    /// Different wrong passwords for one account.
    pub per_account: Option<u32>,
    /// For how long they count, in whole seconds.
    #[serde(with = "seconds")]
    pub window: Duration,
    /// Addresses that many share.
    pub shared: Vec<IpNet>,
}

/// A time as a number.
mod seconds {
    use super::{Deserialize, Duration};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

impl Limits {
    fn is_shared(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.shared.iter().any(|net| net.contains(&address))
    }
}

/// One login that is tried.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// From where.
    pub address: IpAddr,
    /// As whom: the full address.
    pub account: &'a str,
    /// A hash of name and password; of no use but to compare it.
    pub password: &'a str,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is looked at.
    Allow,
    /// It is, after this time.
    Slow(Duration),
    /// It is not.
    Refuse {
        /// What there were too many guesses for.
        reason: Reason,
        /// This deserves a line in the log: the last one was a while ago.
        tell: bool,
    },
}

/// What there were too many wrong passwords for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// From the address.
    Address,
    /// For the account.
    Account,
}

/// What is remembered of logins.
#[derive(Debug)]
pub struct Logins {
    limits: Limits,
    random: RandomState,
    by_address: Guesses,
    by_account: Guesses,
    /// Pairs of account and address with a good login.
    known: Moments,
    told: Moments,
}

impl Logins {
    /// Nothing is known yet.
    pub fn new(limits: Limits) -> Logins {
        Logins {
            limits,
            random: RandomState::new(),
            by_address: Guesses::default(),
            by_account: Guesses::default(),
            known: Moments::new(MOST_KNOWN, KNOWN_FOR),
            told: Moments::new(MOST_TOLD, BETWEEN_LINES),
        }
    }

    /// Other limits; what is remembered stays.
    pub fn set(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Decides. `now` is the time since some fixed moment, here as everywhere.
    pub fn decide(&mut self, attempt: &Attempt, now: Duration) -> Verdict {
        let verdicts = [self.of_address(attempt, now), self.of_account(attempt, now)];
        match verdicts {
            [refused @ Verdict::Refuse { .. }, _] | [_, refused @ Verdict::Refuse { .. }] => refused,
            [Verdict::Slow(one), Verdict::Slow(other)] => Verdict::Slow(one.max(other)),
            [Verdict::Allow, other] | [other, Verdict::Allow] => other,
        }
    }

    /// Learns what became of an attempt that was not refused.
    pub fn learn(&mut self, attempt: &Attempt, is_good: bool, now: Duration) {
        if is_good {
            let pair = self.pair(attempt);
            self.known.note(pair, now);
            return;
        }
        let (address, account) = (self.address(attempt), self.key(attempt.account));
        if !self.limits.is_shared(attempt.address) {
            let guess = self.key((attempt.account, attempt.password));
            self.by_address.add(address, guess, now);
        }
        self.by_account.add(account, self.key(attempt.password), now);
    }

    fn of_address(&mut self, attempt: &Attempt, now: Duration) -> Verdict {
        let Some(limit) = self.limits.per_address else {
            return Verdict::Allow;
        };
        let key = self.address(attempt);
        let count = self.by_address.count(key, self.limits.window, now);
        if count >= limit {
            return self.refuse(key, Reason::Address, now);
        }
        slowed(count, limit)
    }

    fn of_account(&mut self, attempt: &Attempt, now: Duration) -> Verdict {
        let Some(limit) = self.limits.per_account else {
            return Verdict::Allow;
        };
        let key = self.key(attempt.account);
        let count = self.by_account.count(key, self.limits.window, now);
        let is_known = self.known.has(self.pair(attempt), now);
        match (is_known, self.limits.is_shared(attempt.address)) {
            (true, false) => Verdict::Allow,
            (true, true) if count < limit => Verdict::Allow,
            (true, true) if count < limit.saturating_mul(SHARED_FACTOR) => Verdict::Slow(SLOWEST),
            (false, _) if count < limit => slowed(count, limit),
            _ => self.refuse(key, Reason::Account, now),
        }
    }

    fn refuse(&mut self, key: Key, reason: Reason, now: Duration) -> Verdict {
        let tell = !self.told.has(key, now);
        if tell {
            self.told.note(key, now);
        }
        Verdict::Refuse { reason, tell }
    }

    fn key(&self, what: impl Hash) -> Key {
        self.random.hash_one(what)
    }

    fn address(&self, attempt: &Attempt) -> Key {
        self.key(network(attempt.address))
    }

    fn pair(&self, attempt: &Attempt) -> Key {
        self.key((attempt.account, network(attempt.address)))
    }
}

/// What counts as one address: a site is given a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// From half of the limit on, a second more for each guess.
fn slowed(count: u32, limit: u32) -> Verdict {
    match count.saturating_sub(limit / 2) {
        0 => Verdict::Allow,
        above => Verdict::Slow(Duration::from_secs(above.into()).min(SLOWEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRANGER: &str = "203.0.113.5";
    const GATEWAY: &str = "172.20.0.1";
    const WINDOW: Duration = Duration::from_secs(600);

    fn limits() -> Limits {
        Limits {
            per_address: Some(4),
            per_account: Some(8),
            window: WINDOW,
            shared: vec!["172.20.0.0/16".parse().unwrap()],
        }
    }

    /// Logins and a clock.
    struct Run {
        logins: Logins,
        now: Duration,
    }

    impl Run {
        fn new() -> Run {
            Run {
                logins: Logins::new(limits()),
                now: Duration::ZERO,
            }
        }

        /// Tries a login as a client does, and says what became of it; the right password is `right`.
        fn try_login(&mut self, address: &str, account: &str, password: &str) -> Verdict {
            let attempt = Attempt {
                address: address.parse().unwrap(),
                account,
                password,
            };
            let verdict = self.logins.decide(&attempt, self.now);
            if !matches!(verdict, Verdict::Refuse { .. }) {
                self.logins.learn(&attempt, password == "right", self.now);
            }
            self.now += Duration::from_secs(1);
            verdict
        }

        /// That many different wrong passwords for an account, from as many addresses of strangers.
        fn attack(&mut self, account: &str, guesses: u32) {
            for guess in 0..guesses {
                self.try_login(
                    &format!("198.51.{}.{}", guess / 256, guess % 256),
                    account,
                    &format!("guess {guess}"),
                );
            }
        }
    }

    fn refused(verdict: Verdict) -> Option<Reason> {
        match verdict {
            Verdict::Refuse { reason, .. } => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_stranger_is_slowed_then_refused_for_a_while() {
        let mut run = Run::new();
        let tries: Vec<Verdict> = (0..5)
            .map(|n| run.try_login(STRANGER, &format!("{n}"), "wrong"))
            .collect();
        let refuse = |tell| Verdict::Refuse {
            reason: Reason::Address,
            tell,
        };
        let slow = Verdict::Slow(Duration::from_secs(1));
        assert_eq!(
            tries,
            [Verdict::Allow, Verdict::Allow, Verdict::Allow, slow, refuse(true)]
        );
        assert_eq!(
            run.try_login(STRANGER, "user", "right"),
            refuse(false),
            "told once a minute"
        );
        assert_eq!(run.try_login("203.0.113.6", "user", "right"), Verdict::Allow);
        run.now += BETWEEN_LINES;
        assert_eq!(run.try_login(STRANGER, "user", "right"), refuse(true));
        run.now = WINDOW + Duration::from_secs(4);
        assert_eq!(
            run.try_login(STRANGER, "user", "right"),
            Verdict::Allow,
            "refused tries do not count"
        );
    }

    #[test]
    fn the_same_wrong_password_counts_once() {
        let mut run = Run::new();
        assert!((0..50).all(|_| run.try_login(STRANGER, "user", "old") == Verdict::Allow));
        assert!((0..50).all(|n| run.try_login(&format!("192.0.2.{n}"), "user", "old") == Verdict::Allow));
    }

    #[test]
    fn an_account_is_guarded_against_many_addresses() {
        let mut run = Run::new();
        run.try_login("192.0.2.1", "user", "right");
        run.attack("user", 8);
        assert_eq!(refused(run.try_login(STRANGER, "user", "right")), Some(Reason::Account));
        assert_eq!(
            run.try_login("192.0.2.1", "user", "right"),
            Verdict::Allow,
            "known from there"
        );
        assert_eq!(refused(run.try_login("192.0.2.1", "user", "typo")), None);
        assert_eq!(run.try_login(STRANGER, "other", "right"), Verdict::Allow);
        run.now += WINDOW;
        assert_eq!(run.try_login(STRANGER, "user", "right"), Verdict::Allow);
    }

    #[test]
    fn a_known_address_is_limited_as_an_address() {
        let mut run = Run::new();
        run.try_login(STRANGER, "user", "right");
        let refusals = (0..10).filter_map(|n| refused(run.try_login(STRANGER, "user", &format!("guess {n}"))));
        assert_eq!(refusals.collect::<Vec<_>>(), [Reason::Address; 6]);
    }

    #[test]
    fn a_shared_address_is_never_refused_as_one() {
        for address in [GATEWAY, "127.0.0.1", "::1"] {
            let mut run = Run::new();
            for n in 0..100 {
                run.try_login(address, &format!("user{n}"), "wrong");
            }
            assert_eq!(run.try_login(address, "user", "right"), Verdict::Allow, "{address}");
            for n in 0..8 {
                run.try_login(address, "victim", &format!("guess {n}"));
            }
            assert_eq!(
                refused(run.try_login(address, "victim", "right")),
                Some(Reason::Account)
            );
            assert_eq!(run.try_login(address, "user", "right"), Verdict::Allow, "{address}");
        }
    }

    #[test]
    fn who_is_known_at_a_shared_address_is_slowed_and_guessing_ends_all_the_same() {
        let mut run = Run::new();
        run.try_login(GATEWAY, "user", "right");
        run.attack("user", 8);
        assert_eq!(run.try_login(GATEWAY, "user", "right"), Verdict::Slow(SLOWEST));
        let guesses = (0..200).take_while(|n| refused(run.try_login(GATEWAY, "user", &format!("more {n}"))).is_none());
        assert_eq!(guesses.count(), 72);
    }

    #[test]
    fn a_64_is_one_address_and_mapped_addresses_are_ipv4() {
        let mut run = Run::new();
        for n in 0..4 {
            run.try_login(&format!("2001:db8:0:1::{n}"), "user", &format!("guess {n}"));
        }
        assert_eq!(
            refused(run.try_login("2001:db8:0:1:ffff::1", "user", "right")),
            Some(Reason::Address)
        );
        assert_eq!(refused(run.try_login("2001:db8:0:2::1", "other", "right")), None);
        assert_eq!(
            network("::ffff:192.0.2.1".parse().unwrap()),
            network("192.0.2.1".parse().unwrap())
        );
    }

    #[test]
    fn off_is_off() {
        let mut run = Run::new();
        run.logins.set(Limits {
            per_address: None,
            ..limits()
        });
        assert!((0..50).all(|n| run.try_login(STRANGER, &format!("{n}"), "wrong") == Verdict::Allow));
        run.logins.set(Limits {
            per_account: None,
            ..limits()
        });
        run.attack("user", 50);
        assert_eq!(run.try_login("203.0.113.7", "user", "right"), Verdict::Allow);
    }

    proptest! {
        /// However an attacker mixes addresses, at most so many different passwords for an account that nobody has logged in to
        /// from there are looked at within a window.
        #[test]
        fn guesses_are_bounded(tries in proptest::collection::vec((any::<u8>(), any::<u16>(), 0u64..20), 0..300)) {
            let mut run = Run::new();
            let mut looked_at: Vec<(Duration, u16)> = Vec::new();
            for (host, guess, pause) in tries {
                run.now += Duration::from_secs(pause);
                let now = run.now;
                let address = if host < 128 { format!("203.0.113.{host}") } else { format!("172.20.0.{host}") };
                let verdict = run.try_login(&address, "user", &format!("guess {guess}"));
                looked_at.retain(|(at, _)| now.saturating_sub(*at) < WINDOW);
                if refused(verdict).is_none() && !looked_at.iter().any(|(_, there)| *there == guess) {
                    looked_at.push((now, guess));
                }
                prop_assert!(looked_at.len() <= 8, "{looked_at:?}");
            }
        }
    }
}
