//! What to do when something happens: a pure function from state and event to state and actions.
//!
//! Services are numbered in the order in which they are started; they are stopped in the reverse order, one after the
//! other, within one budget. Time is the time since the start of the supervisor.
//!
//! The tests explore every state that two services can reach within some number of events.

use std::time::Duration;

/// A service, by its place in the list.
pub type Id = usize;

/// First pause after a crash; it doubles with each crash that follows.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A service that ran this long has recovered: the next pause is the first again.
const STABLE: Duration = Duration::from_secs(60);
/// This many failures …
const MOST_FAILURES: usize = 5;
/// … within this time, and everything ends.
const FAILURE_WINDOW: Duration = Duration::from_secs(120);
/// How long a service that was stopped by hand may stay so.
pub const HOLD: Duration = Duration::from_secs(10);
/// How long whoever is asked to hurry may still take.
const HURRY: Duration = Duration::from_millis(500);
/// Exit code after too many failures.
pub const EXIT_FAILED: u8 = 1;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The supervisor begins.
    Begin,
    /// All is ready for the service's process to be started.
    Prepared(Id),
    /// It could not be prepared or started.
    PreparationFailed(Id, Jitter),
    /// A process of the service was found running that somebody else has started.
    Adopted(Id),
    /// The service serves.
    Ready(Id),
    /// Its main process is gone.
    Exited(Id, Ended, Jitter),
    /// What it was busy with when the stop came is done.
    Drained(Id),
    /// No process of it is left.
    Cleared(Id),
    /// Its configuration has changed.
    Reload(Id),
    /// Stop everything; said again: hurry.
    Stop,
    /// Time has passed.
    Tick,
}

/// How a main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As after an orderly stop.
    Cleanly,
    /// In any other way.
    Crashed,
}

/// A random number, 0 to 255, drawn by whoever makes the event: pauses vary by a fifth either way.
pub type Jitter = u8;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Clear what is left of an earlier process, run the preparations, wait for what the service needs; then `Prepared`.
    Prepare(Id),
    /// Give the preparations up.
    CancelPreparation(Id),
    /// Start the main process.
    Spawn(Id),
    /// Look for a process that somebody starts by hand; then `Adopted`.
    AwaitAdoption(Id),
    /// Have the main process read its configuration again.
    Reload(Id),
    /// Take no new work, finish what there is; then `Drained`.
    Drain(Id),
    /// Ask the main process to end.
    Terminate(Id),
    /// Kill the main process and all that belong to it.
    Kill(Id),
    /// End all that belong to the service besides its main process; then `Cleared`.
    Clear(Id),
    /// End with this code.
    Exit(u8),
    /// Tell the user.
    Tell(Id, News),
}

/// What a user should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It serves, this long after its start.
    Ready(Duration),
    /// It crashed and is started again after this pause.
    Again(Duration),
    /// It was stopped by hand and is started again after this pause.
    Held(Duration),
    /// It was started by hand.
    Adopted,
    /// It failed too often, and everything ends.
    GivenUp,
    /// It failed too often and stays down, for that was asked for.
    LeftDown,
    /// It did not end in its time and was killed.
    Killed,
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing yet.
    Down,
    /// Being prepared.
    Preparing,
    /// Its process runs and does not serve yet.
    Starting {
        /// Since when.
        since: Duration,
    },
    /// It serves.
    Running {
        /// Since when its process runs.
        since: Duration,
    },
    /// It crashed.
    Backoff {
        /// When it is started again.
        until: Duration,
    },
    /// It was stopped by hand.
    Held {
        /// When it is started again.
        until: Duration,
    },
    /// It takes no new work and finishes what it has.
    Draining {
        /// When it has to end all the same.
        until: Duration,
    },
    /// Its main process was asked to end.
    Stopping {
        /// When it is killed.
        kill_at: Duration,
    },
    /// Its main process has ended, others of it are being ended.
    Clearing,
    /// Nothing of it is left.
    Stopped,
    /// It failed too often and is left down.
    Failed,
}

impl Phase {
    /// Its main process is there.
    pub fn is_alive(self) -> bool {
        matches!(
            self,
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Draining { .. } | Phase::Stopping { .. }
        )
    }

    /// The word for it in messages.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Down | Phase::Preparing | Phase::Starting { .. } => "starting",
            Phase::Running { .. } => "running",
            Phase::Backoff { .. } => "crashed, to be started again",
            Phase::Held { .. } => "stopped by hand",
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Clearing => "stopping",
            Phase::Stopped => "stopped",
            Phase::Failed => "left down after too many failures",
        }
    }
}

