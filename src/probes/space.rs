//! Whether a file system can be written, and has room. Reads its figures alone (statvfs(3)): a limit of a directory's own is not seen.

use std::io;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::SERVED;

/// With less than that left, somebody should look.
const LITTLE: u64 = 100 << 20;

/// An error where there are not that many bytes.
pub(super) fn is_left(path: &Path, least: u64) -> io::Result<()> {
    let found = statvfs(path)?;
    let left = found.blocks_available().saturating_mul(found.fragment_size());
    let has_inodes = found.files() == 0 || found.files_available() > 0;
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Err(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            "cannot be written: its file system is read-only",
        ));
    }
    judge(left, least, has_inodes)
}

fn full(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, text)
}

fn judge(left: u64, least: u64, has_inodes: bool) -> io::Result<()> {
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    if !has_inodes {
        return Err(full("is full: no inode is left, so no file can be made".to_owned()));
    }
    if left < least {
        let (left, least) = (left >> 20, mebibytes(least));
        return Err(io::Error::other(format!(
            "is full: {left} MiB are left, and {least} are needed"
        )));
    }
    if left < LITTLE.max(least.saturating_mul(2)) {
        let text = format!("is nearly full: {} MiB are left", left >> 20);
        return Err(io::Error::new(SERVED, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_no_trouble_yet() {
        assert!(judge(1 << 30, 1 << 20, true).is_ok());
        let little = judge(50 << 20, 1 << 20, true).unwrap_err();
        assert_eq!(
            (little.kind(), &*little.to_string()),
            (SERVED, "is nearly full: 50 MiB are left")
        );
        let full = judge(50 << 20, 75 << 20, true).unwrap_err();
        assert_eq!(full.to_string(), "is full: 50 MiB are left, and 75 are needed");
        assert_ne!(full.kind(), SERVED);
        assert!(judge(1 << 30, 0, false).is_err());
        assert!(is_left(Path::new("/nonexistent"), 0).is_err());
    }
}
