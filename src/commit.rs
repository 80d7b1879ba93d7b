//! Puts a staged plan in place: what differs is swapped in whole, what is the same is not touched.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::plan::{Directory, File, Tree};
use crate::system::files::{self, Prepared};

/// Makes the directories.
pub fn directories(directories: &[Directory]) -> io::Result<()> {
    directories
        .iter()
        .try_for_each(|directory| files::directory(&directory.path, directory.owner, directory.mode))
}

/// Goes through the directories in which everything has one owner. `tell` gets a line for each in which something had
/// another, and for each that cannot be gone through.
pub fn trees(trees: &[Tree], tell: impl Fn(String)) {
    for Tree { path, owner, .. } in trees {
        match files::own(path, *owner) {
            Ok(0) => {}
            Ok(count) => tell(format!(
                "Repaired: {count} files below {} belong to {} again",
                path.display(),
                owner.user
            )),
            Err(error) => tell(format!("Not repaired: {error}")),
        }
    }
}

/// Writes all files that differ, each beside its place: what takes time, and what can fail for want of space.
pub fn prepare(files: &[File]) -> io::Result<Vec<Prepared>> {
    let prepared = files
        .iter()
        .map(|file| files::prepare(&file.path, &file.bytes, file.owner, file.mode));
    prepared.filter_map(Result::transpose).collect()
}

/// Puts them in place, in order.
pub fn put(prepared: Vec<Prepared>) -> io::Result<()> {
    let directories: BTreeSet<PathBuf> = prepared.into_iter().map(Prepared::put).collect::<io::Result<_>>()?;
    directories
        .iter()
        .try_for_each(|directory| files::sync_directory(directory))
}
