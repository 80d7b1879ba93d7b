//! What the policy promises, checked in every state that two or three services can reach: a breadth-first search over
//! all events that can happen, and long random walks.
//!
//! A world is the policy's state together with what is really there of each service. The search finds no state that
//! lies deeper than its depth; the walks reach some of those.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::supervise::service::StopShare;

/// The shares of Dovecot and Postfix.
const TWO: [StopShare; 2] = [share(0, 20), share(50, 20)];
/// Unequal shares that are too large together.
const THREE: [StopShare; 3] = [share(5, 10), share(0, 30), share(60, 20)];

const fn share(drain: u32, end: u32) -> StopShare {
    StopShare { drain, end }
}

const BUDGET: Duration = Duration::from_secs(9);
/// All times in a state are moved so that now is this: states that differ in nothing but their age are one.
const NOW: Duration = Duration::from_secs(1_000);
const JITTER: Jitter = 128;

/// Its main process is there.
fn is_alive(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Starting { .. } | Phase::Running { .. } | Phase::Draining { .. } | Phase::Stopping { .. }
    )
}

/// What is really there of a service.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent: that is what the search is for"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Real {
    preparing: bool,
    alive: bool,
    awaiting_adoption: bool,
    draining: bool,
    clearing: bool,
}

/// State and reality of `N` services, now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World<const N: usize> {
    state: State,
    real: [Real; N],
}

/// An event, or time that passes.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Event(Event),
    Pass(Duration),
}

impl<const N: usize> World<N> {
    fn new(shares: &[StopShare; N], on_failure: [OnFailure; N]) -> World<N> {
        let services: Vec<_> = shares.iter().copied().zip(on_failure).collect();
        let world = World {
            state: State::new(&services, BUDGET),
            real: [Real::default(); N],
        };
        world.after(Happens::Event(Event::Begin))
    }

    /// All that can happen now. Messages of earlier instances never reach the policy.
    fn possible(&self) -> Vec<Happens> {
        let mut events = vec![Event::Stop];
        for (id, real) in self.real.iter().enumerate() {
            let starting = matches!(self.state.phase(id), Phase::Starting { .. });
            let can = [
                (real.preparing, Event::Prepared(id)),
                // Also a process that cannot be spawned.
                (
                    real.preparing || (starting && real.alive),
                    Event::PreparationFailed(id, JITTER),
                ),
                // Also one that was found just before the search was called off.
                (
                    !real.alive && (real.preparing || real.awaiting_adoption || real.clearing),
                    Event::Adopted(id),
                ),
                (real.alive, Event::Ready(id)),
                (true, Event::Reload(id)),
                (real.alive, Event::Exited(id, Ended::Cleanly, JITTER)),
                (real.alive, Event::Exited(id, Ended::Crashed, JITTER)),
                (real.draining, Event::Drained(id)),
                (real.clearing, Event::Cleared(id)),
            ];
            events.extend(can.into_iter().filter(|(can, _)| *can).map(|(_, event)| event));
        }
        let due = self.state.next_tick().map(|due| due.saturating_sub(NOW));
        let times = due.into_iter().chain([STABLE]);
        events
            .into_iter()
            .map(Happens::Event)
            .chain(times.map(Happens::Pass))
            .collect()
    }

    /// What comes of it. Every promise is checked on the way.
    fn after(&self, happens: Happens) -> World<N> {
        self.after_with_actions(happens).0
    }

    fn after_with_actions(&self, happens: Happens) -> (World<N>, Vec<Action>) {
        let (event, now) = match happens {
            Happens::Event(event) => (event, NOW),
            Happens::Pass(time) => (Event::Tick, NOW + time),
        };
        let mut world = self.clone();
        world.happen(event);
        let was_stopping = self.state.stopping.is_some();
        let (state, actions) = step(self.state.clone(), event, now);
        world.state = state;
        for action in &actions {
            world.act(*action, was_stopping);
        }
        world.check(event);
        world.state = moved(&world.state, now);
        (world, actions)
    }

    /// The event's own part of reality.
    fn happen(&mut self, event: Event) {
        match event {
            Event::PreparationFailed(id, _) => {
                self.real[id].preparing = false;
                self.real[id].alive = false;
            }
            Event::Adopted(id) => {
                self.real[id].alive = true;
                self.real[id].preparing = false;
                self.real[id].awaiting_adoption = false;
            }
            Event::Exited(id, ..) => {
                self.real[id].alive = false;
                self.real[id].draining = false;
            }
            Event::Prepared(id) => self.real[id].preparing = false,
            Event::Drained(id) => self.real[id].draining = false,
            Event::Cleared(id) => self.real[id].clearing = false,
            _ => {}
        }
    }

