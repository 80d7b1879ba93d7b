//! The step from one state to the next: what each event changes, and the actions that it leads to.

use std::time::Duration;

use super::state::{State, Stopping};
use super::{
    Action, EXIT_FAILED, Ended, Event, FAILURE_WINDOW, FIRST_BACKOFF, HURRY, Id, Jitter, LONGEST_BACKOFF,
    MOST_FAILURES, News, OnFailure, PAUSE, Phase, STABLE,
};

/// The next state, and what to do.
pub fn step(mut state: State, event: Event, now: Duration) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    if state.exited {
        return (state, actions);
    }
    match event {
        Event::Begin => {
            for id in 0..state.services.len() {
                prepare(&mut state, id, &mut actions);
            }
        }
        Event::Prepared(id) if state.services[id].phase == Phase::Preparing => {
            state.services[id].phase = Phase::Starting { since: now };
            state.services[id].reload = false;
            actions.push(Action::Spawn(id));
        }
        Event::PreparationFailed(id, jitter) if is_underway(state.services[id].phase) => {
            failed(&mut state, id, now, jitter, &mut actions);
        }
        Event::Adopted(id) => adopted(&mut state, id, now, &mut actions),
        Event::Ready(id) => {
            if let Phase::Starting { since } = state.services[id].phase {
                state.services[id].phase = Phase::Running { since };
                actions.push(Action::Tell(id, News::Ready(now.saturating_sub(since))));
                if std::mem::take(&mut state.services[id].reload) && state.stopping.is_none() {
                    actions.push(Action::Reload(id));
                }
            }
        }
        Event::Exited(id, ended, jitter) => exited(&mut state, id, ended, jitter, now, &mut actions),
        Event::Reload(id) if state.stopping.is_none() => reload(&mut state, id, &mut actions),
        Event::Drained(id) if matches!(state.services[id].phase, Phase::Draining { .. }) => {
            terminate(&mut state, id, now, &mut actions);
        }
        Event::Cleared(id) if state.services[id].phase == Phase::Clearing => {
            state.services[id].phase = Phase::Stopped;
            stop_next(&mut state, now, &mut actions);
        }
        Event::Stop => stop(&mut state, now, &mut actions),
        Event::Tick => tick(&mut state, now, &mut actions),
        Event::Prepared(_)
        | Event::PreparationFailed(..)
        | Event::Drained(_)
        | Event::Cleared(_)
        | Event::Reload(_) => {}
    }
    (state, actions)
}

fn is_underway(phase: Phase) -> bool {
    matches!(phase, Phase::Preparing | Phase::Starting { .. })
}

fn prepare(state: &mut State, id: Id, actions: &mut Vec<Action>) {
    state.services[id].phase = Phase::Preparing;
    actions.push(Action::Prepare(id));
}

/// A process that does not serve yet may not take the signal. One that we have yet to start reads the new
/// configuration, but a user may have started one just before.
fn reload(state: &mut State, id: Id, actions: &mut Vec<Action>) {
    match state.services[id].phase {
        Phase::Running { .. } => actions.push(Action::Reload(id)),
        Phase::Preparing | Phase::Starting { .. } | Phase::Backoff { .. } | Phase::Paused { .. } => {
            state.services[id].reload = true;
        }
        _ => {}
    }
}

fn adopted(state: &mut State, id: Id, now: Duration, actions: &mut Vec<Action>) {
    match state.services[id].phase {
        // A service that a user starts while everything stops is stopped again.
        Phase::Clearing | Phase::Stopped => terminate(state, id, now, actions),
        Phase::Preparing | Phase::Paused { .. } => {
            state.services[id].phase = Phase::Starting { since: now };
            actions.push(Action::Tell(id, News::Adopted));
        }
        _ => {}
    }
}

fn exited(state: &mut State, id: Id, ended: Ended, jitter: Jitter, now: Duration, actions: &mut Vec<Action>) {
    let phase = state.services[id].phase;
    let (Phase::Starting { since } | Phase::Running { since }) = phase else {
        if matches!(phase, Phase::Draining { .. } | Phase::Stopping { .. }) {
            clear(state, id, actions);
        }
        return;
    };
    if state.stopping.is_some() {
        clear(state, id, actions);
    } else if ended == Ended::Cleanly && matches!(phase, Phase::Running { .. }) {
        state.services[id].phase = Phase::Paused { until: now + PAUSE };
        actions.push(Action::Tell(id, News::Paused(PAUSE)));
        actions.push(Action::AwaitAdoption(id));
    } else {
        if matches!(phase, Phase::Running { .. }) && now.saturating_sub(since) >= STABLE {
            state.services[id].consecutive = 0;
        }
        failed(state, id, now, jitter, actions);
    }
}

