//! Puts a staged plan in place: what differs is swapped in whole, what is the same is not touched.

use std::io;
use std::path::PathBuf;

use crate::plan::{Directory, File};
use crate::system::files;

/// Makes the directories.
pub fn directories(directories: &[Directory]) -> io::Result<()> {
    directories
        .iter()
        .try_for_each(|directory| files::directory(&directory.path, directory.owner, directory.mode))
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