/// What happens when a service fails too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Everything ends, so that whoever runs the container sees it.
    Exit,
    /// It is left down, the others go on.
    Keep,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Service {
    phase: Phase,
    /// Its configuration changed while it could not be told yet.
    reload: bool,
    /// Crashes since it was last stable.
    consecutive: u32,
    /// Times of the failures within the window.
    failures: Vec<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stopping {
    since: Duration,
    code: u8,
    /// Somebody asked for it: asked again, it hurries.
    asked: bool,
}

/// The state of all services.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    services: Vec<Service>,
    stopping: Option<Stopping>,
    stop_budget: Duration,
    on_failure: OnFailure,
    exited: bool,
}

impl State {
    /// Of so many services, none started. All of a stop happens within `stop_budget`.
    pub fn new(services: usize, stop_budget: Duration, on_failure: OnFailure) -> State {
        let service = Service {
            phase: Phase::Down,
            reload: false,
            consecutive: 0,
            failures: Vec::new(),
        };
        State {
            services: vec![service; services],
            stopping: None,
            stop_budget,
            on_failure,
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
            Phase::Backoff { until } | Phase::Held { until } | Phase::Draining { until } => Some(until),
            Phase::Stopping { kill_at } => Some(kill_at),
            _ => None,
        });
        due.chain(self.give_up_at()).min()
    }

    /// The end of the budget, whatever is still there.
    fn give_up_at(&self) -> Option<Duration> {
        self.stopping.map(|stopping| stopping.since + self.stop_budget)
    }

    /// Half of the budget is for the work in hand.
    fn drain_until(&self, now: Duration) -> Duration {
        self.stopping.map_or(now, |stopping| stopping.since) + self.stop_budget * 5 / 10
    }

    /// Four tenths are shared by the main processes, in the order in which they end; the last is for what they leave.
    fn kill_at(&self, id: Id, now: Duration) -> Duration {
        let since = self.stopping.map_or(now, |stopping| stopping.since);
        let count = u32::try_from(self.services.len()).unwrap_or(1);
        let turn = u32::try_from(self.services.len() - id).unwrap_or(1);
        since + self.stop_budget * 5 / 10 + self.stop_budget * 4 / 10 * turn / count
    }
}

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

/// A process that does not serve yet may not take the signal. One that we have yet to start reads the new configuration, but
/// somebody else may have started one just before.
fn reload(state: &mut State, id: Id, actions: &mut Vec<Action>) {
    match state.services[id].phase {
        Phase::Running { .. } => actions.push(Action::Reload(id)),
        Phase::Preparing | Phase::Starting { .. } | Phase::Backoff { .. } | Phase::Held { .. } => {
            state.services[id].reload = true;
        }
        _ => {}
    }
}

fn adopted(state: &mut State, id: Id, now: Duration, actions: &mut Vec<Action>) {
    match state.services[id].phase {
        // Whoever starts a service while everything stops has it stopped again.
        Phase::Clearing | Phase::Stopped => terminate(state, id, now, actions),
        Phase::Preparing | Phase::Held { .. } => {
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
        state.services[id].phase = Phase::Held { until: now + HOLD };
        actions.push(Action::Tell(id, News::Held(HOLD)));
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
    if service.failures.len() >= MOST_FAILURES {
        // Its process is gone already: what is left of it is cleared like all else.
        service.phase = Phase::Failed;
        match state.on_failure {
            OnFailure::Keep => actions.push(Action::Tell(id, News::LeftDown)),
            OnFailure::Exit => {
                actions.push(Action::Tell(id, News::GivenUp));
                begin_stop(state, EXIT_FAILED, false, now, actions);
            }
        }
        return;
    }
    let pause = backoff(service.consecutive, jitter);
    service.consecutive += 1;
    service.phase = Phase::Backoff { until: now + pause };
    actions.push(Action::Tell(id, News::Again(pause)));
}

/// Doubles from the first pause to the longest, a fifth more or less.
fn backoff(consecutive: u32, jitter: Jitter) -> Duration {
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
    // Asked again: whoever has not ended yet is killed soon.
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
            Phase::Down | Phase::Backoff { .. } | Phase::Held { .. } | Phase::Failed => clear(state, id, actions),
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
            let until = state.drain_until(now);
            state.services[id].phase = Phase::Draining { until };
            actions.push(Action::Drain(id));
        }
        // It serves nobody yet.
        Phase::Starting { .. } => terminate(state, id, now, actions),
        _ => {}
    }
}

