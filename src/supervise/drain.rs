//! How a service finishes its work before it ends: new clients are turned away, those inside are served to the end.

use std::fs;
use std::path::Path;

use tokio::time::sleep;

use super::POLL;
use super::service::Drain;
use crate::commit;
use crate::system::proc;

/// Returns when there is no work in hand. `reload` has the service read its configuration again.
///
/// One that is not busy is left as it is. Errors are those of writing the closing files; the wait goes on without them.
pub(super) async fn finish(drain: &Drain, reload: impl Fn(), tell: impl Fn(String)) {
    if !is_busy(drain) {
        return;
    }
    match commit::files(&drain.closing) {
        Ok(_) => reload(),
        Err(error) => tell(format!("new clients cannot be turned away: {error}")),
    }
    while is_busy(drain) {
        sleep(POLL).await;
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
