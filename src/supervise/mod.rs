//! Keeps services running. Knows nothing of mail: it is given descriptions, and [`policy`] decides.

pub mod members;
pub mod policy;
pub mod service;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use self::policy::{Action, Ended, Event, Id, News, State, step};
use self::service::{Readiness, Service};
use crate::health::probe;
use crate::logs::Logs;
use crate::system::files;
use crate::system::processes::{Exit, Processes};

/// Between two looks at something that gives no notice.
const POLL: Duration = Duration::from_millis(10);
/// Between two looks for a process that somebody starts by hand, which takes seconds.
const ADOPTION_POLL: Duration = Duration::from_millis(200);
/// How long what is left of a service may take to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);
/// Longest run of a preparation.
const PREPARATION_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a socket that a service needs.
const NEED_LIMIT: Duration = Duration::from_secs(30);

/// Runs the services until a stop was asked for, or one failed too often. Returns the exit code.
///
/// `stop` yields an item for each request to stop.
pub async fn supervise(
    services: Vec<Service>,
    mut stop: UnboundedReceiver<()>,
    stop_budget: Duration,
    processes: Processes,
    logs: Logs,
) -> u8 {
    let (events, mut happened) = unbounded_channel();
    let slots = services.iter().map(|_| Slot::default()).collect();
    let mut state = State::new(services.len(), stop_budget);
    let services = services.into_iter().map(Rc::new).collect();
    let mut supervisor = Supervisor {
        services,
        slots,
        events,
        processes,
        logs,
        begun: Instant::now(),
    };
    let mut event = Event::Begin;
    loop {
        let (next, actions) = step(state, event, supervisor.begun.elapsed());
        state = next;
        for action in actions {
            if let Some(code) = supervisor.act(action) {
                return code;
            }
        }
        let tick = state
            .next_tick()
            .map(|due| due.saturating_sub(supervisor.begun.elapsed()));
        event = tokio::select! {
            Some(()) = stop.recv() => Event::Stop,
            // A message from an instance that is gone changes nothing.
            Some(message) = happened.recv() => supervisor.current(message).unwrap_or(Event::Tick),
            () = sleep(tick.unwrap_or(Duration::MAX)), if tick.is_some() => Event::Tick,
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
    started: Option<Instant>,
    preparation: Option<JoinHandle<()>>,
    adoption: Option<JoinHandle<()>>,
    readiness: Option<JoinHandle<()>>,
    last_exit: Option<Exit>,
}

struct Supervisor {
    services: Vec<Rc<Service>>,
    slots: Vec<Slot>,
    events: UnboundedSender<Message>,
    processes: Processes,
    logs: Logs,
    begun: Instant,
}

impl Supervisor {
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
            What::Ready => Event::Ready(id),
            What::Exited(exit) => {
                let slot = &mut self.slots[id];
                slot.held = None;
                slot.last_exit = Some(exit);
                stop_task(&mut slot.readiness);
                Event::Exited(id, ended(exit), jitter())
            }
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
            Action::Terminate(id) => self.signal(id, Signal::TERM),
            Action::Kill(id) => {
                self.signal(id, Signal::KILL);
                if let Some(main) = self.slots[id].main {
                    members::signal(main, Signal::KILL);
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
        let exit = self.slots[id].last_exit;
        let how = exit.map_or("could not be started".to_owned(), |exit| exit.to_string());
        self.logs.own(match news {
            News::Ready(took) => format!("{name} is ready after {} ms", took.as_millis()),
            News::Again(pause) => format!("{name} {how}; it is started again in {} ms", pause.as_millis()),
            News::Held(pause) => format!(
                "{name} was stopped by hand; it is started again in {} s unless somebody starts it before",
                pause.as_secs()
            ),
            News::Adopted => format!("{name} was started by hand; it is watched from here on"),
            News::GivenUp => format!(
                "{name} {how} and has failed too often; everything ends ({})",
                command.join(" ")
            ),
            News::Killed => format!("{name} did not end in time and is killed"),
        });
    }

    fn reporter(&self, id: Id) -> Reporter {
        Reporter {
            id,
            instance: self.slots[id].instance,
            events: self.events.clone(),
        }
    }

    fn prepare(&mut self, id: Id) {
        let slot = &mut self.slots[id];
        slot.instance += 1;
        slot.last_exit = None;
        stop_task(&mut slot.adoption);
        let earlier = slot.main.take();
        let (service, processes) = (Rc::clone(&self.services[id]), self.processes.clone());
        let (report, logs) = (self.reporter(id), self.logs.clone());
        self.slots[id].preparation = Some(spawn_local(async move {
            let found = members::from_pid_file(&service.pid_file, service.process);
            if let Some(pid) = found {
                return report.send(What::Found(pid));
            }
            match prepare(&service, earlier, &processes).await {
                Ok(()) => report.send(What::Prepared),
                Err(error) => {
                    logs.own(format!("{}: {error}", service.name));
                    report.send(What::PreparationFailed);
                }
            }
        }));
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
        self.await_readiness(id);
        let child = match self.processes.spawn(&mut command) {
            Ok(child) => child,
            Err(error) => {
                self.logs
                    .own(format!("{}: {}: {error}", service.name, service.command[0]));
                return report.send(What::PreparationFailed);
            }
        };
        let slot = &mut self.slots[id];
        slot.main = Some(child.pid);
        slot.held = hold(child.pid).ok();
        slot.started = Some(Instant::now());
        spawn_local(self.logs.clone().follow(service.name, child.stdout));
        spawn_local(self.logs.clone().follow(service.name, child.stderr));
        spawn_local(async move {
            let exit = child.exit.await.unwrap_or(Exit::Unknown);
            report.send(What::Exited(exit));
        });
    }

    /// Watches until the service says that it serves. Its notify socket is there before its process is.
    fn await_readiness(&mut self, id: Id) {
        let report = self.reporter(id);
        let task = match &self.services[id].ready {
            Readiness::Notify(path) => match bind_notify_socket(path) {
                Ok(socket) => spawn_local(await_notification(socket, report)),
                Err(error) => {
                    self.logs.own(format!("{}: {error}", path.display()));
                    return;
                }
            },
            Readiness::Greets(port, source) => {
                let (port, source) = (port.clone(), *source);
                spawn_local(async move {
                    while !greets(&port, source).await {
                        sleep(POLL).await;
                    }
                    report.send(What::Ready);
                })
            }
        };
        self.slots[id].readiness = Some(task);
    }

    /// Takes over a process that somebody else started.
    fn adopt(&mut self, id: Id, pid: Pid) {
        let Ok(held) = hold(pid) else { return };
        let report = self.reporter(id);
        let status = self.processes.watch(pid);
        let slot = &mut self.slots[id];
        stop_task(&mut slot.adoption);
        slot.main = Some(pid);
        slot.started = Some(Instant::now());
        let watched = held.try_clone();
        slot.held = Some(held);
        spawn_local(async move {
            if let Ok(Ok(watched)) = watched.map(readable) {
                let _ = watched.readable().await;
            }
            // The status comes to us only where we are PID 1, and then at once.
            let exit = timeout(Duration::from_millis(100), status).await;
            report.send(What::Exited(exit.ok().and_then(Result::ok).unwrap_or(Exit::Unknown)));
        });
        self.await_readiness_of_adopted(id);
    }

    /// Whoever was started by hand does not notify us: that it is there has to do where it cannot be asked.
    fn await_readiness_of_adopted(&mut self, id: Id) {
        match self.services[id].ready {
            Readiness::Greets(..) => self.await_readiness(id),
            Readiness::Notify(_) => self.reporter(id).send(What::Ready),
        }
    }

    fn await_adoption(&mut self, id: Id) {
        let (service, report) = (Rc::clone(&self.services[id]), self.reporter(id));
        self.slots[id].adoption = Some(spawn_local(async move {
            loop {
                sleep(ADOPTION_POLL).await;
                if let Some(pid) = members::from_pid_file(&service.pid_file, service.process) {
                    return report.send(What::Found(pid));
                }
            }
        }));
    }

    fn signal(&self, id: Id, signal: Signal) {
        if let Some(held) = &self.slots[id].held {
            let _ = pidfd_send_signal(held, signal);
        }
    }

    fn clear(&mut self, id: Id) {
        stop_task(&mut self.slots[id].adoption);
        let (report, main) = (self.reporter(id), self.slots[id].main);
        spawn_local(async move {
            if let Some(main) = main {
                end_members(main).await;
            }
            report.send(What::Cleared);
        });
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

async fn prepare(service: &Service, earlier: Option<Pid>, processes: &Processes) -> io::Result<()> {
    if let Some(earlier) = earlier {
        end_members(earlier).await;
    }
    for path in &service.stale_files {
        files::remove(path)?;
    }
    for preparation in &service.preparations {
        let mut command = Command::new(&preparation[0]);
        command
            .args(&preparation[1..])
            .env_clear()
            .envs(service.environment.iter().cloned());
        let output = processes.output(&mut command, PREPARATION_LIMIT).await?;
        if !output.exit.is_success() {
            let said = output.stderr.trim();
            return Err(io::Error::other(format!(
                "{} {}: {said}",
                preparation.join(" "),
                output.exit
            )));
        }
    }
    match &service.needs {
        Some(socket) => await_socket(socket).await,
        None => Ok(()),
    }
}

async fn await_socket(path: &Path) -> io::Result<()> {
    let accepts = async {
        while UnixStream::connect(path).await.is_err() {
            sleep(POLL).await;
        }
    };
    timeout(NEED_LIMIT, accepts).await.map_err(|_| {
        io::Error::other(format!(
            "{} was not there within {} s",
            path.display(),
            NEED_LIMIT.as_secs()
        ))
    })
}

/// Ends what is left of a service: asks, waits a moment, kills. An old process that keeps a listener open would take
/// half of the connections meant for the new one.
async fn end_members(main: Pid) {
    if members::of(main).is_empty() {
        return;
    }
    members::signal(main, Signal::TERM);
    let gone = async {
        while !members::of(main).is_empty() {
            sleep(POLL).await;
        }
    };
    if timeout(LEFTOVER_GRACE, gone).await.is_err() {
        members::signal(main, Signal::KILL);
        let _ = timeout(LEFTOVER_GRACE, async {
            while !members::of(main).is_empty() {
                sleep(POLL).await;
            }
        })
        .await;
    }
}

fn bind_notify_socket(path: &Path) -> io::Result<UnixDatagram> {
    files::remove(path)?;
    UnixDatagram::bind(path)
}

/// Keeps the socket open and empty also after `READY=1`: daemons notify about reloads, too.
async fn await_notification(socket: UnixDatagram, report: Reporter) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer).await {
        if buffer[..length]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1")
        {
            report.send(What::Ready);
        }
    }
}

/// One probe, on a thread of its own: it blocks.
async fn greets(port: &crate::health::Port, source: Option<std::net::IpAddr>) -> bool {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let port = port.clone();
    let probe = move || {
        let _ = answer.send(probe::greet(&port, source).is_ok());
    };
    std::thread::Builder::new()
        .name("readiness".to_owned())
        .spawn(probe)
        .is_ok()
        && answered.await.unwrap_or(false)
}
