//! Keeps services running. It knows nothing of mail: it is given descriptions ([`service`]).
//!
//! # Theory of operation
//!
//! One actor (`supervisor`) owns everything. It receives requests from outside and messages of its own tasks, turns
//! each into an event, and asks a pure function ([`policy`]) for the next state and for actions. It carries the actions
//! out by starting tasks, which send messages when they are done. Everything runs on one thread, so no event interrupts
//! another. A message carries the number of the start that it belongs to; one of an earlier start is dropped.
//!
//! - **Start** (`start`, `readiness`). All services are started at once; each waits for the sockets that it needs.
//!   `order` sorts them by what they need, which fixes the order of stops.
//! - **Restart.** A crash is followed by a start after a pause. A main process that ends cleanly was stopped by a user:
//!   its pid file is watched for another that the user starts, which is adopted.
//! - **Reload** (`reload`, `hold`, `reload_guard`). Services that need a socket of the reloaded one are held
//!   (SIGSTOP) until it serves again. A client that comes just then may keep all others out; the guard notices.
//! - **Stop** (`drain`, [`members`]). One service after the other finishes its work, is asked to end, and is killed
//!   when its part of the time is over. What its main process leaves behind is ended in the order that its description
//!   gives.
//!
//! What panics in a task becomes the event of a failure, and what panics in the actor is logged and left.
//!
//! The supervisor cannot tell whether a service does its work well: it serves when it says so, and then until it ends.

mod drain;
mod hold;
pub mod members;
mod order;
pub mod policy;
mod readiness;
mod reload;
mod reload_guard;
mod reloading;
pub mod service;
mod slots;
mod start;
pub mod status;
mod supervisor;

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use self::order::in_start_order;
use self::policy::{Event, OnFailure};
use self::service::Service;
use self::supervisor::Supervisor;
use crate::system::panics;
use crate::system::processes::Processes;

/// Between two looks at something that gives no notice.
const POLL: Duration = Duration::from_millis(10);

/// Closed once a reload is in force, as far as new clients go, or has come to nothing.
pub type UnderWay = mpsc::Sender<Infallible>;

/// What is asked of a running supervisor.
#[derive(Debug, Clone)]
pub enum Request {
    /// End everything; asked again: hurry.
    Stop,
    /// What the service of this name reads has changed, and so may its description: this is it from here on.
    Reload(Box<Service>, UnderWay),
    /// A user reloads the service of this name: its main process gets SIGHUP in a moment.
    ReloadBegins(&'static str),
    /// The main process of the service of this name has got SIGHUP.
    Reloaded(&'static str),
}

/// How long a stop may take, and what too many failures lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All of a stop happens within this time.
    pub stop_budget: Duration,
    /// After too many failures of a service.
    pub on_failure: OnFailure,
}

/// Takes what services print.
pub trait Output {
    /// Passes on what a service prints to this pipe, until its other end is closed.
    fn follow(&self, service: &'static str, pipe: pipe::Receiver);
    /// Shows the last lines of a service again.
    fn repeat(&self, service: &'static str);
}

/// Runs the services, given in any order, until a stop was asked for, or one failed too often. Calls `stopping` when
/// everything begins to end. Returns the exit code.
pub async fn supervise(
    services: Vec<Service>,
    limits: Limits,
    mut requests: UnboundedReceiver<Request>,
    stopping: impl FnOnce(),
    processes: Processes,
    output: Rc<dyn Output>,
) -> u8 {
    let (events, mut happened) = unbounded_channel();
    let mut supervisor = Supervisor::new(in_start_order(services), limits, events, processes, output);
    let mut stopping = Some(stopping);
    let mut event = Some(Event::Begin);
    loop {
        // An event whose handling panics is logged and left; the services run on.
        if let Some(event) = event
            && let Some(Some(code)) = panics::contain(|| supervisor.advance(event))
        {
            return code;
        }
        if supervisor.is_stopping()
            && let Some(stopping) = stopping.take()
        {
            stopping();
        }
        let tick = supervisor.until_next_tick();
        event = tokio::select! {
            Some(request) = requests.recv() => panics::contain(|| supervisor.event_of(request)).flatten(),
            Some(message) = happened.recv() => panics::contain(|| supervisor.current(message)).flatten(),
            () = sleep(tick.unwrap_or(Duration::MAX)), if tick.is_some() => Some(Event::Tick),
        };
    }
}
