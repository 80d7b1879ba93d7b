//! How a service finishes its work before it ends: new clients are turned away, those inside are served to the end.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::service::Drain;
use super::{POLL, members};
use crate::plan::File;
use crate::system::files;
use crate::system::proc;

/// Longest wait for work that was handed out: one message each.
const LONGEST_QUIET: Duration = Duration::from_millis(1_500);

/// Returns when there is no work in hand. `reload` has the service read its configuration again.
///
/// One that is not busy is left as it is. Errors are those of writing the closing files; the wait goes on without them.
pub(super) async fn finish(drain: &Drain, reload: impl Fn(), tell: impl Fn(String)) {
    if !is_busy(drain) {
        return;
    }
    match close(&drain.closing) {
        Ok(()) => reload(),
        Err(error) => tell(format!("new clients cannot be turned away: {error}")),
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

/// Has whoever hands out work hold it back, and waits until what was handed out is finished, not longer than
/// [`LONGEST_QUIET`]: what is ended in the middle of it is done again, and a message is delivered twice.
pub(super) async fn quiet(drain: &Drain, main: Pid) {
    members::signal(main, Signal::STOP, |name| name == drain.dispatcher);
    let finished = async {
        while proc::unix_connections(&drain.handed_out) > 0 {
            sleep(POLL).await;
        }
    };
    let _ = timeout(LONGEST_QUIET, finished).await;
}

/// Lets the dispatcher go on, to its end.
pub(super) fn release(drain: &Drain, main: Pid) {
    for signal in [Signal::TERM, Signal::CONT] {
        members::signal(main, signal, |name| name == drain.dispatcher);
    }
}

fn is_busy(drain: &Drain) -> bool {
    proc::connections(&drain.ports) > 0 || drain.queues.iter().any(|queue| holds_a_file(queue))
}

fn holds_a_file(directory: &Path) -> bool {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_and_queued_files_are_work() {
        let queue = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let drain = Drain {
            closing: Vec::new(),
            ports: vec![listener.local_addr().unwrap().port()],
            queues: vec![queue.path().to_owned(), "/nonexistent".into()],
            dispatcher: "",
            handed_out: Vec::new(),
        };
        fs::create_dir(queue.path().join("A")).unwrap();
        assert!(!is_busy(&drain));
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_busy(&drain), "not even accepted yet");
        let (server, _) = listener.accept().unwrap();
        drop(client);
        drop(server);
        assert!(!is_busy(&drain));
        fs::write(queue.path().join("message"), "").unwrap();
        assert!(is_busy(&drain));
    }
}
