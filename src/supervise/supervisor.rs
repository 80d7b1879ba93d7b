//! The actor: turns requests and messages into the policy's events, and its actions into what is done.
//!
//! What is done for each action is beside its subject: `start.rs`, `reloading.rs` and `drain.rs` add their methods. None
//! of them waits: what takes time is a task, and its end is a message.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, spawn_local};

use super::policy::{Action, Event, Id, News, OnFailure, State, step};
use super::reload::Step;
use super::service::Service;
use super::slots::{Message, Reporter, Slot, What, ended, stop_task};
use super::status::{Doing, Status};
use super::{Limits, Output, Request};
use crate::system::panics;
use crate::system::processes::Processes;

/// The services, what is known of them, and the policy's state.
pub(super) struct Supervisor {
    state: State,
    pub(super) services: Vec<Rc<Service>>,
    pub(super) slots: Vec<Slot>,
    status: Status,
    events: UnboundedSender<Message>,
    pub(super) processes: Processes,
    pub(super) output: Rc<dyn Output>,
    begun: Instant,
}

impl Supervisor {
    /// Of services in the order of starts, none started. Its tasks report to `events`.
    pub(super) fn new(
        services: Vec<Service>,
        limits: Limits,
        events: UnboundedSender<Message>,
        processes: Processes,
        output: Rc<dyn Output>,
    ) -> Supervisor {
        let on_failure = |service: &Service| {
            if service.essential {
                limits.on_failure
            } else {
                OnFailure::Retry
            }
        };
        let profiles: Vec<_> = services
            .iter()
            .map(|service| (service.stop_share, on_failure(service)))
            .collect();
        Supervisor {
            state: State::new(&profiles, limits.stop_budget),
            slots: services.iter().map(|_| Slot::default()).collect(),
            status: Status::default(),
            services: services.into_iter().map(Rc::new).collect(),
            events,
            processes,
            output,
            begun: Instant::now(),
        }
    }

    /// Takes the next step; `Some` ends everything.
    pub(super) fn advance(&mut self, event: Event) -> Option<u8> {
        let (state, actions) = step(self.state.clone(), event, self.begun.elapsed());
        self.state = state;
        // A service that is down reads its configuration when it starts.
        if let Event::Reload(id) = event
            && !actions.contains(&Action::Reload(id))
        {
            self.slots[id].under_way.clear();
        }
        let code = actions.into_iter().find_map(|action| self.act(action));
        let doing = (0..self.services.len()).map(|id| (self.services[id].name, self.doing(id)));
        let doing = doing.collect();
        if let Err(error) = self.status.write(doing) {
            tracing::warn!("the health check cannot be told more: {error}");
        }
        code
    }

    /// What a service is doing, but for since when.
    fn doing(&self, id: Id) -> Doing {
        let slot = &self.slots[id];
        let main = slot.main.filter(|_| slot.pidfd.is_some());
        Doing {
            essential: self.services[id].essential,
            word: self.state.phase(id).word().into(),
            pid: main.map(nix::unistd::Pid::as_raw),
            restarts: slot.instance.saturating_sub(1),
            since: 0,
        }
    }

