//! How a service ends: new clients are turned away, those inside are served to the end, then its processes are ended.
//!
//! What is in hand is seen from outside: open connections, and finished files in the directories of work. Work that
//! leaves neither is not seen.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::policy::Id;
use super::service::{Drain, Queue};
use super::slots::{What, stop_task};
use super::supervisor::Supervisor;
use super::{POLL, members};
use crate::plan::File;
use crate::system::files;
use crate::system::pidfd::PidFd;
use crate::system::proc;

/// How long a main process that was asked to end may take before the others are asked, too.
const ALONE: Duration = Duration::from_millis(300);
/// Longest wait for work that was handed out: one message each.
const LONGEST_QUIET: Duration = Duration::from_millis(1_500);

impl Supervisor {
    /// Has a service take no new work and finish what it has.
    pub(super) fn drain(&mut self, id: Id) {
        let (service, report) = (Rc::clone(&self.services[id]), self.reporter(id));
        let main = self.slots[id].process().map(|(_, pidfd)| pidfd);
        let work = async move {
            if let Some(drain) = &service.drain {
                finish(drain, service.name, main).await;
            }
            report.send(What::Drained);
        };
        self.slots[id].drain = Some(self.task(id, What::Drained, work));
    }

    /// What is still being worked at when the time for that is over is finished, and no more is begun.
    ///
    /// A main process that has only just started may not notice; one that did may wait for its own, and they for
    /// something that never comes. So it is asked again, and they too.
    pub(super) fn terminate(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let slot = &mut self.slots[id];
        let cut_short = slot.drain.as_ref().is_some_and(|drain| !drain.is_finished());
        stop_task(&mut slot.drain);
        // A process that cannot be asked is killed when its time is over.
        let Some((main, pidfd)) = slot.process() else { return };
        let work = async move {
            let drain = service.drain.as_ref().filter(|_| cut_short);
            if let Some(drain) = drain {
                quiet(drain, main).await;
            }
            let _ = pidfd.signal(Signal::SIGTERM);
            if let Some(drain) = drain {
                release(drain, main);
            }
            loop {
                sleep(ALONE).await;
                let _ = pidfd.signal(Signal::SIGTERM);
                members::end(main, &service.stop_order).await;
            }
        };
        slot.termination = Some(spawn_local(work));
    }

    /// Kills the main process and all that belong to it.
    pub(super) fn kill(&self, id: Id) {
        self.slots[id].signal(Signal::SIGKILL);
        if let Some(main) = self.slots[id].main {
            members::kill(main);
        }
    }

    /// Ends what the main process has left behind.
    pub(super) fn clear(&mut self, id: Id) {
        stop_task(&mut self.slots[id].adoption);
        let (report, main, service) = (self.reporter(id), self.slots[id].main, Rc::clone(&self.services[id]));
        self.task(id, What::Cleared, async move {
            if let Some(main) = main {
                members::end(main, &service.stop_order).await;
            }
            report.send(What::Cleared);
        });
    }
}

/// Returns when there is no work in hand. A service that is not busy is left as it is. `main` gets SIGHUP when the
/// files that close the doors are in place; without them the service takes new clients until it ends.
async fn finish(drain: &Drain, service: &'static str, main: Option<PidFd>) {
    if !is_busy(drain) {
        return;
    }
    match close(&drain.closing) {
        Ok(()) => {
            tracing::info!(service, "{service} takes no new clients and finishes its work");
            let _ = main.map(|main| main.signal(Signal::SIGHUP));
        }
        Err(error) => tracing::warn!(service, "{service}: new clients cannot be turned away: {error}"),
    }
    while is_busy(drain) {
        sleep(POLL).await;
    }
}

/// Not synced: after a crash of the machine there is nothing to close, and the start that follows writes them anew.
fn close(files: &[File]) -> io::Result<()> {
    files
        .iter()
        .try_for_each(|file| files::write_volatile(&file.path, &file.bytes, file.owner, file.mode))
}

/// Has the dispatcher stand still, and waits until what it handed out is finished, not longer than [`LONGEST_QUIET`]:
/// what is ended in the middle of it is done again, and a message is delivered twice.
async fn quiet(drain: &Drain, main: Pid) {
    members::signal(main, Signal::SIGSTOP, |name| name == drain.dispatcher);
    let finished = async {
        while proc::unix_connections(&drain.handed_out) > 0 {
            sleep(POLL).await;
        }
    };
    let _ = timeout(LONGEST_QUIET, finished).await;
}

/// Lets the dispatcher run on, to its end.
fn release(drain: &Drain, main: Pid) {
    for signal in [Signal::SIGTERM, Signal::SIGCONT] {
        members::signal(main, signal, |name| name == drain.dispatcher);
    }
}

fn is_busy(drain: &Drain) -> bool {
    proc::connections(&drain.ports) > 0 || drain.queues.iter().any(holds_work)
}

/// A file that is still being written is no work: a crash of its writer would leave it so for ever.
fn holds_work(queue: &Queue) -> bool {
    let now = SystemTime::now();
    let is_finished = |there: &Metadata| there.is_file() && there.mode() & queue.finished == queue.finished;
    // A time in the future is when it is to be tried next: nothing is done about it before.
    let is_due = |there: &Metadata| there.modified().is_ok_and(|time| time <= now);
    let mut entries = fs::read_dir(&queue.path).into_iter().flatten().flatten();
    entries.any(|entry| {
        entry
            .metadata()
            .is_ok_and(|there| is_finished(&there) && is_due(&there))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    use std::path::Path;

    fn queue(path: &Path) -> Queue {
        Queue {
            path: path.to_owned(),
            finished: 0o700,
        }
    }

    fn write(path: &Path, mode: u32) {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).mode(mode).open(path).unwrap();
    }

    #[test]
    fn connections_and_queued_files_are_work() {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let drain = Drain {
            closing: Vec::new(),
            ports: vec![listener.local_addr().unwrap().port()],
            queues: vec![queue(directory.path()), queue(Path::new("/nonexistent"))],
            dispatcher: "",
            handed_out: Vec::new(),
        };
        assert!(!is_busy(&drain));
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_busy(&drain), "not even accepted yet");
        let (server, _) = listener.accept().unwrap();
        drop(client);
        drop(server);
        assert!(!is_busy(&drain));
        write(&directory.path().join("message"), 0o700);
        assert!(is_busy(&drain));
    }

    #[test]
    fn only_finished_files_are_work() {
        let directory = tempfile::tempdir().unwrap();
        let (path, queue) = (directory.path(), queue(directory.path()));
        fs::create_dir(path.join("A")).unwrap();
        write(&path.join("unfinished"), 0o600);
        symlink("/bin/sh", path.join("link")).unwrap();
        assert!(!holds_work(&queue));
        write(&path.join("finished"), 0o700);
        assert!(holds_work(&queue));
        let later = SystemTime::now() + Duration::from_secs(60);
        let file = fs::File::options().write(true).open(path.join("finished")).unwrap();
        file.set_modified(later).unwrap();
        assert!(!holds_work(&queue), "it is to be tried later");
        let any = Queue { finished: 0, ..queue };
        fs::remove_file(path.join("finished")).unwrap();
        assert!(holds_work(&any), "where no bits are asked for");
    }
}
