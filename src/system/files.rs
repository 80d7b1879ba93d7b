//! Files that are swapped in whole, with their owner and mode.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::unistd::{Gid, Group, Uid, User};

use super::proc;

/// Postfix waits until main.cf and texthash files are 2 s old before it trusts them (dict_open(3)): rendered files
/// are dated this far back, so that nobody waits.
const BACK_DATED: Duration = Duration::from_secs(10);

/// Owner of a file, by the names of the image's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Account.
    pub user: &'static str,
    /// Group.
    pub group: &'static str,
}

impl Owner {
    /// `root:root`.
    pub const ROOT: Owner = Owner {
        user: "root",
        group: "root",
    };
    /// The owner of all mailboxes.
    pub const VMAIL: Owner = Owner {
        user: "vmail",
        group: "vmail",
    };

    /// The numbers behind the names.
    pub fn ids(self) -> io::Result<(Uid, Gid)> {
        let missing = |what: &str, name: &str| io::Error::other(format!("the image has no {what} {name}"));
        let user = User::from_name(self.user)?.ok_or_else(|| missing("user", self.user))?;
        let group = Group::from_name(self.group)?.ok_or_else(|| missing("group", self.group))?;
        Ok((user.uid, group.gid))
    }
}

/// Adds the path to an error: the operating system's own text does not name it.
pub fn at<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Puts `bytes` at `path`, with this owner and mode: a temporary file beside it, synced, then renamed over it.
/// Leaves the file alone, and returns false, when all of that is so already.
pub fn write(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<bool> {
    at(path, write_or_skip(path, bytes, owner, mode))
}

/// As [`write`], for a file that means nothing after a crash of the machine: it is swapped in whole, but not synced.
pub fn write_volatile(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<()> {
    at(path, replace(path, bytes, owner, mode, false))
}

fn write_or_skip(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<bool> {
    let (uid, gid) = owner.ids()?;
    if let Ok(there) = fs::symlink_metadata(path)
        && there.is_file()
        && (there.uid(), there.gid(), there.mode() & 0o7777) == (uid.as_raw(), gid.as_raw(), mode)
        && fs::read(path).is_ok_and(|old| old == bytes)
    {
        return Ok(false);
    }
    replace(path, bytes, owner, mode, true)?;
    Ok(true)
}

fn replace(path: &Path, bytes: &[u8], owner: Owner, mode: u32, synced: bool) -> io::Result<()> {
    let (uid, gid) = owner.ids()?;
    let directory = path.parent().ok_or_else(|| io::Error::other("has no directory"))?;
    let mut file = tempfile::Builder::new().prefix(".mailroom-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    fchown(file.as_file(), Some(uid.as_raw()), Some(gid.as_raw()))?;
    file.as_file().set_modified(SystemTime::now() - BACK_DATED)?;
    if synced {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if synced {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Makes a directory, and those above it, and gives it this owner and mode. What lies in it stays as it is.
pub fn directory(path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    at(path, make_directory(path, owner, mode))
}

fn make_directory(path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let (uid, gid) = owner.ids()?;
    let there = fs::metadata(path)?;
    // chown(2) clears set-id bits, so the mode comes second.
    if (there.uid(), there.gid()) != (uid.as_raw(), gid.as_raw()) {
        std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))?;
    }
    if fs::metadata(path)?.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Gives everything in a directory this owner; returns how much had another. Symbolic links are not followed, and what
/// is mounted somewhere below is left as it is.
pub fn own(root: &Path, owner: Owner) -> io::Result<u64> {
    let (uid, gid) = at(root, owner.ids())?;
    let mounted = proc::mount_points();
    let mut count = 0;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        // What a daemon that runs has meanwhile removed or moved needs nothing.
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => at(&directory, entries)?,
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let Ok(there) = fs::symlink_metadata(&path) else {
                continue;
            };
            if mounted.contains(&path) {
                continue;
            }
            if (there.uid(), there.gid()) != (uid.as_raw(), gid.as_raw()) {
                match std::os::unix::fs::lchown(&path, Some(uid.as_raw()), Some(gid.as_raw())) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return at(&path, Err(error)),
                    _ => count += 1,
                }
            }
            if there.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(count)
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at(path, Err(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Owner {
        let user = User::from_uid(Uid::current()).unwrap().unwrap();
        let group = Group::from_gid(Gid::current()).unwrap().unwrap();
        Owner {
            user: user.name.leak(),
            group: group.name.leak(),
        }
    }

    #[test]
    fn a_file_is_swapped_in_whole_and_dated_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("main.cf");
        assert!(write(&path, b"one", me(), 0o640).unwrap());
        assert!(!write(&path, b"one", me(), 0o640).unwrap(), "nothing differs");
        assert!(write(&path, b"one", me(), 0o600).unwrap(), "the mode differs");
        assert!(write(&path, b"two", me(), 0o600).unwrap());
        let there = fs::metadata(&path).unwrap();
        assert_eq!(there.mode() & 0o777, 0o600);
        assert!(there.modified().unwrap().elapsed().unwrap() >= Duration::from_secs(9));
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn an_error_names_the_path() {
        let error = write(Path::new("/nonexistent/file"), b"", me(), 0o600).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/file: "), "{error}");
    }
}