    fn act(&mut self, action: Action, was_stopping: bool) {
        match action {
            Action::Prepare(id) => {
                assert!(!was_stopping, "no start after a stop");
                assert!(!self.real[id].alive && !self.real[id].preparing, "one start at a time");
                self.real[id].preparing = true;
                self.real[id].awaiting_adoption = false;
            }
            Action::Spawn(id) => {
                assert!(!was_stopping, "no start after a stop");
                assert!(!self.real[id].alive, "never two instances");
                self.real[id].alive = true;
            }
            Action::CancelPreparation(id) => self.real[id].preparing = false,
            Action::AwaitAdoption(id) => self.real[id].awaiting_adoption = true,
            Action::Reload(id) => assert!(self.real[id].alive && !was_stopping),
            Action::Drain(id) => {
                assert!(self.real[id].alive);
                self.real[id].draining = true;
            }
            Action::Terminate(id) => {
                assert!(self.real[id].alive);
                self.real[id].draining = false;
            }
            Action::Kill(id) => assert!(self.real[id].alive),
            Action::Clear(id) => {
                assert!(!self.real[id].alive, "what runs is not left over");
                self.real[id].clearing = true;
                self.real[id].awaiting_adoption = false;
            }
            Action::Exit(_) | Action::Tell(..) => {}
        }
    }

    fn check(&self, event: Event) {
        let state = &self.state;
        if state.exited {
            return;
        }
        for (id, real) in self.real.iter().enumerate() {
            let phase = state.phase(id);
            assert_eq!(
                is_alive(phase),
                real.alive,
                "every exit is accounted for: {event:?} {self:?}"
            );
            assert_eq!(phase == Phase::Preparing, real.preparing, "{event:?} {self:?}");
            assert_eq!(
                matches!(phase, Phase::Paused { .. }),
                real.awaiting_adoption,
                "{event:?} {self:?}"
            );
            let awaited = real.alive || real.preparing || real.clearing || state.next_tick().is_some();
            assert!(
                awaited || phase == Phase::Failed,
                "no service is forgotten: {event:?} {self:?}"
            );
        }
        if state.stopping.is_some() {
            assert!(
                state.next_tick().is_some_and(|due| due <= NOW + STABLE + BUDGET),
                "the budget ends: {self:?}"
            );
        }
    }

    /// From here a stop ends everything: at once where all end when they are asked, and in time where none does.
    fn check_stop(&self) {
        if !self.state.exited {
            let stopping = self.after(Happens::Event(Event::Stop));
            stopping.check_obedient();
            stopping.check_deaf();
            stopping.check_stubborn();
        }
    }

    /// Each service ends at once.
    fn check_obedient(&self) {
        let mut world = self.clone();
        for _ in 0..10 * N {
            for id in 0..N {
                let real = world.real[id];
                let event = if real.draining {
                    Event::Drained(id)
                } else if real.alive && matches!(world.state.phase(id), Phase::Stopping { .. }) {
                    Event::Exited(id, Ended::Cleanly, JITTER)
                } else if real.clearing {
                    Event::Cleared(id)
                } else {
                    continue;
                };
                world = world.after(Happens::Event(event));
            }
        }
        assert!(world.state.exited, "stop is reached: {self:?} {world:?}");
    }

    /// No service ever ends.
    fn check_deaf(&self) {
        let mut world = self.clone();
        let mut spent = Duration::ZERO;
        while let Some(due) = world.state.next_tick() {
            let wait = due.saturating_sub(NOW);
            spent += wait;
            world = world.after(Happens::Pass(wait));
        }
        assert!(
            world.state.exited && spent <= BUDGET,
            "given up within the budget: {spent:?} {self:?}"
        );
    }

