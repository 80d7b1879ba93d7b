//! Puts a staged plan in place: what differs is swapped in whole, what is the same is not touched.

use std::io;
use std::path::PathBuf;

use crate::plan::{Directory, File, Tree};
use crate::system::files;

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

/// Writes the files; returns the paths of those that differed.
pub fn files(files: &[File]) -> io::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for File {
        path,
        bytes,
        owner,
        mode,
    } in files
    {
        if files::write(path, bytes, *owner, *mode)? {
            changed.push(path.clone());
        }
    }
    Ok(changed)
}
