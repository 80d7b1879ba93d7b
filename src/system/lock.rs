//! One server for one directory: flock(2) on a file in it.
//!
//! The kernel drops the lock with the process that holds it, however that ends, and no other program inherits the
//! descriptor. The file says who holds the lock. Whether locks on a network file system reach other machines is that file
//! system's affair.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::beneath::Place;

/// The file's name.
const LOCK_FILE: &str = ".mailroom-lock";
/// Longest text of a holder that is shown.
const LONGEST: u64 = 200;

/// Which file it is: device and inode.
pub type Identity = (u64, u64);

/// A lock; its file goes with it, so that a start that was refused leaves an empty directory as it was. One who waits for the
/// file that was there sees that it has gone, and begins again with the new one.
#[derive(Debug)]
pub struct Held {
    place: Place,
    file: Flock<File>,
}

impl Held {
    /// Which file is locked.
    pub fn identity(&self) -> io::Result<Identity> {
        identity(&self.file)
    }

    /// Says who holds it, and since when. That is only for people to read: a full disk is no reason not to start.
    pub fn sign(&mut self, holder: &str) {
        let since = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
        let text = format!("{holder} since {since}\n");
        let _ = self.file.set_len(0).and_then(|()| self.file.rewind());
        let _ = self.file.write_all(text.as_bytes());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.place.remove(OsStr::new(LOCK_FILE));
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// It is locked now.
    Held(Held),
    /// It is locked by this one; nothing where the one does not say.
    InUse(Option<String>),
    /// It is one of those that were locked before.
    Ours,
    /// The file system knows no locks.
    NoLocks,
}

/// Tries to lock a directory, which is made where it is not there. `ours` are the files that are locked already: one
/// directory may be at several paths.
pub fn attempt(directory: &Path, ours: &BTreeSet<Identity>) -> io::Result<Attempt> {
    let place = Place::made(directory)?;
    let name = OsStr::new(LOCK_FILE);
    let file = open(&place, name)?;
    if ours.contains(&identity(&file)?) {
        return Ok(Attempt::Ours);
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Nobody holds it, and it has another name besides: a file of the directory's owner, or a backup's. It is not written.
        Ok(file) if file.metadata()?.nlink() > 1 => {
            place.remove(name)?;
            attempt(directory, ours)
        }
        // The one before may have removed the file, or its directory, meanwhile.
        Ok(file) if is_still_there(&place, name, &file) => Ok(Attempt::Held(Held { place, file })),
        Ok(_) => Ok(Attempt::InUse(None)),
        Err((file, Errno::EAGAIN)) => Ok(Attempt::InUse(holder(file))),
        Err((_, Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS)) => Ok(Attempt::NoLocks),
        Err((_, error)) => Err(error.into()),
    }
}

/// The directory's owner could have put something else there, such as a link: that is removed.
fn open(place: &Place, name: &OsStr) -> io::Result<File> {
    match place.open_or_make(name, 0o600) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Err(error),
        Err(_) => {
            place.remove(name)?;
            place.open_or_make(name, 0o600)
        }
    }
}

fn identity(file: &File) -> io::Result<Identity> {
    file.metadata().map(|there| (there.dev(), there.ino()))
}

fn is_still_there(place: &Place, name: &OsStr, file: &File) -> bool {
    let there = place.open(name).and_then(|there| identity(&there));
    there.is_ok_and(|there| identity(file).is_ok_and(|locked| locked == there))
}

/// What the one who holds the lock wrote there.
fn holder(mut file: File) -> Option<String> {
    let mut text = String::new();
    let _ = Read::by_ref(&mut file).take(LONGEST).read_to_string(&mut text);
    let holder = text.trim();
    (!holder.is_empty() && !holder.contains(char::is_control)).then(|| holder.to_owned())
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
        assert!(matches!(attempt(path, &nothing).unwrap(), Attempt::InUse(None)));
        first.sign("container x");
        let Attempt::InUse(Some(holder)) = attempt(path, &nothing).unwrap() else {
            panic!("locked twice");
        };
        assert!(
            holder.starts_with("container x since ") && holder.ends_with(" UTC"),
            "{holder}"
        );
        let ours = BTreeSet::from([first.identity().unwrap()]);
        assert!(
            matches!(attempt(path, &ours).unwrap(), Attempt::Ours),
            "one directory at two paths"
        );
        drop(first);
        assert!(
            matches!(attempt(path, &nothing).unwrap(), Attempt::Held(_)),
            "dropped with the file"
        );
    }

    #[test]
    fn a_backup_by_hard_links_takes_no_lock_away() {
        let directory = tempfile::tempdir().unwrap();
        let (path, nothing) = (directory.path(), BTreeSet::new());
        let Attempt::Held(held) = attempt(path, &nothing).unwrap() else {
            panic!("not locked");
        };
        std::fs::hard_link(path.join(LOCK_FILE), path.join("snapshot")).unwrap();
        assert!(matches!(attempt(path, &nothing).unwrap(), Attempt::InUse(_)));
        drop(held);
        assert!(matches!(attempt(path, &nothing).unwrap(), Attempt::Held(_)));
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
            held.sign("container x");
            assert_eq!(std::fs::read(&other).unwrap(), b"precious");
            drop(held);
            assert!(!lock.exists());
        }
    }
}
