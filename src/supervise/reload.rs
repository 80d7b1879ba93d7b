//! When other services are held for a reload, and when they are let go: a pure function of what happens.
//!
//! While a service reads its configuration again its sockets may be missing for a moment, and a service that needs one
//! would turn a client away. So those are held from before the SIGHUP until the service says READY, [`LONGEST`] at
//! most. A reload by the supervisor is noticed at once; a reload by a user is noticed when the service says RELOADING,
//! which it does before it touches its sockets. Without such notifications a user's reload holds no other service.
//!
//! [`Reload`] decides; `reloading` carries out.

use std::time::{Duration, Instant};

/// Longest that others are held for one reload.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// How long others are held after the service serves again: a user who types two reloads leaves no more than a moment
/// between them, and a hold that begins anew comes a few milliseconds late.
pub(super) const LINGER: Duration = Duration::from_millis(30);

/// A service's reload under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Reload(Option<Flight>);

#[derive(Debug)]
struct Flight {
    /// When it counts as over.
    until: Instant,
    /// The service has said RELOADING: the next READY ends this reload, and not one before.
    begun: bool,
    /// Another reload is wanted after this one.
    again: bool,
    /// It is done, and the hold lasts a moment longer.
    done: bool,
}

impl Flight {
    fn new(now: Instant, begun: bool) -> Flight {
        Flight {
            until: now + LONGEST,
            begun,
            again: false,
            done: false,
        }
    }
}

/// What happens to a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The supervisor wants one.
    Wanted,
    /// The service says that it begins one.
    Begins,
    /// The service says that it serves.
    Ready,
    /// The time for one may be over.
    Limit,
    /// Its main process ends, or is gone.
    Ends,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    /// Hold the services that need its sockets.
    Hold,
    /// Send SIGHUP to its main process.
    HangUp,
    /// Send [`Step::Limit`] after [`LONGEST`].
    AwaitLimit,
    /// Send [`Step::Limit`] after [`LINGER`].
    AwaitLinger,
    /// Hold no other service any longer.
    Release,
}

