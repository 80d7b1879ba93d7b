//! What the policy does, case by case, for Dovecot and Postfix.

use super::step::backoff;
use super::*;
use crate::supervise::service::StopShare;

const DOVECOT: Id = 0;
const POSTFIX: Id = 1;
const SERVICES: [(StopShare, OnFailure); 2] = [
    (StopShare { drain: 0, end: 20 }, OnFailure::Exit),
    (StopShare { drain: 50, end: 20 }, OnFailure::Exit),
];

/// Two services and a clock.
struct Run {
    state: State,
    now: Duration,
}

impl Run {
    fn new() -> Run {
        Run {
            state: State::new(&SERVICES, Duration::from_secs(9)),
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
fn a_service_that_does_not_end_is_killed_within_the_budget() {
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
fn the_next_service_has_its_own_window() {
    let mut run = Run::running();
    run.on(Event::Stop);
    run.after(4_500);
    run.after(1_800);
    run.on(Event::Exited(POSTFIX, Ended::Crashed, 0));
    assert_eq!(run.on(Event::Cleared(POSTFIX)), [Action::Drain(DOVECOT)]);
    assert_eq!(run.on(Event::Drained(DOVECOT)), [Action::Terminate(DOVECOT)]);
    assert_eq!(run.after(1_799), []);
    assert_eq!(run.after(1), [Action::Kill(DOVECOT)]);
    run.on(Event::Exited(DOVECOT, Ended::Crashed, 0));
    assert_eq!(run.on(Event::Cleared(DOVECOT)), [Action::Exit(0)]);
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
fn stopped_by_a_user_it_is_adopted_or_started_again() {
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
    run.state.services[POSTFIX].on_failure = OnFailure::Keep;
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
fn a_service_that_no_other_needs_is_started_again_however_often_it_fails() {
    let mut run = Run::running();
    run.state.services[POSTFIX].on_failure = OnFailure::Retry;
    for _ in 0..50 {
        run.on(Event::Exited(POSTFIX, Ended::Crashed, 0));
        assert!(matches!(run.state.phase(POSTFIX), Phase::Backoff { .. }));
        assert_eq!(run.after(36_000), [Action::Prepare(POSTFIX)]);
        run.on(Event::Prepared(POSTFIX));
    }
    assert!(matches!(run.state.phase(DOVECOT), Phase::Running { .. }));
}

#[test]
fn a_service_that_does_not_serve_yet_is_reloaded_later() {
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
