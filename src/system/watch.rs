//! Notice of changed files (inotify(7)): written in place, renamed over, or reached by links that lead elsewhere now, as
//! Kubernetes' `..data` does.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Changes come in bursts: an editor writes, renames and changes the mode.
const SETTLED: Duration = Duration::from_millis(200);
/// Longest wait for a program that has a file open and has written to it: until it closes that, the file may be half there.
const OPEN: Duration = Duration::from_secs(30);

/// Resolves after each burst of changes.
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// What the files are called in their directories.
    names: BTreeSet<OsString>,
}

impl Watch {
    /// Watches files that may not be there, from here on.
    ///
    /// The file itself is watched, because one that is mounted by itself has its directory outside; and the directories of its
    /// path and of where that leads, for what takes its place.
    pub fn on(paths: &[PathBuf]) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let changes = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        let mut names = BTreeSet::new();
        for path in paths {
            let real = path.canonicalize().ok();
            let called = [Some(&**path), real.as_deref()]
                .into_iter()
                .flatten()
                .filter_map(Path::file_name);
            names.extend(called.map(OsStr::to_owned));
            let directories = [path.parent(), real.as_deref().and_then(Path::parent)];
            let places = [real.as_deref()].into_iter().chain(directories);
            for place in places.flatten() {
                match inotify.add_watch(place, changes) {
                    Ok(_) | Err(Errno::ENOENT) => {}
                    Err(error) => return Err(super::files::explained(place, error.into())),
                }
            }
        }
        // SAFETY: an OwnedFd is open, and the same descriptor, as long as the AsyncFd that owns it.
        let inotify = unsafe { AsyncFd::register(OwnedFd::from(inotify)) }?;
        Ok(Watch { inotify, names })
    }

    /// Waits until something has changed and nothing more changes.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        let mut buffer = [0; 8192];
        let begun = Instant::now();
        let mut open = BTreeSet::new();
        loop {
            sleep(SETTLED).await;
            match read(&self.inotify, &mut buffer) {
                // What exactly has changed does not matter: all is looked at anew.
                Ok(length) => self.note_open_files(&buffer[..length], &mut open),
                Err(Errno::EAGAIN) if open.is_empty() || begun.elapsed() > OPEN => break,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }

    /// Follows which of the files were written to and not closed since. `events` are as inotify(7) has them: watch, mask, cookie
    /// and the length of the name, four bytes each, then the name within a directory, which NUL bytes fill up.
    fn note_open_files(&self, mut events: &[u8], open: &mut BTreeSet<(u32, OsString)>) {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
        let ended = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF;
        while let Some((header, rest)) = events.split_at_checked(16) {
            let (watch, mask) = (
                number(&header[..4]),
                AddWatchFlags::from_bits_truncate(number(&header[4..8])),
            );
            let length = usize::try_from(number(&header[12..])).unwrap_or(usize::MAX);
            let Some((name, rest)) = rest.split_at_checked(length) else {
                return;
            };
            let name = OsStr::from_bytes(name.split(|byte| *byte == 0).next().unwrap_or_default());
            let is_ours = name.is_empty() || self.names.contains(name);
            if mask.contains(AddWatchFlags::IN_MODIFY) && is_ours {
                open.insert((watch, name.to_owned()));
            } else if mask.intersects(ended) {
                open.remove(&(watch, name.to_owned()));
            }
            events = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_that_is_being_written_is_awaited() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("accounts"), directory.path().join("log"));
        fs::write(&path, "a").unwrap();
        let watch = Watch::on(std::slice::from_ref(&path)).unwrap();
        let mut log = File::create(&other).unwrap();
        log.write_all(b"stays open, and is none of ours").unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        let is_over = |limit: Duration| tokio::time::timeout(limit, watch.changed());
        assert!(is_over(5 * SETTLED).await.is_err());
        file.write_all(b" and half").unwrap();
        drop(file);
        is_over(OPEN / 3).await.unwrap().unwrap();
    }
}
