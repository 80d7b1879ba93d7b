//! What the policy promises, checked in every state that two services can reach: a breadth-first search over all events
//! that can happen, and long random walks.

use std::collections::HashSet;
use std::io::{self, Write};

use proptest::prelude::*;

use super::*;

const BUDGET: Duration = Duration::from_secs(9);
/// All times in a state are moved so that now is this: states that differ in nothing but their age are one.
const NOW: Duration = Duration::from_secs(1_000);
const JITTER: Jitter = 128;

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

/// State and reality, now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    state: State,
    real: [Real; 2],
}

/// An event, or time that passes.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Event(Event),
    Pass(Duration),
}

impl World {
    fn new(on_failure: OnFailure) -> World {
        let world = World {
            state: State::new(2, BUDGET, on_failure),
            real: [Real::default(); 2],
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
    fn after(&self, happens: Happens) -> World {
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
        world
    }

    /// The event's own part of reality.
    fn happen(&mut self, event: Event) {
        match event {
            Event::PreparationFailed(id, _) => {
                self.real[id] = Real {
                    preparing: false,
                    alive: false,
                    ..self.real[id]
                }
            }
            Event::Adopted(id) => {
                self.real[id] = Real {
                    alive: true,
                    preparing: false,
                    awaiting_adoption: false,
                    ..self.real[id]
                };
            }
            Event::Exited(id, ..) => {
                self.real[id] = Real {
                    alive: false,
                    draining: false,
                    ..self.real[id]
                }
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
                self.real[id] = Real {
                    preparing: true,
                    awaiting_adoption: false,
                    ..self.real[id]
                };
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
                self.real[id] = Real {
                    clearing: true,
                    awaiting_adoption: false,
                    ..self.real[id]
                };
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
                phase.is_alive(),
                real.alive,
                "every exit is accounted for: {event:?} {self:?}"
            );
            assert_eq!(phase == Phase::Preparing, real.preparing, "{event:?} {self:?}");
            assert_eq!(
                matches!(phase, Phase::Held { .. }),
                real.awaiting_adoption,
                "{event:?} {self:?}"
            );
            let goes_on = real.alive || real.preparing || real.clearing || state.next_tick().is_some();
            assert!(
                goes_on || phase == Phase::Failed,
                "nobody is forgotten: {event:?} {self:?}"
            );
        }
        if state.stopping.is_some() {
            assert!(
                state.next_tick().is_some_and(|due| due <= NOW + STABLE + BUDGET),
                "the budget ends: {self:?}"
            );
        }
    }

    /// From here a stop ends everything: at once where all do as they are told, and in time where nobody does.
    fn check_stop(&self) {
        if self.state.exited {
            return;
        }
        let mut obedient = self.after(Happens::Event(Event::Stop));
        for _ in 0..20 {
            for id in 0..2 {
                let Real {
                    alive,
                    draining,
                    clearing,
                    ..
                } = obedient.real[id];
                let event = match (draining, alive, clearing) {
                    (true, ..) => Event::Drained(id),
                    (_, true, _) if matches!(obedient.state.phase(id), Phase::Stopping { .. }) => {
                        Event::Exited(id, Ended::Cleanly, JITTER)
                    }
                    (_, _, true) => Event::Cleared(id),
                    _ => continue,
                };
                obedient = obedient.after(Happens::Event(event));
            }
        }
        assert!(obedient.state.exited, "stop is reached: {self:?} {obedient:?}");

        let mut deaf = self.after(Happens::Event(Event::Stop));
        let mut spent = Duration::ZERO;
        while let Some(due) = deaf.state.next_tick() {
            let wait = due.saturating_sub(NOW);
            spent += wait;
            deaf = deaf.after(Happens::Pass(wait));
        }
        assert!(
            deaf.state.exited && spent <= BUDGET,
            "within the budget: {spent:?} {self:?}"
        );
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
            Phase::Held { until } => Phase::Held { until: future(until) },
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

/// Every state of two services within this many events.
const DEPTH: usize = 12;

#[test]
fn every_state_within_reach_keeps_the_promises() {
    for on_failure in [OnFailure::Exit, OnFailure::Keep] {
        let first = World::new(on_failure);
        let mut seen = HashSet::from([first.clone()]);
        let mut frontier = vec![first];
        let mut steps = 0;
        for _ in 0..DEPTH {
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
            "{on_failure:?}: depth {DEPTH}, {} states, {steps} steps, {} states at the edge",
            seen.len(),
            frontier.len()
        );
        assert!(seen.len() > 10_000);
    }
}

proptest! {
    /// Long walks reach what the search cannot: the fifth failure, a stable minute, many holds.
    #[test]
    fn long_walks_keep_the_promises(choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..120), keep in any::<bool>()) {
        let mut world = World::new(if keep { OnFailure::Keep } else { OnFailure::Exit });
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
