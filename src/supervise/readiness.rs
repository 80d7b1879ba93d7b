//! How it is seen that a service serves: it notifies, or it answers a probe.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::POLL;
use crate::probes::Probe;
use crate::system::files;

/// Longest pause between two probes.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// What a service says of itself (sd_notify(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notification {
    /// It serves.
    Ready,
    /// It reads its configuration again.
    Reloading,
}

/// A socket for `NOTIFY_SOCKET` (sd_notify(3)).
pub(super) fn bind_notify_socket(path: &Path) -> io::Result<UnixDatagram> {
    files::remove(path)?;
    UnixDatagram::bind(path)
}

/// Calls `hear` at each notification. Keeps the socket open and empty also after the first: daemons notify about
/// reloads, too.
pub(super) async fn await_notifications(socket: UnixDatagram, hear: impl Fn(Notification)) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer).await {
        notifications(&buffer[..length]).for_each(&hear);
    }
}

/// Those in a datagram, one a line, in order; what else is in it is of no interest.
fn notifications(datagram: &[u8]) -> impl Iterator<Item = Notification> {
    datagram.split(|byte| *byte == b'\n').filter_map(|line| match line {
        b"READY=1" => Some(Notification::Ready),
        b"RELOADING=1" => Some(Notification::Reloading),
        _ => None,
    })
}

/// Returns when the probe is answered as it should. Asks less and less often: that may never come.
pub(super) async fn await_answer(probe: &Probe) {
    let mut pause = POLL;
    while !answers(probe).await {
        sleep(pause).await;
        pause = (pause * 9 / 8).min(LONGEST_POLL);
    }
}

/// Asks once, on a thread that may block.
pub(super) async fn answers(probe: &Probe) -> bool {
    let probe = probe.clone();
    let answered = spawn_blocking(move || probe.ask().is_ok()).await;
    answered.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_lines() {
        let of = |datagram: &[u8]| notifications(datagram).collect::<Vec<_>>();
        assert_eq!(of(b"READY=1\nSTATUS=v2.4"), [Notification::Ready]);
        assert_eq!(of(b"MONOTONIC_USEC=1\nRELOADING=1\n"), [Notification::Reloading]);
        assert_eq!(
            of(b"RELOADING=1\nREADY=1"),
            [Notification::Reloading, Notification::Ready]
        );
        assert_eq!(of(b"XREADY=1\nREADY=10\nSTOPPING=1\n\xff"), []);
    }
}
