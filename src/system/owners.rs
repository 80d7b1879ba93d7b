//! Repairs owners and permission bits of all that lies in a directory.
//!
//! Each entry is opened by its name in the directory's descriptor, and what is changed is what was opened. Symbolic links
//! get the owner themselves; what is mounted somewhere below is left as it is.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use nix::unistd::{Gid, Uid};

use super::beneath::{Link, Place, is};
use super::files::{Owner, at};
use super::proc;

/// Permission bits that nothing has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Without {
    /// No directory.
    pub directories: u32,
    /// No plain file.
    pub files: u32,
}

/// How much was put right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was somebody else's.
    pub owners: u64,
    /// What others could read or write.
    pub modes: u64,
}

/// Deeper directories are left alone: each level takes a descriptor.
const DEEPEST: usize = 256;

struct Level {
    place: Place,
    path: PathBuf,
    entries: ReadDir,
}

impl Level {
    fn of(place: Place, path: PathBuf) -> io::Result<Level> {
        let entries = fs::read_dir(place.path())?;
        Ok(Level { place, path, entries })
    }
}

struct Repair {
    ids: (Uid, Gid),
    without: Without,
    done: Repaired,
}

/// Gives everything in a directory this owner, and takes bits away.
pub fn repair(root: &Path, owner: Owner, without: Without) -> io::Result<Repaired> {
    let mut repair = Repair {
        ids: at(root, owner.ids())?,
        without,
        done: Repaired::default(),
    };
    let place = match Place::directory(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || Link::within(&error).is_some() => {
            return Ok(repair.done);
        }
        place => at(root, place)?,
    };
    let mounted = proc::mount_points();
    let mut levels = vec![at(root, Level::of(place, root.to_owned()))?];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.entries.next() else {
            levels.pop();
            continue;
        };
        let Ok(entry) = entry else { continue };
        let path = level.path.join(entry.file_name());
        if mounted.contains(&path) {
            continue;
        }
        let below = match repair.entry(level, &entry.file_name()) {
            // What a daemon that runs has meanwhile removed or moved needs nothing.
            Err(error) if is_gone(&error) => continue,
            below => at(&path, below)?,
        };
        if let Some(place) = below.filter(|_| levels.len() < DEEPEST) {
            match Level::of(place, path.clone()) {
                Err(error) if is_gone(&error) => {}
                level => levels.push(at(&path, level)?),
            }
        }
    }
    Ok(repair.done)
}

/// It was removed, or something is mounted there.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::EXDEV as i32)
}

impl Repair {
    /// Repairs an entry; returns it where it is a directory.
    fn entry(&mut self, level: &Level, name: &std::ffi::OsStr) -> io::Result<Option<Place>> {
        let there = level.place.status_of(name)?;
        let is_owned = (there.st_uid, there.st_gid) == (self.ids.0.as_raw(), self.ids.1.as_raw());
        let is_directory = is(&there, SFlag::S_IFDIR);
        let is_file = is(&there, SFlag::S_IFREG);
        if is_owned && !is_directory && !(is_file && there.st_mode & self.without.files != 0) {
            return Ok(None);
        }
        let place = level.place.entry(name)?;
        self.done.owners += u64::from(place.give(self.ids)?);
        let there = place.status()?;
        let is_directory = is(&there, SFlag::S_IFDIR);
        let without = match is_directory {
            true => self.without.directories,
            false if is(&there, SFlag::S_IFREG) => self.without.files,
            false => 0,
        };
        if there.st_mode & without != 0 {
            self.done.modes += u64::from(place.permit(there.st_mode & 0o7777 & !without)?);
        }
        Ok(is_directory.then_some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::tests::me;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn bits_are_taken_away_and_links_are_not_followed() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = directory.path().join("Maildir/.Old");
        fs::create_dir_all(folder.join("cur")).unwrap();
        fs::write(folder.join("cur/mail"), "x").unwrap();
        for path in [folder.clone(), elsewhere.path().to_owned()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(elsewhere.path(), folder.join("link")).unwrap();
        let without = Without {
            directories: 0o077,
            files: 0o022,
        };
        let repaired = repair(directory.path(), me(), without).unwrap();
        assert_eq!(repaired, Repaired { owners: 0, modes: 3 }, "Maildir, .Old, cur");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(
            mode(&folder.join("cur/mail")) & 0o044,
            0o044,
            "others may not come near it"
        );
        assert_eq!(mode(elsewhere.path()), 0o755);
        assert_eq!(
            repair(&folder.join("link"), me(), without).unwrap(),
            Repaired::default()
        );
        assert_eq!(
            repair(Path::new("/nonexistent"), me(), without).unwrap(),
            Repaired::default()
        );
    }

    #[test]
    fn deep_directories_do_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", 400).collect();
        fs::create_dir_all(directory.path().join(&deep)).unwrap();
        assert_eq!(
            repair(directory.path(), me(), Without::default()).unwrap(),
            Repaired::default()
        );
    }
}
