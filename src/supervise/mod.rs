//! Keeps services running. Knows nothing of mail: it is given descriptions, and [`policy`] decides.

mod drain;
pub mod members;
mod overtaken;
pub mod policy;
pub mod service;
mod start;
pub mod status;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use self::policy::{Action, Ended, Event, Id, News, OnFailure, State, step};
use self::service::{Readiness, Service};
use self::status::Status;
use crate::logs::Logs;
use crate::system::processes::{Exit, Processes};
use crate::system::{files, panics, proc};

/// Between two looks at something that gives no notice.
const POLL: Duration = Duration::from_millis(10);
/// Between two looks for a process that somebody starts by hand, which takes seconds.
const ADOPTION_POLL: Duration = Duration::from_millis(200);

/// Longest that others stand still for a reload.
const LONGEST_STILL: Duration = Duration::from_millis(500);

/// How long a main process that was asked to end may take before the others are asked, too.
const ALONE: Duration = Duration::from_millis(300);

/// What is asked of a running supervisor.
#[derive(Debug, Clone)]
pub enum Request {
    /// End everything; asked again: hurry.
    Stop,
    /// What the service of this name reads has changed, and so may its description: this is it from here on.
    Reload(Box<Service>),
}

/// How long a stop may take, and what too many failures lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All of a stop happens within this time.
    pub stop_budget: Duration,
    /// After too many failures of a service.
    pub on_failure: OnFailure,
}

/// Runs the services until a stop was asked for, or one failed too often. Calls `stopping` when everything begins to end.
/// Returns the exit code.
pub async fn supervise(
    services: Vec<Service>,
    limits: Limits,
    mut requests: UnboundedReceiver<Request>,
    stopping: impl FnOnce(),
    processes: Processes,
    logs: Logs,
) -> u8 {
    let (events, mut happened) = unbounded_channel();
    let mut supervisor = Supervisor {
        state: State::new(services.len(), limits.stop_budget, limits.on_failure),
        slots: services.iter().map(|_| Slot::default()).collect(),
        status: Status::default(),
        services: services.into_iter().map(Rc::new).collect(),
        events,
        processes,
        logs,
        begun: Instant::now(),
    };
    let mut stopping = Some(stopping);
    let mut event = Some(Event::Begin);
    loop {
        // An event whose handling panics is told and left; the services run on.
        if let Some(event) = event
            && let Some(Some(code)) = panics::contain(|| supervisor.advance(event))
        {
            return code;
        }
        if supervisor.state.is_stopping()
            && let Some(stopping) = stopping.take()
        {
            stopping();
        }
        let tick = supervisor.until_next_tick();
        event = tokio::select! {
            Some(request) = requests.recv() => supervisor.event_of(request),
            Some(message) = happened.recv() => supervisor.current(message),
            () = sleep(tick.unwrap_or(Duration::MAX)), if tick.is_some() => Some(Event::Tick),
        };
    }
}

/// An event, with the instance of the service that it speaks of.
struct Message {
    id: Id,
    instance: u32,
    what: What,
}

enum What {
    Prepared,
    PreparationFailed,
    Found(Pid),
    Ready,
    Exited(Exit),
    Drained,
    Cleared,
}

/// What is known of a service's processes.
#[derive(Default)]
struct Slot {
    /// Counts starts, so that late messages can be told.
    instance: u32,
    /// The main process; kept after its end, for its session may have members left.
    main: Option<Pid>,
    /// Holds the main process, so that its number cannot come to mean another.
    held: Option<OwnedFd>,
    preparation: Option<JoinHandle<()>>,
    adoption: Option<JoinHandle<()>>,
    readiness: Option<JoinHandle<()>>,
    drain: Option<JoinHandle<()>>,
    farewell: Option<JoinHandle<()>>,
    last_exit: Option<Exit>,
    /// Waits until it serves again after a reload.
    reloaded: Option<oneshot::Sender<()>>,
    /// How often the kernel had killed for want of memory when it started.
    out_of_memory_kills: Option<u64>,
}

struct Supervisor {
    state: State,
    services: Vec<Rc<Service>>,
    slots: Vec<Slot>,
    status: Status,
    events: UnboundedSender<Message>,
    processes: Processes,
    logs: Logs,
    begun: Instant,
}

impl Supervisor {
    /// Takes the next step; `Some` ends everything.
    fn advance(&mut self, event: Event) -> Option<u8> {
        let (state, actions) = step(self.state.clone(), event, self.begun.elapsed());
        self.state = state;
        let code = actions.into_iter().find_map(|action| self.act(action));
        let words = |id: Id| (self.services[id].name, self.state.phase(id).word());
        if let Err(error) = self.status.write((0..self.services.len()).map(words).collect()) {
            self.logs.own(format!("the health check cannot be told more: {error}"));
        }
        code
    }

