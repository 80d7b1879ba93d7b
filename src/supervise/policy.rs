//! What to do when something happens: a pure function from state and event to state and actions.
//!
//! Services are numbered in the order in which they are started; they are stopped in the reverse order, one after the
//! other, within one budget, of which each has its own window. Time is the time since the start of the supervisor.
//!
//! The policy sees events and phases alone: no processes, no sockets, no descriptions. It cannot say whether an action
//! worked; the event that follows does. The tests explore every state that two and three services can reach within some
//! number of events.

mod state;
mod step;

#[cfg(test)]
mod exploration;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::state::State;
pub use self::step::step;

/// A service, by its place in the order of starts.
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
/// How long a service that a user stopped may stay so.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a service may still take when the stop is asked for again.
const HURRY: Duration = Duration::from_millis(500);
/// Exit code after too many failures.
const EXIT_FAILED: u8 = 1;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The supervisor begins.
    Begin,
    /// All is ready for the service's process to be started.
    Prepared(Id),
    /// It could not be prepared or started.
    PreparationFailed(Id, Jitter),
    /// A running process of the service was found that the supervisor did not start.
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

/// A random number, 0 to 255, drawn when the event is made: pauses vary by a fifth either way.
pub type Jitter = u8;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Clear what is left of an earlier process, run the preparations, wait for what the service needs; then
    /// `Prepared`.
    Prepare(Id),
    /// Give the preparations up.
    CancelPreparation(Id),
    /// Start the main process.
    Spawn(Id),
    /// Look for a process that a user starts; then `Adopted`.
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
    /// Log it.
    Tell(Id, News),
}

/// What a user should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It serves, this long after its start.
    Ready(Duration),
    /// It crashed and is started again after this pause.
    Again(Duration),
    /// A user stopped it; it is started again after this pause.
    Paused(Duration),
    /// A user started it.
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
    /// A user stopped it.
    Paused {
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

/// The word for a service that nobody starts again.
pub const LEFT_DOWN: &str = "left down after too many failures";

impl Phase {
    /// The word for it in messages.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Down | Phase::Preparing | Phase::Starting { .. } => "starting",
            Phase::Running { .. } => "running",
            Phase::Backoff { .. } => "crashed, to be started again",
            Phase::Paused { .. } => "stopped by hand",
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Clearing => "stopping",
            Phase::Stopped => "stopped",
            Phase::Failed => LEFT_DOWN,
        }
    }
}

/// What happens when a service fails too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Everything ends, so that the container is seen to fail.
    Exit,
    /// It is left down, the others run on.
    Keep,
    /// It is started again and again, with the longest pause in between; the others do not need it.
    Retry,
}