    /// Everything is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.state.is_stopping()
    }

    /// How long until the policy's next tick, if one is due at all.
    pub(super) fn until_next_tick(&self) -> Option<Duration> {
        let due = self.state.next_tick()?;
        Some(due.saturating_sub(self.begun.elapsed()))
    }

    /// The policy's event for a request, if it has one.
    pub(super) fn event_of(&mut self, request: Request) -> Option<Event> {
        match request {
            Request::Stop => Some(Event::Stop),
            Request::Reload(service, under_way) => {
                let id = self.id_of(service.name)?;
                self.services[id] = Rc::new(*service);
                self.slots[id].under_way.push(under_way);
                Some(Event::Reload(id))
            }
            Request::ReloadBegins(name) => {
                self.reload_begins(self.id_of(name)?);
                None
            }
            Request::Reloaded(name) => {
                self.reloaded(self.id_of(name)?);
                None
            }
        }
    }

    fn id_of(&self, name: &str) -> Option<Id> {
        self.services.iter().position(|known| known.name == name)
    }

    /// The policy's event for a message, if it has one and the message is not of an earlier instance.
    pub(super) fn current(&mut self, message: Message) -> Option<Event> {
        let Message { id, instance, what } = message;
        if self.slots[id].instance != instance {
            return None;
        }
        Some(match what {
            What::Prepared => Event::Prepared(id),
            What::PreparationFailed => Event::PreparationFailed(id, jitter()),
            What::Found(pid) => {
                self.adopt(id, pid);
                Event::Adopted(id)
            }
            What::Ready => {
                self.reload_step(id, Step::Ready);
                Event::Ready(id)
            }
            What::Reloading => {
                self.reload_step(id, Step::Begins);
                return None;
            }
            What::ReloadLimit => {
                self.reload_step(id, Step::Limit);
                return None;
            }
            What::Exited(exit) => {
                self.reload_step(id, Step::Ends);
                self.slots[id].main_is_gone(exit);
                Event::Exited(id, ended(exit), jitter())
            }
            What::Drained => Event::Drained(id),
            What::Cleared => Event::Cleared(id),
        })
    }

    /// Does one thing; `Some` ends everything.
    fn act(&mut self, action: Action) -> Option<u8> {
        match action {
            Action::Prepare(id) => self.prepare(id),
            Action::CancelPreparation(id) => stop_task(&mut self.slots[id].preparation),
            Action::Spawn(id) => self.spawn(id),
            Action::AwaitAdoption(id) => self.await_adoption(id),
            Action::Reload(id) => self.reload(id),
            Action::Drain(id) => {
                self.reload_step(id, Step::Ends);
                self.drain(id);
            }
            Action::Terminate(id) => {
                self.reload_step(id, Step::Ends);
                self.terminate(id);
            }
            Action::Kill(id) => self.kill(id),
            Action::Clear(id) => self.clear(id),
            Action::Tell(id, news) => self.tell(id, news),
            Action::Exit(code) => return Some(code),
        }
        None
    }

    fn tell(&self, id: Id, news: News) {
        let Service { name, command, .. } = &*self.services[id];
        let (service, pid) = (*name, self.slots[id].main.map(nix::unistd::Pid::as_raw));
        let how = self.slots[id].how_it_ended();
        let too_often = format!("{name} {how} and has failed too often ({})", command.join(" "));
        match news {
            News::Ready(took) => {
                let after_ms = took.as_millis();
                tracing::info!(service, pid, after_ms, "{name} is ready after {after_ms} ms");
            }
            News::Again(pause) => {
                let pause_ms = pause.as_millis();
                tracing::warn!(
                    service,
                    pid,
                    pause_ms,
                    "{name} {how}; it is started again in {pause_ms} ms"
                );
            }
            News::Paused(pause) => tracing::info!(
                service,
                "{name} was stopped by hand; it is started again in {} s unless somebody starts it before",
                pause.as_secs()
            ),
            News::Adopted => tracing::info!(service, pid, "{name} was started by hand; it is watched from here on"),
            News::GivenUp => tracing::error!(service, "{too_often}; everything ends; its last lines:"),
            News::LeftDown => tracing::error!(
                service,
                "{too_often}; it is left down (MAILROOM_ON_FAILURE=keep); its last lines:"
            ),
            News::Killed => tracing::error!(service, pid, "{name} did not end in time and is killed"),
        }
        if matches!(news, News::GivenUp | News::LeftDown) {
            self.output.repeat(name);
        }
    }

    /// Sends messages about the present instance of a service.
    pub(super) fn reporter(&self, id: Id) -> Reporter {
        Reporter {
            id,
            instance: self.slots[id].instance,
            events: self.events.clone(),
        }
    }

    /// A task about one instance of a service. `otherwise` is what has happened should it panic: no state waits for
    /// ever.
    pub(super) fn task(&self, id: Id, otherwise: What, work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        let report = self.reporter(id);
        spawn_local(async move {
            if panics::contain_future(work).await.is_none() {
                report.send(otherwise);
            }
        })
    }
}

/// The time is random enough to keep two services from starting in step.
fn jitter() -> u8 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_micros().to_le_bytes()[0]
}
