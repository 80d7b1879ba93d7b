//! Notice of changed files (inotify(7)): written in place, renamed over, or reached by links that lead elsewhere now, as
//! Kubernetes' `..data` does.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Changes come in bursts: an editor writes, renames and changes the mode.
const SETTLED: Duration = Duration::from_millis(200);

/// Resolves after each burst of changes.
pub struct Watch(AsyncFd<OwnedFd>);

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
        for path in paths {
            let real = path.canonicalize().ok();
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
        Ok(Watch(unsafe { AsyncFd::register(OwnedFd::from(inotify)) }?))
    }

    /// Waits until something has changed and nothing more changes.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [0; 8192];
        loop {
            sleep(SETTLED).await;
            // What exactly has changed does not matter: all is looked at anew.
            match read(&self.0, &mut buffer) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}
