//! One container for one set of volumes: each that is written is locked before anything in it is touched (`system/lock`).
//!
//! A container that comes second waits for the time that the settings give it. Where a file system knows no locks, one warning
//! says so.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::health;
use crate::layout::CERTIFICATE_DIRECTORY;
use crate::system::files;
use crate::system::lock::{self, Attempt, Held};

/// Between two attempts.
const POLL: Duration = Duration::from_millis(100);

/// The locks, held until this is dropped.
#[derive(Debug, Default)]
pub struct Locked {
    held: Vec<Held>,
    /// Others held one of them at first: what was read before may have changed.
    pub after_others: bool,
}

/// The default: time for a container that is ending. One that is given longer is meant to take over.
const MOMENT: Duration = Duration::from_secs(5);

/// Locks these volumes, and waits for others to end, that long in all.
pub async fn lock(volumes: impl Iterator<Item = &'static str>, limit: Duration) -> anyhow::Result<Locked> {
    health::standby(None);
    let locked = wait(volumes, limit).await;
    health::standby(None);
    locked
}

async fn wait(volumes: impl Iterator<Item = &'static str>, limit: Duration) -> anyhow::Result<Locked> {
    let end = Instant::now() + limit;
    let mut locked = Locked::default();
    let mut files = BTreeSet::new();
    for volume in volumes {
        let path = Path::new(volume);
        let mut told = false;
        loop {
            let attempt = match lock::attempt(path, &files) {
                // A certificate that is mounted read-only is only read.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && !is_written(volume) => break,
                attempt => files::at(path, attempt)?,
            };
            let holder = match attempt {
                Attempt::Held(held) => {
                    files.insert(held.identity()?);
                    locked.held.push(held);
                    break;
                }
                Attempt::Ours => break,
                Attempt::NoLocks => {
                    tracing::warn!("Warning: {volume} cannot be locked: see that no other container uses it");
                    break;
                }
                Attempt::InUse(holder) => holder.unwrap_or_else(|| "another container".to_owned()),
            };
            if Instant::now() >= end {
                return Err(in_use(volume, &holder, limit));
            }
            locked.after_others = true;
            if !told {
                let seconds = limit.as_secs();
                tracing::info!(
                    path = volume,
                    "Waiting up to {seconds} s: {volume} is in use by {holder}"
                );
                if limit > MOMENT {
                    health::standby(Some(&format!(
                        "{volume} is in use by {holder}; this server starts when that one has ended"
                    )));
                }
            }
            told = true;
            sleep(POLL).await;
        }
    }
    let host = nix::unistd::gethostname().unwrap_or_default();
    let holder = format!("container {}", host.to_string_lossy());
    locked.held.iter_mut().for_each(|held| held.sign(&holder));
    Ok(locked)
}

/// The certificate's directory is written only where none is there.
fn is_written(volume: &str) -> bool {
    volume != CERTIFICATE_DIRECTORY
}

fn in_use(volume: &str, holder: &str, limit: Duration) -> anyhow::Error {
    let waited = match limit.as_secs() {
        0 => String::new(),
        seconds => format!(", and still was after {seconds} s"),
    };
    anyhow::anyhow!(
        "{volume} is in use by {holder}{waited}: two servers on one volume lose mail. Stop that one, give this one a \
         volume of its own, or let it wait for longer with MAILROOM_WAIT_FOR_VOLUMES=60s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_a_volume_is_named() {
        let said = in_use("/var/mail", "container x since y", Duration::from_secs(5)).to_string();
        assert!(
            said.starts_with("/var/mail is in use by container x since y, and still was after 5 s: "),
            "{said}"
        );
    }
}
