//! PID 1's end of the socket.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::{Answer, Request, socket};
use crate::system::files;

/// A request, and where its answer is awaited.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Takes the answer.
    pub answer: oneshot::Sender<Answer>,
}

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest request, in bytes: the import of a hundred thousand accounts.
const LONGEST: u64 = 256 << 20;

/// Takes requests, on the current `LocalSet`.
pub fn listen(requests: UnboundedSender<Asked>) -> io::Result<()> {
    let path = socket();
    files::remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(serve(stream, requests.clone()))),
                // As when file descriptors have run out for a while.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(())
}

async fn serve(mut stream: UnixStream, requests: UnboundedSender<Asked>) {
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    if BufReader::new(reader.take(LONGEST)).read_line(&mut line).await.is_err() {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(request) => answered(request, &requests).await,
        Err(_) => Answer::Refused("this is no request that this version knows".to_owned()),
    };
    if let Ok(text) = serde_json::to_string(&answer) {
        let _ = writer.write_all(format!("{text}\n").as_bytes()).await;
    }
}

async fn answered(request: Request, requests: &UnboundedSender<Asked>) -> Answer {
    let (answer, answered) = oneshot::channel();
    let _ = requests.send(Asked { request, answer });
    answered
        .await
        .unwrap_or_else(|_| Answer::Refused("the server is stopping".to_owned()))
}
