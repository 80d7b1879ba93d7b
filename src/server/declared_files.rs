//! Follows the files that declare accounts and aliases: a change has everything read again.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::UnboundedSender;

use super::Wish;
use crate::settings::Environment;
use crate::site::{ACCOUNTS, ALIASES};
use crate::system::watch::Watch;

/// Which file it is, how long, and when it was changed: what a change leaves as it was is no change.
type Seen = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// The files, as they were when they were last read.
pub struct DeclaredFiles {
    paths: Vec<PathBuf>,
    seen: RefCell<Seen>,
}

impl DeclaredFiles {
    /// Those that the environment names, as they are now.
    pub fn of(environment: &Environment) -> DeclaredFiles {
        let paths = [ACCOUNTS, ALIASES].map(|name| environment.get(&format!("{name}_FILE")));
        let paths: Vec<PathBuf> = paths
            .into_iter()
            .flatten()
            .map(|path| PathBuf::from(path.trim()))
            .collect();
        DeclaredFiles {
            seen: RefCell::new(seen(&paths)),
            paths,
        }
    }

    /// Has everything read again when they change. What is wrong in them then is told by the reload.
    pub(super) async fn follow(&self, wishes: &UnboundedSender<Wish>) {
        if self.paths.is_empty() {
            return;
        }
        loop {
            // Watched before it is looked at, so that no change is between the two; anew each time, for what is in its place.
            let watch = match Watch::on(&self.paths) {
                Ok(watch) => watch,
                Err(error) => {
                    tracing::warn!("changes of accounts will not be noticed before mailroom reload: {error}");
                    return;
                }
            };
            let now = seen(&self.paths);
            if now == *self.seen.borrow() {
                if watch.changed().await.is_err() {
                    return;
                }
                continue;
            }
            *self.seen.borrow_mut() = now;
            tracing::info!("What is declared has changed");
            let _ = wishes.send(Wish::default());
        }
    }
}

fn seen(paths: &[PathBuf]) -> Seen {
    let look = |path: &Path| {
        let there = fs::metadata(path).ok()?;
        Some((
            there.dev(),
            there.ino(),
            there.size(),
            there.mtime(),
            there.mtime_nsec(),
        ))
    };
    paths.iter().map(|path| look(path)).collect()
}