fn failed(state: &mut State, id: Id, now: Duration, jitter: Jitter, actions: &mut Vec<Action>) {
    if state.stopping.is_some() {
        clear(state, id, actions);
        return;
    }
    let service = &mut state.services[id];
    service
        .failures
        .retain(|failure| now.saturating_sub(*failure) < FAILURE_WINDOW);
    service.failures.push(now);
    if service.failures.len() >= MOST_FAILURES && service.on_failure != OnFailure::Retry {
        // Its process is gone already: what is left of it is cleared like all else.
        let is_end = service.on_failure == OnFailure::Exit;
        service.phase = Phase::Failed;
        actions.push(Action::Tell(id, if is_end { News::GivenUp } else { News::LeftDown }));
        if is_end {
            begin_stop(state, EXIT_FAILED, false, now, actions);
        }
        return;
    }
    let pause = backoff(service.consecutive, jitter);
    service.consecutive += 1;
    service.phase = Phase::Backoff { until: now + pause };
    actions.push(Action::Tell(id, News::Again(pause)));
}

/// Doubles from the first pause to the longest, a fifth more or less.
pub(super) fn backoff(consecutive: u32, jitter: Jitter) -> Duration {
    let pause = FIRST_BACKOFF
        .saturating_mul(1 << consecutive.min(16))
        .min(LONGEST_BACKOFF);
    pause * (800 + u32::from(jitter) * 400 / 255) / 1000
}

fn stop(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    match &mut state.stopping {
        None => return begin_stop(state, 0, true, now, actions),
        Some(stopping) if !stopping.asked => {
            stopping.asked = true;
            return;
        }
        Some(_) => {}
    }
    // Asked again: what has not ended yet is killed soon.
    for id in 0..state.services.len() {
        if matches!(
            state.services[id].phase,
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Draining { .. }
        ) {
            terminate(state, id, now, actions);
        }
        if let Phase::Stopping { kill_at } = &mut state.services[id].phase
            && *kill_at != Duration::MAX
        {
            *kill_at = (*kill_at).min(now + HURRY);
        }
    }
    tick(state, now, actions);
}

fn begin_stop(state: &mut State, code: u8, asked: bool, now: Duration, actions: &mut Vec<Action>) {
    state.stopping = Some(Stopping {
        since: now,
        code,
        asked,
    });
    for id in 0..state.services.len() {
        match state.services[id].phase {
            Phase::Preparing => {
                actions.push(Action::CancelPreparation(id));
                clear(state, id, actions);
            }
            Phase::Down | Phase::Backoff { .. } | Phase::Paused { .. } | Phase::Failed => clear(state, id, actions),
            _ => {}
        }
    }
    stop_next(state, now, actions);
}

fn terminate(state: &mut State, id: Id, now: Duration, actions: &mut Vec<Action>) {
    let kill_at = state.kill_at(id, now);
    state.services[id].phase = Phase::Stopping { kill_at };
    actions.push(Action::Terminate(id));
}

fn clear(state: &mut State, id: Id, actions: &mut Vec<Action>) {
    state.services[id].phase = Phase::Clearing;
    actions.push(Action::Clear(id));
}

/// Stops the last service that still runs; with none left, the end.
fn stop_next(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    let Some(stopping) = state.stopping else { return };
    let Some(id) = state
        .services
        .iter()
        .rposition(|service| service.phase != Phase::Stopped)
    else {
        state.exited = true;
        actions.push(Action::Exit(stopping.code));
        return;
    };
    match state.services[id].phase {
        Phase::Running { .. } => {
            let until = state.drain_until(id, now);
            state.services[id].phase = Phase::Draining { until };
            actions.push(Action::Drain(id));
        }
        // It has no client yet.
        Phase::Starting { .. } => terminate(state, id, now, actions),
        _ => {}
    }
}

fn tick(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    for id in 0..state.services.len() {
        match state.services[id].phase {
            Phase::Backoff { until } | Phase::Paused { until } if until <= now => prepare(state, id, actions),
            Phase::Draining { until } if until <= now => terminate(state, id, now, actions),
            Phase::Stopping { kill_at } if kill_at <= now => {
                actions.push(Action::Tell(id, News::Killed));
                actions.push(Action::Kill(id));
                // Its exit is awaited until the budget ends.
                state.services[id].phase = Phase::Stopping { kill_at: Duration::MAX };
            }
            _ => {}
        }
    }
    if state.give_up_at().is_some_and(|end| end <= now) {
        state.exited = true;
        actions.push(Action::Exit(state.stopping.map_or(0, |stopping| stopping.code)));
    }
}
