//! PID 1's end of the sockets.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::{Answer, Door, Request};
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
/// Owner and group may connect; until their names are looked up, root alone.
const MODE: u32 = 0o660;

/// Takes requests, on the current `LocalSet`.
pub fn listen(door: Door, requests: UnboundedSender<Asked>) -> io::Result<()> {
    let listener = files::at(&door.path, bind(&door))?;
    spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(serve(stream, door.clone(), requests.clone()))),
                // As when file descriptors have run out for a while.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(())
}

fn bind(door: &Door) -> io::Result<UnixListener> {
    files::remove(&door.path)?;
    let listener = UnixListener::bind(&door.path)?;
    std::fs::set_permissions(&door.path, Permissions::from_mode(0o600))?;
    let (user, group) = door.owner.ids()?;
    chown(&door.path, Some(user.as_raw()), Some(group.as_raw()))?;
    std::fs::set_permissions(&door.path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

async fn serve(mut stream: UnixStream, door: Door, requests: UnboundedSender<Asked>) {
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    if BufReader::new(reader.take(door.longest))
        .read_line(&mut line)
        .await
        .is_err()
    {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(request) if (door.allows)(&request) => answered(request, &requests).await,
        Ok(_) => Answer::Refused("this may not be asked here".to_owned()),
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
