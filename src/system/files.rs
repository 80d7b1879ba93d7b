//! Files that are swapped in whole, with their owner and mode.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::{Gid, Group, Uid, User};
use tempfile::NamedTempFile;

use super::proc;

/// Postfix waits until main.cf and texthash files are 2 s old before it trusts them (dict_open(3)): rendered files
/// are dated this far back, so that no process waits.
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

/// A file that is written whole, and not in its place yet. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Prepared {
    /// Puts it in its place, over what is there. Returns the directory, which has yet to be synced.
    pub fn put(self) -> io::Result<PathBuf> {
        let Prepared { temporary, path } = self;
        at(&path, temporary.persist(&path).map(drop).map_err(|error| error.error))?;
        Ok(path.parent().map(Path::to_owned).unwrap_or_default())
    }
}

/// Writes `bytes` to a temporary file beside `path`, with this owner and mode, synced. `None` when all of that is so at
/// `path` already.
pub fn prepare(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<Option<Prepared>> {
    if at(path, is_so(path, bytes, owner, mode))? {
        return Ok(None);
    }
    let prepared = at(path, temporary(path, bytes, owner, mode))?;
    at(path, prepared.temporary.as_file().sync_all())?;
    Ok(Some(prepared))
}

/// Makes what was put into a directory outlive a crash of the machine.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    at(path, File::open(path).and_then(|directory| directory.sync_all()))
}

/// As [`prepare`] and [`Prepared::put`], for a file that means nothing after a crash of the machine: it is swapped in
/// whole, but not synced.
pub fn write_volatile(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<()> {
    at(path, temporary(path, bytes, owner, mode))?.put().map(drop)
}

fn is_so(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<bool> {
    let (uid, gid) = owner.ids()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|there| {
        there.is_file()
            && (there.uid(), there.gid(), there.mode() & 0o7777) == (uid.as_raw(), gid.as_raw(), mode)
            && fs::read(path).is_ok_and(|old| old == bytes)
    }))
}

/// What a temporary file's name begins with.
const TEMPORARY: &str = ".mailroom-";

fn temporary(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<Prepared> {
    let (uid, gid) = owner.ids()?;
    let directory = path.parent().ok_or_else(|| io::Error::other("has no directory"))?;
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    let file = temporary.as_file();
    file.set_permissions(Permissions::from_mode(mode))?;
    fchown(file, Some(uid.as_raw()), Some(gid.as_raw()))?;
    file.set_modified(SystemTime::now() - BACK_DATED)?;
    Ok(Prepared {
        temporary,
        path: path.to_owned(),
    })
}

/// Removes temporary files that a process which was killed has left in a directory: they may hold secrets.
pub fn remove_temporary(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY)) {
        let _ = fs::remove_file(entry.path());
    }
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
        let write = |bytes: &[u8], mode| prepare(&path, bytes, me(), mode).unwrap().map(Prepared::put);
        assert!(write(b"one", 0o640).is_some());
        assert!(write(b"one", 0o640).is_none(), "nothing differs");
        assert!(write(b"one", 0o600).is_some(), "the mode differs");
        assert!(prepare(&path, b"three", me(), 0o600).unwrap().is_some(), "not put");
        assert!(write(b"two", 0o600).is_some());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let there = fs::metadata(&path).unwrap();
        assert_eq!(there.mode() & 0o777, 0o600);
        assert!(there.modified().unwrap().elapsed().unwrap() >= Duration::from_secs(9));
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
        fs::write(directory.path().join(".mailroom-x"), "").unwrap();
        remove_temporary(directory.path());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = prepare(Path::new("/nonexistent/file"), b"", me(), 0o600).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/file: "), "{error}");
    }
}
