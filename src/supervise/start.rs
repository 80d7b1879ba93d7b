//! How a service's main process comes to run: started here, or found running and adopted.
//!
//! Before each start, what an earlier one left behind is ended and removed, the preparations run, and the sockets that
//! the service needs are waited for. A preparation that is a function cannot be interrupted: a stop does not wait for
//! it, and it runs on.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use super::policy::Id;
use super::readiness::{self, Notification};
use super::service::{Preparation, Readiness, Service};
use super::slots::{What, stop_task};
use super::supervisor::Supervisor;
use super::{POLL, members};
use crate::system::pidfd::PidFd;
use crate::system::processes::{Exit, Processes};
use crate::system::{files, panics, proc};

/// Longest run of a preparation: postsuper(1) looks at every file of the queue.
const PREPARATION_LIMIT: Duration = Duration::from_secs(600);
/// Longest wait for a socket that a service needs.
const NEED_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks for a process that a user starts, which takes seconds.
const ADOPTION_POLL: Duration = Duration::from_millis(200);
/// Longest wait for the exit status of an adopted process that has ended.
const STATUS_LIMIT: Duration = Duration::from_millis(100);

impl Supervisor {
    /// Prepares a start, unless the service runs already.
    pub(super) fn prepare(&mut self, id: Id) {
        let slot = &mut self.slots[id];
        slot.instance += 1;
        slot.last_exit = None;
        stop_task(&mut slot.adoption);
        let earlier = slot.main.take();
        let (service, processes) = (Rc::clone(&self.services[id]), self.processes.clone());
        let report = self.reporter(id);
        let work = async move {
            if let Some(earlier) = earlier {
                members::end(earlier, &service.stop_order).await;
            }
            if let Some(pid) = proc::from_pid_file(&service.pid_file, service.process) {
                return report.send(What::Found(pid));
            }
            match prepare(&service, &processes).await {
                Ok(()) => report.send(What::Prepared),
                Err(error) => {
                    tracing::error!(service = service.name, "{}: {error}", service.name);
                    report.send(What::PreparationFailed);
                }
            }
        };
        self.slots[id].preparation = Some(self.task(id, What::PreparationFailed, work));
    }

    /// Starts the main process.
    pub(super) fn spawn(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let (name, program) = (service.name, &service.command[0]);
        let report = self.reporter(id);
        let mut command = Command::new(program);
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
                tracing::error!(service = name, "{name}: {program}: {error}");
                return report.send(What::PreparationFailed);
            }
        };
        let slot = &mut self.slots[id];
        slot.main = Some(child.pid);
        slot.pidfd = PidFd::open(child.pid).ok();
        slot.out_of_memory_kills = Some(proc::out_of_memory_kills());
        self.output.follow(name, child.stdout);
        self.output.follow(name, child.stderr);
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
                let socket = files::at(path, readiness::bind_notify_socket(path))?;
                let work = readiness::await_notifications(socket, move |notification| {
                    report.send(match notification {
                        Notification::Ready => What::Ready,
                        Notification::Reloading => What::Reloading,
                    });
                });
                self.task(id, What::Ready, work)
            }
            Readiness::Answers(probe) => {
                let probe = probe.clone();
                self.task(id, What::Ready, async move {
                    readiness::await_answer(&probe).await;
                    report.send(What::Ready);
                })
            }
        };
        self.slots[id].readiness = Some(task);
        Ok(())
    }

    /// Takes over a process that a user started, and ends what is left of the one before: an old listener would take
    /// half of the connections.
    pub(super) fn adopt(&mut self, id: Id, pid: Pid) {
        let report = self.reporter(id);
        let opened = PidFd::open(pid).and_then(|pidfd| Ok((pidfd.try_clone()?, pidfd.readable()?)));
        let Ok((pidfd, ended)) = opened else {
            // It is gone already.
            return report.send(What::Exited(Exit::Unknown));
        };
        let status = self.processes.watch(pid);
        let service = Rc::clone(&self.services[id]);
        let slot = &mut self.slots[id];
        stop_task(&mut slot.adoption);
        slot.out_of_memory_kills = Some(proc::out_of_memory_kills());
        slot.pidfd = Some(pidfd);
        if let Some(earlier) = slot.main.replace(pid).filter(|earlier| *earlier != pid) {
            spawn_local(async move { members::end(earlier, &service.stop_order).await });
        }
        self.task(id, What::Exited(Exit::Unknown), async move {
            let _ = ended.await;
            // The status comes to us only where we are PID 1, and then at once.
            let exit = timeout(STATUS_LIMIT, status).await;
            report.send(What::Exited(exit.ok().and_then(Result::ok).unwrap_or(Exit::Unknown)));
        });
        self.await_readiness_of_adopted(id);
    }

    /// A process that a user started does not notify us: that it is there has to do where it cannot be asked.
    fn await_readiness_of_adopted(&mut self, id: Id) {
        let asked = match self.services[id].ready {
            Readiness::Answers(_) => self.await_readiness(id),
            Readiness::Notify(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        if asked.is_err() {
            self.reporter(id).send(What::Ready);
        }
    }

    /// Looks for a process that a user starts.
    pub(super) fn await_adoption(&mut self, id: Id) {
        let (service, report) = (Rc::clone(&self.services[id]), self.reporter(id));
        let look = move || {
            let (service, report) = (Rc::clone(&service), report.clone());
            async move {
                loop {
                    sleep(ADOPTION_POLL).await;
                    if let Some(pid) = proc::from_pid_file(&service.pid_file, service.process) {
                        return report.send(What::Found(pid));
                    }
                }
            }
        };
        self.slots[id].adoption = Some(panics::keep(look));
    }
}

/// Removes what is stale, runs the preparations, waits for what the service needs.
async fn prepare(service: &Service, processes: &Processes) -> io::Result<()> {
    for path in service.stale_files.iter().chain(&service.provides) {
        files::remove(path)?;
    }
    for preparation in &service.preparations {
        match preparation {
            Preparation::Run(command) => run(service, command, processes).await?,
            Preparation::Call(function) => call(service, *function).await?,
        }
    }
    for socket in &service.needs {
        await_socket(socket).await?;
    }
    Ok(())
}

async fn run(service: &Service, preparation: &[String], processes: &Processes) -> io::Result<()> {
    let mut command = Command::new(&preparation[0]);
    command
        .args(&preparation[1..])
        .env_clear()
        .envs(service.environment.iter().cloned());
    let output = processes.output(&mut command, PREPARATION_LIMIT).await?;
    if output.exit.is_success() {
        return Ok(());
    }
    let (said, command) = (output.stderr.trim(), preparation.join(" "));
    Err(io::Error::other(format!("{command} {}: {said}", output.exit)))
}

async fn call(service: &Service, function: fn() -> io::Result<Vec<String>>) -> io::Result<()> {
    let lines = spawn_blocking(function).await.map_err(io::Error::other)??;
    for line in lines {
        tracing::info!(service = service.name, "{line}");
    }
    Ok(())
}

async fn await_socket(path: &Path) -> io::Result<()> {
    let accepts = async {
        while UnixStream::connect(path).await.is_err() {
            sleep(POLL).await;
        }
    };
    timeout(NEED_LIMIT, accepts).await.map_err(|_| {
        let (path, limit) = (path.display(), NEED_LIMIT.as_secs());
        io::Error::other(format!("{path} was not there within {limit} s"))
    })
}