    fn until_next_tick(&self) -> Option<Duration> {
        let due = self.state.next_tick()?;
        Some(due.saturating_sub(self.begun.elapsed()))
    }

    fn event_of(&mut self, request: Request) -> Option<Event> {
        match request {
            Request::Stop => Some(Event::Stop),
            Request::Reload(service) => {
                let id = self.services.iter().position(|known| known.name == service.name)?;
                self.services[id] = Rc::new(*service);
                Some(Event::Reload(id))
            }
        }
    }

    /// The policy's event for a message, unless it comes from an earlier instance.
    fn current(&mut self, message: Message) -> Option<Event> {
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
                if let Some(reloaded) = self.slots[id].reloaded.take() {
                    let _ = reloaded.send(());
                }
                Event::Ready(id)
            }
            What::Exited(exit) => {
                let slot = &mut self.slots[id];
                slot.held = None;
                slot.last_exit = Some(exit);
                stop_task(&mut slot.readiness);
                stop_task(&mut slot.drain);
                stop_task(&mut slot.farewell);
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
            Action::Drain(id) => self.drain(id),
            Action::Terminate(id) => self.terminate(id),
            Action::Kill(id) => {
                signal(&self.slots[id], Signal::KILL);
                if let Some(main) = self.slots[id].main {
                    members::kill(main);
                }
            }
            Action::Clear(id) => self.clear(id),
            Action::Tell(id, news) => self.tell(id, news),
            Action::Exit(code) => return Some(code),
        }
        None
    }

    fn tell(&self, id: Id, news: News) {
        let Service { name, command, .. } = &*self.services[id];
        let how = self.how_it_ended(id);
        let too_often = format!("{name} {how} and has failed too often ({})", command.join(" "));
        let told = match news {
            News::Ready(took) => format!("{name} is ready after {} ms", took.as_millis()),
            News::Again(pause) => format!("{name} {how}; it is started again in {} ms", pause.as_millis()),
            News::Held(pause) => format!(
                "{name} was stopped by hand; it is started again in {} s unless somebody starts it before",
                pause.as_secs()
            ),
            News::Adopted => format!("{name} was started by hand; it is watched from here on"),
            News::GivenUp => format!("{too_often}; everything ends; its last lines:"),
            News::LeftDown => format!("{too_often}; it is left down (MAILROOM_ON_FAILURE=keep); its last lines:"),
            News::Killed => format!("{name} did not end in time and is killed"),
        };
        self.logs.own(told);
        if matches!(news, News::GivenUp | News::LeftDown) {
            self.logs.repeat(name);
        }
    }

    fn how_it_ended(&self, id: Id) -> String {
        let slot = &self.slots[id];
        let killed = slot.last_exit == Some(Exit::Signal(Signal::KILL.as_raw()));
        match slot.last_exit {
            None => "could not be started".to_owned(),
            Some(_)
                if killed
                    && slot
                        .out_of_memory_kills
                        .is_some_and(|before| before < proc::out_of_memory_kills()) =>
            {
                "was killed, possibly because memory ran out".to_owned()
            }
            Some(exit) => exit.to_string(),
        }
    }

    fn reporter(&self, id: Id) -> Reporter {
        Reporter {
            id,
            instance: self.slots[id].instance,
            events: self.events.clone(),
        }
    }

    /// A task about one instance of a service. `otherwise` is what has happened should it panic: nobody waits for ever.
    fn task(&self, id: Id, otherwise: What, work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        let report = self.reporter(id);
        spawn_local(async move {
            if panics::contain_future(work).await.is_none() {
                report.send(otherwise);
            }
        })
    }

    fn prepare(&mut self, id: Id) {
        let slot = &mut self.slots[id];
        slot.instance += 1;
        slot.last_exit = None;
        stop_task(&mut slot.adoption);
        let earlier = slot.main.take();
        let (service, processes) = (Rc::clone(&self.services[id]), self.processes.clone());
        let (report, logs) = (self.reporter(id), self.logs.clone());
        let work = async move {
            if let Some(earlier) = earlier {
                members::end(earlier, &service.farewell).await;
            }
            if let Some(pid) = members::from_pid_file(&service.pid_file, service.process) {
                return report.send(What::Found(pid));
            }
            match start::prepare(&service, &processes).await {
                Ok(()) => report.send(What::Prepared),
                Err(error) => {
                    logs.own(format!("{}: {error}", service.name));
                    report.send(What::PreparationFailed);
                }
            }
        };
        self.slots[id].preparation = Some(self.task(id, What::PreparationFailed, work));
    }

    fn spawn(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let report = self.reporter(id);
        let mut command = Command::new(&service.command[0]);
        command
            .args(&service.command[1..])
            .env_clear()
            .envs(service.environment.iter().cloned());
        if service.own_group {
            command.process_group(0);
        }
        let spawned = self
            .await_readiness(id)
            .and_then(|()| self.processes.spawn(&mut command));
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                stop_task(&mut self.slots[id].readiness);
                self.logs
                    .own(format!("{}: {}: {error}", service.name, service.command[0]));
                return report.send(What::PreparationFailed);
            }
        };
        let slot = &mut self.slots[id];
        slot.main = Some(child.pid);
        slot.held = hold(child.pid).ok();
        slot.out_of_memory_kills = Some(proc::out_of_memory_kills());
        spawn_local(self.logs.clone().follow(service.name, child.stdout));
        spawn_local(self.logs.clone().follow(service.name, child.stderr));
        self.task(id, What::Exited(Exit::Unknown), async move {
            let exit = child.exit.await.unwrap_or(Exit::Unknown);
            report.send(What::Exited(exit));
        });
    }

    /// Watches until the service says that it serves. Its notify socket is there before its process is.
    fn await_readiness(&mut self, id: Id) -> io::Result<()> {
        let report = self.reporter(id);
        let task = match &self.services[id].ready {
            Readiness::Notify(path) => {
                let socket = files::at(path, start::bind_notify_socket(path))?;
                let work = start::await_notification(socket, move || report.send(What::Ready));
                self.task(id, What::Ready, work)
            }
            Readiness::Greets(port, source) => {
                let (port, source) = (port.clone(), *source);
                self.task(id, What::Ready, async move {
                    start::await_greeting(&port, source).await;
                    report.send(What::Ready);
                })
            }
        };
        self.slots[id].readiness = Some(task);
        Ok(())
    }

    /// Takes over a process that somebody else started, and ends what is left of the one before: an old listener would
    /// take half of the connections.
    fn adopt(&mut self, id: Id, pid: Pid) {
        let report = self.reporter(id);
        let held = hold(pid).and_then(|held| Ok((held.try_clone()?, readable(held)?)));
        let Ok((held, watched)) = held else {
            // It is gone already.
            return report.send(What::Exited(Exit::Unknown));
        };
        let status = self.processes.watch(pid);
        let service = Rc::clone(&self.services[id]);
        let slot = &mut self.slots[id];
        stop_task(&mut slot.adoption);
        slot.out_of_memory_kills = Some(proc::out_of_memory_kills());
        slot.held = Some(held);
        if let Some(earlier) = slot.main.replace(pid).filter(|earlier| *earlier != pid) {
            spawn_local(async move { members::end(earlier, &service.farewell).await });
        }
        self.task(id, What::Exited(Exit::Unknown), async move {
            let _ = watched.readable().await;
            // The status comes to us only where we are PID 1, and then at once.
            let exit = timeout(Duration::from_millis(100), status).await;
            report.send(What::Exited(exit.ok().and_then(Result::ok).unwrap_or(Exit::Unknown)));
        });
        self.await_readiness_of_adopted(id);
    }

    /// Whoever was started by hand does not notify us: that it is there has to do where it cannot be asked.
    fn await_readiness_of_adopted(&mut self, id: Id) {
        let asked = match self.services[id].ready {
            Readiness::Greets(..) => self.await_readiness(id),
            Readiness::Notify(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        if asked.is_err() {
            self.reporter(id).send(What::Ready);
        }
    }

    fn await_adoption(&mut self, id: Id) {
        let (service, report) = (Rc::clone(&self.services[id]), self.reporter(id));
        let look = move || {
            let (service, report) = (Rc::clone(&service), report.clone());
            async move {
                loop {
                    sleep(ADOPTION_POLL).await;
                    if let Some(pid) = members::from_pid_file(&service.pid_file, service.process) {
                        return report.send(What::Found(pid));
                    }
                }
            }
        };
        self.slots[id].adoption = Some(panics::keep(look));
    }

    /// While it reads its configuration again its sockets may be missing for a moment: who needs one stands still.
    fn reload(&mut self, id: Id) {
        let (service, logs) = (Rc::clone(&self.services[id]), self.logs.clone());
        let is_needy = |other: &Service| {
            let needs = other.needs.as_ref();
            needs.is_some_and(|socket| service.stale_files.contains(socket))
        };
        let others = self.services.iter().zip(&self.slots);
        let still: Vec<Still> = others
            .filter(|(other, _)| is_needy(other))
            .filter_map(|(_, slot)| Still::hold(slot))
            .collect();
        let (reloaded, served) = oneshot::channel();
        let slot = &mut self.slots[id];
        slot.reloaded = Some(reloaded);
        let idle = match (slot.main, &service.sessions) {
            (Some(main), Some(sessions)) => overtaken::idle(main, sessions),
            _ => Vec::new(),
        };
        signal(slot, Signal::HUP);
        spawn_local(async move {
            if !still.is_empty() {
                let _ = timeout(LONGEST_STILL, served).await;
                drop(still);
            }
            if let Some(sessions) = &service.sessions {
                overtaken::relieve(idle, sessions, |line| logs.own(line)).await;
            }
        });
    }

    fn drain(&mut self, id: Id) {
        let (service, report, logs) = (Rc::clone(&self.services[id]), self.reporter(id), self.logs.clone());
        let held = self.slots[id].held.as_ref().and_then(|held| held.try_clone().ok());
        let work = async move {
            if let Some(drain) = &service.drain {
                let reload = || {
                    logs.own(format!("{} takes no new clients and finishes its work", service.name));
                    let _ = held.as_ref().map(|held| pidfd_send_signal(held, Signal::HUP));
                };
                drain::finish(drain, reload, |error| logs.own(format!("{}: {error}", service.name))).await;
            }
            report.send(What::Drained);
        };
        self.slots[id].drain = Some(self.task(id, What::Drained, work));
    }

    /// What is still being worked at when the time for that is over is finished, and no more is begun.
    ///
    /// A main process that has only just started may not notice; one that did may wait for its own, and they for something
    /// that never comes. So it is asked again, and they too.
    fn terminate(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let slot = &mut self.slots[id];
        let cut_short = slot.drain.as_ref().is_some_and(|drain| !drain.is_finished());
        stop_task(&mut slot.drain);
        let (Some(main), Some(held)) = (slot.main, slot.held.as_ref().and_then(|held| held.try_clone().ok())) else {
            return;
        };
        let work = async move {
            let drain = service.drain.as_ref().filter(|_| cut_short);
            if let Some(drain) = drain {
                drain::quiet(drain, main).await;
            }
            let _ = pidfd_send_signal(&held, Signal::TERM);
            if let Some(drain) = drain {
                drain::release(drain, main);
            }
            loop {
                sleep(ALONE).await;
                let _ = pidfd_send_signal(&held, Signal::TERM);
                members::end(main, &service.farewell).await;
            }
        };
        // Whoever cannot be asked is killed when its time is over.
        slot.farewell = Some(spawn_local(work));
    }

    fn clear(&mut self, id: Id) {
        stop_task(&mut self.slots[id].adoption);
        let (report, main, service) = (self.reporter(id), self.slots[id].main, Rc::clone(&self.services[id]));
        self.task(id, What::Cleared, async move {
            if let Some(main) = main {
                members::end(main, &service.farewell).await;
            }
            report.send(What::Cleared);
        });
    }
}

/// A service of which all processes stand still, until this is dropped.
struct Still {
    main: Pid,
    held: OwnedFd,
}

impl Still {
    fn hold(slot: &Slot) -> Option<Still> {
        let (main, held) = (slot.main?, slot.held.as_ref()?.try_clone().ok()?);
        let still = Still { main, held };
        // The main process first: it starts no other then.
        still.signal(Signal::STOP);
        Some(still)
    }

    fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.held, signal);
        members::signal(self.main, signal, |_| true);
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// Sends messages about one instance of one service.
#[derive(Clone)]
struct Reporter {
    id: Id,
    instance: u32,
    events: UnboundedSender<Message>,
}

impl Reporter {
    fn send(&self, what: What) {
        let _ = self.events.send(Message {
            id: self.id,
            instance: self.instance,
            what,
        });
    }
}

fn stop_task(task: &mut Option<JoinHandle<()>>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

fn signal(slot: &Slot, signal: Signal) {
    if let Some(held) = &slot.held {
        let _ = pidfd_send_signal(held, signal);
    }
}

fn hold(pid: Pid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn readable(held: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and the same descriptor, as long as the AsyncFd that owns it.
    Ok(unsafe { AsyncFd::register(held) }?)
}

/// SIGTERM is how a daemon ends when it is told to: by an operator, for ours are awaited as stops.
fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::Code(0) | Exit::Unknown => Ended::Cleanly,
        Exit::Signal(signal) if signal == Signal::TERM.as_raw() => Ended::Cleanly,
        Exit::Code(_) | Exit::Signal(_) => Ended::Crashed,
    }
}

/// The time is random enough to keep two services from starting in step.
fn jitter() -> u8 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    now.subsec_micros().to_le_bytes()[0]
}