fn tick(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    for id in 0..state.services.len() {
        match state.services[id].phase {
            Phase::Backoff { until } | Phase::Held { until } if until <= now => prepare(state, id, actions),
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

#[cfg(test)]
mod exploration;

#[cfg(test)]
mod tests {
    use super::*;

    const DOVECOT: Id = 0;
    const POSTFIX: Id = 1;

    /// Two services and a clock.
    struct Run {
        state: State,
        now: Duration,
    }

    impl Run {
        fn new() -> Run {
            Run {
                state: State::new(2, Duration::from_secs(9), OnFailure::Exit),
                now: Duration::ZERO,
            }
        }

        fn running() -> Run {
            let mut run = Run::new();
            run.on(Event::Begin);
            for id in [DOVECOT, POSTFIX] {
                run.on(Event::Prepared(id));
                run.on(Event::Ready(id));
            }
            run
        }

        fn on(&mut self, event: Event) -> Vec<Action> {
            let (state, actions) = step(self.state.clone(), event, self.now);
            self.state = state;
            actions
                .into_iter()
                .filter(|action| !matches!(action, Action::Tell(..)))
                .collect()
        }

        fn after(&mut self, milliseconds: u64) -> Vec<Action> {
            self.now += Duration::from_millis(milliseconds);
            self.on(Event::Tick)
        }
    }

    #[test]
    fn both_are_prepared_at_once() {
        let mut run = Run::new();
        assert_eq!(
            run.on(Event::Begin),
            [Action::Prepare(DOVECOT), Action::Prepare(POSTFIX)]
        );
        assert_eq!(run.on(Event::Prepared(POSTFIX)), [Action::Spawn(POSTFIX)]);
        assert_eq!(run.on(Event::Prepared(POSTFIX)), [], "never two");
    }

    #[test]
    fn stop_goes_backwards_one_by_one() {
        let mut run = Run::running();
        assert_eq!(run.on(Event::Stop), [Action::Drain(POSTFIX)]);
        assert_eq!(run.on(Event::Drained(POSTFIX)), [Action::Terminate(POSTFIX)]);
        assert_eq!(
            run.on(Event::Exited(POSTFIX, Ended::Cleanly, 0)),
            [Action::Clear(POSTFIX)]
        );
        assert_eq!(run.on(Event::Cleared(POSTFIX)), [Action::Drain(DOVECOT)]);
        assert_eq!(run.on(Event::Drained(DOVECOT)), [Action::Terminate(DOVECOT)]);
        assert_eq!(
            run.on(Event::Exited(DOVECOT, Ended::Cleanly, 0)),
            [Action::Clear(DOVECOT)]
        );
        assert_eq!(run.on(Event::Cleared(DOVECOT)), [Action::Exit(0)]);
        assert_eq!(run.on(Event::Stop), []);
    }

    #[test]
    fn whoever_does_not_end_is_killed_within_the_budget() {
        let mut run = Run::running();
        run.on(Event::Stop);
        assert_eq!(run.after(4499), []);
        assert_eq!(run.after(1), [Action::Terminate(POSTFIX)], "half of it is over");
        assert_eq!(run.after(1799), []);
        assert_eq!(run.after(1), [Action::Kill(POSTFIX)]);
        assert_eq!(run.after(100), [], "once");
        assert_eq!(run.after(2600), [Action::Exit(0)], "the budget ends");
    }

    #[test]
    fn asked_again_it_hurries() {
        let mut run = Run::running();
        run.on(Event::Stop);
        assert_eq!(
            run.on(Event::Stop),
            [Action::Terminate(DOVECOT), Action::Terminate(POSTFIX)]
        );
        assert_eq!(run.after(500), [Action::Kill(DOVECOT), Action::Kill(POSTFIX)]);
    }

    #[test]
    fn a_stop_while_preparing_starts_nothing() {
        let mut run = Run::new();
        run.on(Event::Begin);
        let expected = [
            Action::CancelPreparation(DOVECOT),
            Action::Clear(DOVECOT),
            Action::CancelPreparation(POSTFIX),
            Action::Clear(POSTFIX),
        ];
        assert_eq!(run.on(Event::Stop), expected);
        assert_eq!(run.on(Event::Prepared(POSTFIX)), []);
        run.on(Event::Cleared(DOVECOT));
        assert_eq!(run.on(Event::Cleared(POSTFIX)), [Action::Exit(0)]);
    }

    #[test]
    fn crashes_back_off_and_end_after_five() {
        let mut run = Run::running();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            run.on(Event::Exited(POSTFIX, Ended::Crashed, 128));
            let Phase::Backoff { until } = run.state.phase(POSTFIX) else {
                panic!("{:?}", run.state)
            };
            pauses.push(until.abs_diff(run.now).as_millis());
            run.now = until;
            assert_eq!(run.on(Event::Tick), [Action::Prepare(POSTFIX)]);
            run.on(Event::Prepared(POSTFIX));
        }
        assert_eq!(pauses, [100, 200, 400, 800]);
        let last = run.on(Event::Exited(POSTFIX, Ended::Crashed, 128));
        assert_eq!(last, [Action::Clear(POSTFIX)]);
        assert_eq!(run.on(Event::Cleared(POSTFIX)), [Action::Drain(DOVECOT)]);
        run.on(Event::Exited(DOVECOT, Ended::Cleanly, 0));
        assert_eq!(run.on(Event::Cleared(DOVECOT)), [Action::Exit(EXIT_FAILED)]);
    }

    #[test]
    fn a_stable_minute_forgives_the_pause() {
        let mut run = Run::running();
        run.on(Event::Exited(DOVECOT, Ended::Crashed, 128));
        run.after(100);
        run.on(Event::Prepared(DOVECOT));
        run.on(Event::Ready(DOVECOT));
        run.after(60_000);
        run.on(Event::Exited(DOVECOT, Ended::Crashed, 128));
        assert_eq!(
            run.state.phase(DOVECOT),
            Phase::Backoff {
                until: run.now + FIRST_BACKOFF
            }
        );
    }

    #[test]
    fn stopped_by_hand_is_held_and_adopted_or_started_again() {
        let mut run = Run::running();
        assert_eq!(
            run.on(Event::Exited(POSTFIX, Ended::Cleanly, 0)),
            [Action::AwaitAdoption(POSTFIX)]
        );
        assert_eq!(run.after(5_000), []);
        assert_eq!(run.on(Event::Adopted(POSTFIX)), []);
        assert_eq!(run.on(Event::Ready(POSTFIX)), []);
        run.on(Event::Exited(POSTFIX, Ended::Cleanly, 0));
        assert_eq!(run.after(10_000), [Action::Prepare(POSTFIX)]);
    }

    #[test]
    fn a_service_that_failed_too_often_may_be_left_down() {
        let mut run = Run::running();
        run.state.on_failure = OnFailure::Keep;
        for _ in 0..5 {
            run.on(Event::Exited(POSTFIX, Ended::Crashed, 0));
            run.after(10_000);
            run.on(Event::Prepared(POSTFIX));
        }
        assert_eq!(run.state.phase(POSTFIX), Phase::Failed);
        assert!(matches!(run.state.phase(DOVECOT), Phase::Running { .. }));
        assert_eq!(run.on(Event::Stop), [Action::Clear(POSTFIX)]);
        assert_eq!(run.on(Event::Cleared(POSTFIX)), [Action::Drain(DOVECOT)]);
    }

    #[test]
    fn whoever_does_not_serve_yet_is_told_of_a_change_later() {
        let mut run = Run::new();
        run.on(Event::Begin);
        assert_eq!(run.on(Event::Reload(POSTFIX)), []);
        run.on(Event::Prepared(POSTFIX));
        assert_eq!(run.on(Event::Ready(POSTFIX)), [], "it has read the new files");
        run.on(Event::Exited(POSTFIX, Ended::Cleanly, 0));
        run.on(Event::Reload(POSTFIX));
        run.on(Event::Adopted(POSTFIX));
        assert_eq!(
            run.on(Event::Ready(POSTFIX)),
            [Action::Reload(POSTFIX)],
            "somebody else started it"
        );
        run.on(Event::Exited(POSTFIX, Ended::Crashed, 0));
        run.after(10_000);
        run.on(Event::Prepared(POSTFIX));
        assert_eq!(run.on(Event::Reload(POSTFIX)), []);
        assert_eq!(run.on(Event::Ready(POSTFIX)), [Action::Reload(POSTFIX)]);
        assert_eq!(run.on(Event::Reload(POSTFIX)), [Action::Reload(POSTFIX)]);
    }

    #[test]
    fn jitter_is_a_fifth_either_way() {
        assert_eq!(backoff(0, 0), Duration::from_millis(80));
        assert_eq!(backoff(0, 255), Duration::from_millis(120));
        assert_eq!(backoff(30, 255), Duration::from_secs(36));
    }
}