impl Reload {
    /// The next state, and what to do. One reload is under way at a time; those that are wanted meanwhile are one more
    /// after it, and the hold lasts over both.
    pub(super) fn step(&mut self, step: Step, now: Instant) -> &'static [Do] {
        match (step, &mut self.0) {
            (Step::Wanted, None) => {
                self.0 = Some(Flight::new(now, false));
                &[Do::Hold, Do::HangUp, Do::AwaitLimit]
            }
            (Step::Begins, None) => {
                self.0 = Some(Flight::new(now, true));
                &[Do::Hold, Do::AwaitLimit]
            }
            (Step::Wanted, Some(flight)) if flight.done => {
                *flight = Flight::new(now, false);
                &[Do::HangUp, Do::AwaitLimit]
            }
            (Step::Begins, Some(flight)) if flight.done => {
                *flight = Flight::new(now, true);
                &[Do::AwaitLimit]
            }
            (Step::Wanted, Some(flight)) => {
                flight.again = true;
                &[]
            }
            (Step::Begins, Some(flight)) => {
                flight.begun = true;
                &[]
            }
            (Step::Ready, Some(flight)) if flight.begun && flight.again => self.over(now),
            (Step::Ready, Some(flight)) if flight.begun && !flight.done => {
                flight.done = true;
                flight.until = now + LINGER;
                &[Do::AwaitLinger]
            }
            (Step::Limit, Some(flight)) if flight.until <= now => self.over(now),
            (Step::Ready | Step::Limit, _) => &[],
            (Step::Ends, _) => {
                self.0 = None;
                &[Do::Release]
            }
        }
    }

    fn over(&mut self, now: Instant) -> &'static [Do] {
        if self.0.take().is_some_and(|flight| flight.again) {
            self.0 = Some(Flight::new(now, false));
            &[Do::HangUp, Do::AwaitLimit]
        } else {
            &[Do::Release]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is to be done after each step, which happens so many milliseconds after the first.
    fn run(steps: &[(u64, Step)]) -> Vec<&'static [Do]> {
        let (mut reload, begun) = (Reload::default(), Instant::now());
        let mut step = |&(at, step): &(u64, Step)| reload.step(step, begun + Duration::from_millis(at));
        steps.iter().map(&mut step).collect()
    }

    const OURS: &[Do] = &[Do::Hold, Do::HangUp, Do::AwaitLimit];
    const USERS: &[Do] = &[Do::Hold, Do::AwaitLimit];
    const NEXT: &[Do] = &[Do::HangUp, Do::AwaitLimit];
    const DONE: &[Do] = &[Do::AwaitLinger];
    const OVER: &[Do] = &[Do::Release];

    #[test]
    fn our_own_reload_holds_once() {
        let steps = [
            (0, Step::Wanted),
            (5, Step::Begins),
            (20, Step::Ready),
            (50, Step::Limit),
            (500, Step::Limit),
        ];
        assert_eq!(run(&steps), [OURS, &[], DONE, OVER, &[]]);
    }

    #[test]
    fn a_users_reload_holds_from_its_beginning() {
        let steps = [
            (0, Step::Begins),
            (20, Step::Ready),
            (49, Step::Limit),
            (50, Step::Limit),
        ];
        assert_eq!(run(&steps), [USERS, DONE, &[], OVER]);
        assert_eq!(run(&[(0, Step::Ready)]), [&[] as &[Do]], "after a start");
    }

    #[test]
    fn reloads_in_close_order_are_under_one_hold() {
        let steps = [
            (0, Step::Begins),
            (20, Step::Ready),
            (25, Step::Begins),
            (45, Step::Ready),
            (50, Step::Limit),
            (60, Step::Wanted),
            (65, Step::Begins),
            (80, Step::Ready),
            (110, Step::Limit),
        ];
        let users_next: &[Do] = &[Do::AwaitLimit];
        assert_eq!(run(&steps), [USERS, DONE, users_next, DONE, &[], NEXT, &[], DONE, OVER]);
    }

    #[test]
    fn a_hold_ends_with_the_limit() {
        assert_eq!(
            run(&[(0, Step::Wanted), (499, Step::Limit), (500, Step::Limit)]),
            [OURS, &[], OVER]
        );
        let late = [(0, Step::Begins), (500, Step::Limit), (600, Step::Ready)];
        assert_eq!(run(&late), [USERS, OVER, &[]]);
    }

    #[test]
    fn reloads_that_are_wanted_meanwhile_are_one_more_under_the_same_hold() {
        let steps = [
            (0, Step::Wanted),
            (30, Step::Wanted),
            (31, Step::Wanted),
            (40, Step::Begins),
            (60, Step::Ready),
            (70, Step::Begins),
            (500, Step::Limit),
            (510, Step::Ready),
            (540, Step::Limit),
            (560, Step::Limit),
        ];
        assert_eq!(run(&steps), [OURS, &[], &[], &[], NEXT, &[], &[], DONE, OVER, &[]]);
    }

    #[test]
    fn ours_follows_a_users() {
        let steps = [
            (0, Step::Begins),
            (5, Step::Wanted),
            (20, Step::Ready),
            (30, Step::Begins),
            (40, Step::Ready),
            (70, Step::Limit),
        ];
        assert_eq!(run(&steps), [USERS, &[], NEXT, &[], DONE, OVER]);
    }

    #[test]
    fn the_ready_of_an_earlier_reload_does_not_end_this_one() {
        let steps = [
            (0, Step::Begins),
            (500, Step::Limit),
            (510, Step::Wanted),
            (520, Step::Ready),
            (530, Step::Begins),
            (550, Step::Ready),
            (580, Step::Limit),
        ];
        assert_eq!(run(&steps), [USERS, OVER, OURS, &[], &[], DONE, OVER]);
    }

    #[test]
    fn a_service_that_is_gone_holds_no_other_and_forgets_what_was_wanted() {
        let steps = [
            (0, Step::Wanted),
            (1, Step::Wanted),
            (2, Step::Ends),
            (500, Step::Limit),
            (600, Step::Begins),
        ];
        assert_eq!(run(&steps), [OURS, &[], OVER, &[], USERS]);
    }
}
