//! Directories as descriptors, so that no link leads root astray.
//!
//! A path is walked component by component with O_NOFOLLOW. A link on the way is followed only where root alone could have
//! made it: link and directory are root's, no other account may write there, and the directory is on no volume. What is
//! done in a directory then begins at its descriptor; whether others meanwhile move the directory does not matter.
//!
//! Hard links are the kernel's subject (fs.protected_hardlinks, proc_sys_fs(5)).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, readlinkat, renameat, renameat2,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};

use super::proc;

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// Only a place in the tree: nothing is read, and a device or a FIFO does nothing.
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A link that is not followed.
#[derive(Debug)]
pub struct Link {
    path: PathBuf,
    target: PathBuf,
    /// Whether a directory is there; nothing where nothing is there.
    is_directory: Option<bool>,
}

impl Link {
    /// Whether this is why something failed.
    pub fn within(error: &io::Error) -> Option<&Link> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether a program that follows it finds a directory.
    pub fn leads_to_a_directory(&self) -> bool {
        self.is_directory == Some(true)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, target) = (self.path.display(), self.target.display());
        let but = match self.is_directory {
            None => ", which is not there",
            Some(false) => ", which is no directory",
            Some(true) => "",
        };
        write!(
            f,
            "{path} is a link to {target}{but}: links on a volume are not followed; put the directory itself there"
        )
    }
}

impl std::error::Error for Link {}

/// Something else where a directory belongs.
#[derive(Debug)]
pub struct NoDirectory {
    /// Where.
    pub path: PathBuf,
}

impl NoDirectory {
    /// Whether this is why something failed.
    pub fn within(error: &io::Error) -> Option<&NoDirectory> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for NoDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a file where a directory belongs", self.path.display())
    }
}

impl std::error::Error for NoDirectory {}

/// What a path led to: a directory, or anything that lies in one.
#[derive(Debug)]
pub struct Place(OwnedFd);

impl Place {
    /// A directory that is there.
    pub fn directory(path: &Path) -> io::Result<Place> {
        walk(path, false).map(Place)
    }

    /// A directory, which is made where it is not there, and so are those above it.
    pub fn made(path: &Path) -> io::Result<Place> {
        walk(path, true).map(Place)
    }

    /// The directory in which something lies, and its name there.
    pub fn parent(path: &Path) -> io::Result<(Place, OsString)> {
        let (directory, name) = (path.parent(), path.file_name());
        let (Some(directory), Some(name)) = (directory, name) else {
            return Err(io::Error::other("has no directory"));
        };
        Ok((Place::directory(directory)?, name.to_owned()))
    }

