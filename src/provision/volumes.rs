//! One container for one set of volumes: each that is written is locked before anything in it is touched.
//!
//! The lock is flock(2) on a file in the volume. The kernel drops it with the process that holds it, however that ends, and
//! no daemon inherits the descriptor. The file says who holds the lock. A container that comes second waits for the time
//! that the settings give it. Where a file system knows no locks, one warning says so; whether locks on a network file
//! system reach other machines is that file system's affair.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

use crate::layout::{CERTIFICATE_DIRECTORY, VOLUMES};
use crate::system::beneath::Place;
use crate::system::files;

/// The file's name.
const LOCK_FILE: &str = ".mailroom-lock";
/// Between two attempts.
const POLL: Duration = Duration::from_millis(100);
/// Longest text of a holder that is shown.
const LONGEST: u64 = 200;

/// The locks, held until this is dropped.
#[derive(Debug, Default)]
pub struct Locked {
    held: Vec<Held>,
    /// Others held one of them at first: what was read before may have changed.
    pub after_others: bool,
}

/// A lock; its file goes with it, so that a start that was refused leaves an empty volume as it was. One who waits for the
/// file that was there sees that it has gone, and begins again with the new one.
#[derive(Debug)]
struct Held {
    place: Place,
    file: Flock<File>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.place.remove(OsStr::new(LOCK_FILE));
    }
}

/// What came of an attempt.
enum Attempt {
    Held(Held),
    /// By whom.
    InUse(String),
    /// The file system knows no locks, or is not written.
    None,
}

/// Locks every volume, and waits for others to end, that long in all.
pub async fn lock(limit: Duration) -> anyhow::Result<Locked> {
    let end = Instant::now() + limit;
    let mut locked = Locked::default();
    let mut files = BTreeSet::new();
    for volume in VOLUMES {
        let path = Path::new(volume);
        let mut told = false;
        loop {
            match files::at(path, attempt(path, &files))? {
                Attempt::Held(held) => {
                    files.insert(identity(&held.file)?);
                    locked.held.push(held);
                    break;
                }
                Attempt::None => break,
                Attempt::InUse(holder) if Instant::now() >= end => return Err(in_use(volume, &holder, limit)),
                Attempt::InUse(holder) => {
                    locked.after_others = true;
                    if !told {
                        let seconds = limit.as_secs();
                        tracing::info!(
                            path = volume,
                            "Waiting up to {seconds} s: {volume} is in use by {holder}"
                        );
                    }
                    told = true;
                    sleep(POLL).await;
                }
            }
        }
    }
    locked.held.iter_mut().for_each(|held| sign(&mut held.file));
    Ok(locked)
}

/// `ours` are the files that are locked already: one volume may be at several paths.
fn attempt(volume: &Path, ours: &BTreeSet<(u64, u64)>) -> io::Result<Attempt> {
    let place = Place::made(volume)?;
    let name = OsStr::new(LOCK_FILE);
    let file = match open(&place, name) {
        // A certificate that is mounted read-only is only read.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && !is_written(volume) => {
            return Ok(Attempt::None);
        }
        file => file?,
    };
    if ours.contains(&identity(&file)?) {
        return Ok(Attempt::None);
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // The one before may have removed the file, or its directory, meanwhile.
        Ok(file) if is_still_there(&place, name, &file) => Ok(Attempt::Held(Held { place, file })),
        Ok(_) => Ok(Attempt::InUse("another container".to_owned())),
        Err((file, Errno::EAGAIN)) => Ok(Attempt::InUse(holder(file))),
        Err((_, Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS)) => {
            let path = volume.display();
            tracing::warn!("Warning: {path} cannot be locked: see that no other container uses it");
            Ok(Attempt::None)
        }
        Err((_, error)) => Err(error.into()),
    }
}

/// The volume's owner could have put something else there, or another name of a file of its own: that is removed.
fn open(place: &Place, name: &OsStr) -> io::Result<File> {
    match place.open_or_make(name, 0o600) {
        Ok(file) if file.metadata()?.nlink() == 1 => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Err(error),
        _ => {
            place.remove(name)?;
            place.open_or_make(name, 0o600)
        }
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|there| (there.dev(), there.ino()))
}

fn is_still_there(place: &Place, name: &OsStr, file: &File) -> bool {
    let there = place.open(name).and_then(|there| identity(&there));
    there.is_ok_and(|there| identity(file).is_ok_and(|locked| locked == there))
}

/// The certificate's directory is written only where none is there.
fn is_written(volume: &Path) -> bool {
    volume != Path::new(CERTIFICATE_DIRECTORY)
}

/// What the one who holds the lock wrote there.
fn holder(mut file: File) -> String {
    let mut text = String::new();
    let _ = Read::by_ref(&mut file).take(LONGEST).read_to_string(&mut text);
    match text.trim() {
        "" => "another container".to_owned(),
        holder if holder.contains(char::is_control) => "another container".to_owned(),
        holder => holder.to_owned(),
    }
}

/// Says who we are. That is only for people to read: a full volume is no reason not to start.
fn sign(file: &mut Flock<File>) {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let since = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    let text = format!("container {} since {since}\n", host.to_string_lossy());
    let _ = file.set_len(0).and_then(|()| file.rewind());
    let _ = file.write_all(text.as_bytes());
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
    fn the_second_hears_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let (path, nothing) = (directory.path(), BTreeSet::new());
        let Attempt::Held(mut first) = attempt(path, &nothing).unwrap() else {
            panic!("not locked");
        };
        sign(&mut first.file);
        let Attempt::InUse(holder) = attempt(path, &nothing).unwrap() else {
            panic!("locked twice");
        };
        assert!(holder.starts_with("container ") && holder.ends_with(" UTC"), "{holder}");
        let ours = BTreeSet::from([identity(&first.file).unwrap()]);
        assert!(
            matches!(attempt(path, &ours).unwrap(), Attempt::None),
            "one volume at two paths"
        );
        let said = in_use("/var/mail", &holder, Duration::from_secs(5)).to_string();
        assert!(said.starts_with("/var/mail is in use by container "), "{said}");
        assert!(said.contains("and still was after 5 s: "), "{said}");
        drop(first);
        assert!(
            matches!(attempt(path, &nothing).unwrap(), Attempt::Held(_)),
            "dropped with the file"
        );
    }

    #[test]
    fn what_others_put_there_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let (lock, other) = (directory.path().join(LOCK_FILE), directory.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        for make in [
            |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
            |from: &Path, to: &Path| std::fs::hard_link(from, to),
        ] {
            make(&other, &lock).unwrap();
            let Attempt::Held(mut held) = attempt(directory.path(), &BTreeSet::new()).unwrap() else {
                panic!("not locked");
            };
            sign(&mut held.file);
            assert_eq!(std::fs::read(&other).unwrap(), b"precious");
            drop(held);
            assert!(!lock.exists());
        }
    }
}
