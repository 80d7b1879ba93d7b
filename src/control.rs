//! The unix socket between a command line and PID 1: one line each way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use crate::layout::RUN_DIRECTORY;
use crate::system::files;

/// Who waits for the outcome of a reload.
pub type Answer = oneshot::Sender<Result<String, String>>;

const RELOAD: &str = "reload";
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// No request is longer.
const LONGEST: u64 = 256;

fn path() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("control")
}

/// Takes requests, on the current `LocalSet`. Only root may connect.
pub fn listen(reloads: UnboundedSender<Option<Answer>>) -> io::Result<()> {
    files::remove(&path())?;
    let listener = UnixListener::bind(path())?;
    std::fs::set_permissions(path(), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(spawn_local(serve(stream, reloads.clone()))),
                // As when file descriptors have run out for a while.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(())
}

async fn serve(mut stream: tokio::net::UnixStream, reloads: UnboundedSender<Option<Answer>>) {
    let mut request = String::new();
    let (reader, mut writer) = stream.split();
    let read = tokio::io::BufReader::new(reader.take(LONGEST))
        .read_line(&mut request)
        .await;
    let outcome = match request.trim() {
        _ if read.is_err() => return,
        RELOAD => {
            let (answer, answered) = oneshot::channel();
            let _ = reloads.send(Some(answer));
            answered
                .await
                .unwrap_or_else(|_| Err("the server is stopping".to_owned()))
        }
        other => Err(format!("{other:?} is no request that this version knows")),
    };
    let text = match outcome {
        Ok(text) => format!("ok\n{text}\n"),
        Err(text) => format!("error\n{text}\n"),
    };
    let _ = writer.write_all(text.as_bytes()).await;
}

/// Asks the running PID 1 to reload; returns what it says.
pub fn reload() -> Result<String, String> {
    let asked = || -> io::Result<(String, String)> {
        let mut stream = UnixStream::connect(path())?;
        writeln!(stream, "{RELOAD}")?;
        let (mut outcome, mut text) = (String::new(), String::new());
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut outcome)?;
        reader.read_to_string(&mut text)?;
        Ok((outcome, text))
    };
    match asked() {
        Ok((outcome, text)) if outcome == "ok\n" => Ok(text.trim_end().to_owned()),
        Ok((_, text)) => Err(text.trim_end().to_owned()),
        Err(error) => Err(format!(
            "{}: {error}; is the server running, and are you root?",
            path().display()
        )),
    }
}