    /// A path that leads here and nowhere else, for what takes paths (proc_pid_fd(5)).
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// What it is.
    pub fn status(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.0)?)
    }

    /// What lies there by that name; a link is itself.
    pub fn status_of(&self, name: &OsStr) -> io::Result<FileStat> {
        Ok(fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// What lies there by that name, unless something is mounted there (EXDEV).
    pub fn entry(&self, name: &OsStr) -> io::Result<Place> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        match openat2(&self.0, name, OpenHow::new().flags(PLACE).resolve(resolve)) {
            // Linux before 5.6, and some filters of system calls; RESOLVE_NO_SYMLINKS refuses the link itself.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::ELOOP) => {}
            opened => return Ok(Place(opened?)),
        }
        Ok(Place(openat(&self.0, name, PLACE, Mode::empty())?))
    }

    /// Opens a plain file there to read it.
    pub fn open(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        plain(openat(&self.0, name, flags, Mode::empty())?)
    }

    /// Opens a plain file there to read and write it, which is made where it is not there.
    pub fn open_or_make(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        plain(openat(&self.0, name, flags, Mode::from_bits_truncate(mode))?)
    }

    /// Makes a file there, which nothing of that name may be.
    pub fn make(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
    }

    /// Gives a file there another name there, over what has it.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Gives a directory there another name there, which nothing of that name may be. A link is itself.
    pub fn rename_directory(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match renameat2(&self.0, from, &self.0, to, RenameFlags::RENAME_NOREPLACE) {
            // Some file systems, and some filters of system calls, know no such flag. Then no more than an empty directory is
            // replaced (rename(2)).
            Err(Errno::EINVAL | Errno::ENOSYS) => self.rename(from, to),
            renamed => Ok(renamed?),
        }
    }

    /// Removes an empty directory there.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Removes a file or a link there.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Gives it to somebody, a link itself too. Returns whether it was somebody else's.
    pub fn give(&self, (uid, gid): (Uid, Gid)) -> io::Result<bool> {
        let there = self.status()?;
        let differs = (there.st_uid, there.st_gid) != (uid.as_raw(), gid.as_raw());
        if differs {
            fchownat(&self.0, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        }
        Ok(differs)
    }

    /// Gives it these permission bits; it is no link. Returns whether it had others.
    pub fn permit(&self, mode: u32) -> io::Result<bool> {
        let differs = self.status()?.st_mode & 0o7777 != mode;
        if differs {
            fs::set_permissions(self.path(), Permissions::from_mode(mode))?;
        }
        Ok(differs)
    }
}

/// Whether it is of this kind.
pub fn is(there: &FileStat, kind: SFlag) -> bool {
    there.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// The text of a plain file, not more than 64 KiB of it. A link in its place is not read, and a FIFO is not waited for.
pub fn read_text(path: &Path) -> io::Result<String> {
    let (place, name) = Place::parent(path)?;
    let mut text = Vec::new();
    place.open(&name)?.take(65_536).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn plain(opened: OwnedFd) -> io::Result<File> {
    if is(&fstat(&opened)?, SFlag::S_IFREG) {
        Ok(opened.into())
    } else {
        Err(io::Error::other("is no plain file"))
    }
}

fn walk(path: &Path, make: bool) -> io::Result<OwnedFd> {
    let root = || openat(AT_FDCWD, "/", PLACE, Mode::empty());
    let (mut here, mut resolved) = (root()?, PathBuf::from("/"));
    let mut rest = backwards(&std::path::absolute(path)?);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let next = match openat(&here, &*name, PLACE, Mode::empty()) {
            Err(Errno::ENOENT) if make => {
                let mode = if rest.is_empty() { 0o700 } else { 0o755 };
                match mkdirat(&here, &*name, Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(Errno::EEXIST) => openat(&here, &*name, PLACE, Mode::empty())?,
                    Err(error) => return Err(error.into()),
                }
            }
            next => next?,
        };
        let there = fstat(&next)?;
        if name == ".." {
            resolved.pop();
            here = next;
        } else if is(&there, SFlag::S_IFDIR) {
            resolved.push(name);
            here = next;
        } else if is(&there, SFlag::S_IFLNK) {
            let target = PathBuf::from(readlinkat(&next, "")?);
            links += 1;
            if links > MOST_LINKS || !is_roots(&fstat(&here)?, &there) || is_on_volume(&resolved) {
                return Err(refused(&here, resolved.join(name), target));
            }
            if target.is_absolute() {
                (here, resolved) = (root()?, "/".into());
            }
            rest.extend(backwards(&target));
        } else {
            let path = resolved.join(name);
            return Err(io::Error::other(NoDirectory { path }));
        }
    }
    Ok(here)
}

/// The names in a path, the last first.
fn backwards(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

/// Whether root alone (or the account that runs this) could have made a link in that directory.
fn is_roots(directory: &FileStat, link: &FileStat) -> bool {
    let is_ours = |uid: u32| uid == 0 || uid == Uid::effective().as_raw();
    is_ours(directory.st_uid) && is_ours(link.st_uid) && directory.st_mode & 0o022 == 0
}

fn is_on_volume(directory: &Path) -> bool {
    let mounted = proc::mount_points();
    let above = directory.ancestors().filter(|path| *path != Path::new("/"));
    above.into_iter().any(|path| mounted.contains(path))
}

fn refused(directory: &impl AsFd, path: PathBuf, target: PathBuf) -> io::Error {
    let name = path.file_name().unwrap_or_default();
    io::Error::other(Link {
        is_directory: fstatat(directory, name, AtFlags::empty())
            .ok()
            .map(|there| is(&there, SFlag::S_IFDIR)),
        path,
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    /// A directory in which others may write, as vmail may in /var/mail.
    fn shared() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        directory
    }

    #[test]
    fn links_that_others_could_have_made_are_not_followed() {
        let (directory, elsewhere) = (shared(), tempfile::tempdir().unwrap());
        let link = directory.path().join("user");
        symlink(elsewhere.path(), &link).unwrap();
        let error = Place::made(&link.join("Maildir/cur")).unwrap_err();
        let said = Link::within(&error).unwrap().to_string();
        let (from, to) = (link.display(), elsewhere.path().display());
        assert!(said.starts_with(&format!("{from} is a link to {to}: ")), "{said}");
        assert!(Link::within(&error).unwrap().leads_to_a_directory());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert!(Link::within(&Place::directory(&link).unwrap_err()).is_some());
        assert!(read_text(&link.join("x")).is_err());
        fs::remove_file(&link).unwrap();
        symlink("nowhere", &link).unwrap();
        let error = Place::made(&link).unwrap_err().to_string();
        assert!(error.contains("is a link to nowhere, which is not there: "), "{error}");
        fs::remove_file(&link).unwrap();
        symlink("/etc/hosts", &link).unwrap();
        let error = Place::made(&link).unwrap_err();
        let refused = Link::within(&error).unwrap();
        assert!(!refused.leads_to_a_directory() && refused.to_string().contains("/etc/hosts, which is no directory: "));
    }

    #[test]
    fn a_file_is_no_directory() {
        let directory = shared();
        let path = directory.path().join("user");
        fs::write(&path, "From x\n").unwrap();
        let error = Place::made(&path.join("Maildir")).unwrap_err();
        assert_eq!(NoDirectory::within(&error).unwrap().path, path);
        assert_eq!(read_text(&path).unwrap(), "From x\n");
        nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(read_text(&directory.path().join("fifo")).is_err(), "it does not wait");
    }

    #[test]
    fn a_directory_is_renamed_over_nothing() {
        let directory = shared();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        fs::create_dir_all(one.join("below")).unwrap();
        fs::create_dir(&two).unwrap();
        let (place, from, to) = (
            Place::directory(directory.path()).unwrap(),
            OsStr::new("one"),
            OsStr::new("two"),
        );
        assert_eq!(
            place.rename_directory(from, to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert!(place.remove_directory(from).is_err(), "it is not empty");
        place.remove_directory(to).unwrap();
        place.rename_directory(from, to).unwrap();
        assert!(two.join("below").is_dir() && !one.exists());
    }

    #[test]
    fn only_roots_own_links_are_trusted() {
        let (directory, link) = (tempfile::tempdir().unwrap(), PathBuf::from("link"));
        symlink("/", directory.path().join(&link)).unwrap();
        let place = Place::directory(directory.path()).unwrap();
        let mut there = place.status_of(link.as_os_str()).unwrap();
        let of_directory = place.status().unwrap();
        assert!(is_roots(&of_directory, &there));
        there.st_uid = 5000;
        assert!(!is_roots(&of_directory, &there));
        assert_eq!(backwards(Path::new("../a/./b")), ["b", "a", ".."]);
    }

    #[test]
    fn directories_are_made_and_mended() {
        let directory = shared();
        let path = directory.path().join("a/b");
        let place = Place::made(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(place.permit(0o750).unwrap());
        assert!(!place.permit(0o750).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o750);
        assert!(!place.give((Uid::current(), Gid::current())).unwrap());
        symlink("/nonexistent", path.join("link")).unwrap();
        let entry = place.entry(OsStr::new("link")).unwrap();
        assert!(is(&entry.status().unwrap(), SFlag::S_IFLNK));
    }
}
