//! Files that are swapped in whole, with their owner and mode.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Group, Uid, User};

use super::beneath::{Link, NoDirectory, Place};

/// Postfix waits until main.cf and texthash files are 2 s old before it trusts them (dict_open(3)): rendered files
/// are dated this far back, so that no process waits.
const BACK_DATED: Duration = Duration::from_secs(10);

/// Owner of a file, by the names of the image's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    result.map_err(|error| {
        if Link::within(&error).is_some() || NoDirectory::within(&error).is_some() {
            return error;
        }
        let error = explained(path, error);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// "No space left on device" is also said where there is space, but no inode.
pub fn explained(path: &Path, error: io::Error) -> io::Error {
    let has_no_inodes = || {
        let there = path.ancestors().find_map(|path| statvfs(path).ok());
        there.is_some_and(|there| there.files() > 0 && there.files_available() == 0)
    };
    if error.kind() == io::ErrorKind::StorageFull && has_no_inodes() {
        let said =
            "no inodes are left on its file system, as df -i shows: remove files there, or make it with more inodes";
        return io::Error::new(error.kind(), said);
    }
    error
}

/// A file that is written whole, and not in its place yet. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    place: Place,
    /// Its name until it is in its place.
    temporary: Option<OsString>,
    name: OsString,
    file: File,
    path: PathBuf,
}

impl Prepared {
    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another time of its last change.
    pub fn date(&self, time: SystemTime) -> io::Result<()> {
        at(&self.path, self.file.set_modified(time))
    }

    /// Puts it in its place, over what is there. Returns the directory, which has yet to be synced.
    pub fn put(mut self) -> io::Result<PathBuf> {
        if let Some(temporary) = &self.temporary {
            at(&self.path, self.place.rename(temporary, &self.name))?;
        }
        self.temporary = None;
        Ok(self.path.parent().map(Path::to_owned).unwrap_or_default())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = self.place.remove(temporary);
        }
    }
}

/// Writes `bytes` to a temporary file beside `path`, with this owner and mode, synced. `None` when all of that is so at
/// `path` already.
pub fn prepare(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<Option<Prepared>> {
    if at(path, is_so(path, bytes, owner, mode))? {
        return Ok(None);
    }
    let prepared = at(path, temporary(path, bytes, owner, mode))?;
    at(path, prepared.file.sync_all())?;
    Ok(Some(prepared))
}

/// Makes what was put into a directory outlive a crash of the machine.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let sync = |place: Place| File::open(place.path())?.sync_all();
    at(path, Place::directory(path).and_then(sync))
}

/// As [`prepare`] and [`Prepared::put`], for a file that means nothing after a crash of the machine: it is swapped in
/// whole, but not synced.
pub fn write_volatile(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<()> {
    at(path, temporary(path, bytes, owner, mode))?.put().map(drop)
}

/// Gives a file the time of another where that was changed later. Either may not be there.
pub fn not_older(path: &Path, other: &Path) -> io::Result<()> {
    let Ok(changed) = fs::metadata(other).and_then(|there| there.modified()) else {
        return Ok(());
    };
    let opened = Place::parent(path).and_then(|(place, name)| place.open(&name));
    let Ok(file) = opened else { return Ok(()) };
    if at(path, file.metadata().and_then(|there| there.modified()))? < changed {
        at(path, file.set_modified(changed))?;
    }
    Ok(())
}

fn is_so(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<bool> {
    let (uid, gid) = owner.ids()?;
    let (place, name) = Place::parent(path)?;
    let Ok(mut file) = place.open(&name) else {
        return Ok(false);
    };
    let there = file.metadata()?;
    let mut old = Vec::new();
    Ok(
        (there.uid(), there.gid(), there.mode() & 0o7777) == (uid.as_raw(), gid.as_raw(), mode)
            && there.len() == bytes.len() as u64
            && file.read_to_end(&mut old).is_ok()
            && old == bytes,
    )
}

/// What a temporary file's name begins with.
const TEMPORARY: &str = ".mailroom-";
/// Names that begin so and stay.
const KEPT: [&str; 2] = [".mailroom-domain", ".mailroom-lock"];

fn temporary(path: &Path, bytes: &[u8], owner: Owner, mode: u32) -> io::Result<Prepared> {
    let (uid, gid) = owner.ids()?;
    let (place, name) = Place::parent(path)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let temporary = OsString::from(format!("{TEMPORARY}{:016x}", u64::from_ne_bytes(random)));
    let file = place.make(&temporary)?;
    // From here on it is removed with the value.
    let mut prepared = Prepared {
        place,
        temporary: Some(temporary),
        name,
        file,
        path: path.to_owned(),
    };
    prepared.file.write_all(bytes)?;
    let file = &prepared.file;
    file.set_permissions(Permissions::from_mode(mode))?;
    let there = file.metadata()?;
    if (there.uid(), there.gid()) != (uid.as_raw(), gid.as_raw()) {
        fchown(file, Some(uid.as_raw()), Some(gid.as_raw()))?;
    }
    file.set_modified(SystemTime::now() - BACK_DATED)?;
    Ok(prepared)
}

/// Removes temporary files that a process which was killed has left in a directory: they may hold secrets.
pub fn remove_temporary(directory: &Path) {
    let Ok(place) = Place::directory(directory) else {
        return;
    };
    let is_temporary = |name: &str| name.starts_with(TEMPORARY) && !KEPT.contains(&name);
    let entries = fs::read_dir(place.path()).into_iter().flatten().flatten();
    for name in entries.map(|entry| entry.file_name()) {
        if name.to_str().is_some_and(is_temporary) {
            let _ = place.remove(&name);
        }
    }
}

/// Makes a directory, and those above it, and gives it this owner and mode. What lies in it stays as it is.
pub fn directory(path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    at(path, make_directory(path, owner, mode))
}

fn make_directory(path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    let place = Place::made(path)?;
    // chown(2) clears set-id bits, so the mode comes second.
    place.give(owner.ids()?)?;
    place.permit(mode).map(drop)
}

/// Removes a file that may not be there. Where a link leads there, nothing of ours is.
pub fn remove(path: &Path) -> io::Result<()> {
    match Place::parent(path).and_then(|(place, name)| place.remove(&name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || Link::within(&error).is_some() => Ok(()),
        result => at(path, result),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn me() -> Owner {
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
        fs::write(directory.path().join(".mailroom-domain"), "").unwrap();
        remove_temporary(directory.path());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        std::os::unix::fs::symlink(&path, directory.path().join("link")).unwrap();
        let link = directory.path().join("link");
        assert!(
            prepare(&link, b"two", me(), 0o600).unwrap().is_some(),
            "a link is replaced"
        );
    }

    #[test]
    fn a_table_is_not_older_than_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let (source, table) = (directory.path().join("virtual"), directory.path().join("virtual.lmdb"));
        let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        not_older(&table, &source).unwrap();
        fs::write(&source, "a b\n").unwrap();
        not_older(&table, &source).unwrap();
        prepare(&table, b"x", me(), 0o644).unwrap().unwrap().put().unwrap();
        assert!(modified(&table) < modified(&source), "it is dated back");
        not_older(&table, &source).unwrap();
        assert_eq!(modified(&table), modified(&source));
        let later = SystemTime::now() + BACK_DATED;
        File::open(&table).unwrap().set_modified(later).unwrap();
        not_older(&table, &source).unwrap();
        assert_eq!(modified(&table), later, "a younger one stays as it is");
    }

    #[test]
    fn an_error_names_the_path() {
        let error = prepare(Path::new("/nonexistent/file"), b"", me(), 0o600).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/file: "), "{error}");
    }
}