    /// Each service ends when it is killed, not before: all have gone when nine tenths of the budget are over.
    fn check_stubborn(&self) {
        let mut world = self.clone();
        let begun = self.state.stopping.map_or(NOW, |stopping| stopping.since);
        let mut spent = NOW.saturating_sub(begun);
        let limit = spent.max(BUDGET * 9 / 10);
        let mut killed = [false; N];
        for (id, killed) in killed.iter_mut().enumerate() {
            *killed = self.state.phase(id) == Phase::Stopping { kill_at: Duration::MAX };
        }
        while !world.state.exited {
            let ended = (0..N).find_map(|id| match world.real[id] {
                real if real.alive && killed[id] => Some(Event::Exited(id, Ended::Crashed, JITTER)),
                real if real.clearing => Some(Event::Cleared(id)),
                _ => None,
            });
            let happens = if let Some(event) = ended {
                Happens::Event(event)
            } else {
                let wait = world.state.next_tick().unwrap_or(NOW).saturating_sub(NOW);
                spent += wait;
                Happens::Pass(wait)
            };
            let (after, actions) = world.after_with_actions(happens);
            for action in actions {
                if let Action::Kill(id) = action {
                    killed[id] = true;
                }
            }
            world = after;
            assert!(spent <= limit, "killed within the budget: {spent:?} {self:?} {world:?}");
        }
    }
}

/// The same state at `NOW`; ages beyond which nothing differs are cut.
fn moved(state: &State, now: Duration) -> State {
    let past = |time: Duration, most: Duration| NOW.saturating_sub(now.saturating_sub(time).min(most));
    let future = |time: Duration| match time {
        Duration::MAX => time,
        _ => NOW + time.saturating_sub(now),
    };
    let mut state = state.clone();
    for service in &mut state.services {
        service.phase = match service.phase {
            Phase::Starting { since } => Phase::Starting {
                since: past(since, STABLE),
            },
            Phase::Running { since } => Phase::Running {
                since: past(since, STABLE),
            },
            Phase::Backoff { until } => Phase::Backoff { until: future(until) },
            Phase::Paused { until } => Phase::Paused { until: future(until) },
            Phase::Draining { until } => Phase::Draining { until: future(until) },
            Phase::Stopping { kill_at } => Phase::Stopping {
                kill_at: future(kill_at),
            },
            other => other,
        };
        service
            .failures
            .retain(|failure| now.saturating_sub(*failure) < FAILURE_WINDOW);
        for failure in &mut service.failures {
            *failure = past(*failure, FAILURE_WINDOW);
        }
    }
    if let Some(stopping) = &mut state.stopping {
        stopping.since = past(stopping.since, BUDGET);
    }
    state
}

/// Searches every state of services with these shares within `depth` events.
fn search<const N: usize>(shares: &[StopShare; N], depth: usize) {
    for on_failure in [OnFailure::Exit, OnFailure::Keep] {
        let begun = Instant::now();
        let first = World::new(shares, [on_failure; N]);
        let mut seen = HashSet::from([first.clone()]);
        let mut frontier = vec![first];
        let mut steps = 0;
        for _ in 0..depth {
            let mut next = Vec::new();
            for world in &frontier {
                world.check_stop();
                for happens in world.possible() {
                    let after = world.after(happens);
                    steps += 1;
                    if !after.state.exited && seen.insert(after.clone()) {
                        next.push(after);
                    }
                }
            }
            frontier = next;
        }
        frontier.iter().for_each(World::check_stop);
        // To standard error itself: what tests print is shown only when they fail.
        let _ = writeln!(
            io::stderr(),
            "{N} services, {on_failure:?}: depth {depth}, {} states, {steps} steps, {} states at the edge, {:.1} s",
            seen.len(),
            frontier.len(),
            begun.elapsed().as_secs_f32()
        );
        assert!(seen.len() > 10_000);
    }
}

#[test]
fn two_services_keep_the_promises_in_every_state_within_reach() {
    search(&TWO, 12);
}

#[test]
fn three_services_keep_the_promises_in_every_state_within_reach() {
    search(&THREE, 8);
}

proptest! {
    /// Long walks reach what the search cannot: the fifth failure, a stable minute, many holds.
    #[test]
    fn long_walks_keep_the_promises(
        choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..120),
        on_failure in [0..3usize, 0..3usize, 0..3usize],
    ) {
        let mut world = World::new(&THREE, on_failure.map(|at| [OnFailure::Exit, OnFailure::Keep, OnFailure::Retry][at]));
        for choice in choices {
            if world.state.exited {
                break;
            }
            // A stop ends the walk soon: most choices pass it by.
            let possible: Vec<Happens> = world.possible().into_iter().skip(1).chain(
                (choice.index(40) == 0).then_some(Happens::Event(Event::Stop))).collect();
            world = world.after(possible[choice.index(possible.len())]);
            world.check_stop();
        }
    }
}
