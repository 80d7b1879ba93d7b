//! Dovecot's passwd-files, which follow the accounts.
//!
//! Each auth process looks at a passwd-file once in a second of the clock, and reads it again when its time, in whole seconds, or
//! its size differ (`passwd_file_sync` of 2.4.1): a file that is swapped in gets a later time than the one before it, and acts
//! from the next second on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{unknown_file, users};
use crate::daemon::{AccountFiles, Basis, Work};
use crate::layout::USERS_FILE;
use crate::plan::File;
use crate::system::files::{self, Owner, Prepared};
use crate::system::processes::Processes;

const DOVECOT_GROUP: Owner = Owner {
    user: "root",
    group: "dovecot",
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct PasswdFiles(Vec<File>);

impl PasswdFiles {
    pub(super) fn of(basis: &Basis) -> PasswdFiles {
        let accounts = &basis.directory.accounts;
        let users = users::users(&basis.site.domain, basis.trust, accounts);
        let files = [
            (PathBuf::from(USERS_FILE), users),
            (unknown_file(), users::unknown(accounts)),
        ];
        let files = files.map(|(path, text)| File {
            path,
            bytes: text.into_bytes(),
            owner: DOVECOT_GROUP,
            mode: 0o640,
        });
        PasswdFiles(files.into())
    }
}

impl AccountFiles for PasswdFiles {
    fn files(&self) -> &[File] {
        &self.0
    }

    fn put<'a>(&'a self, _: &'a Processes) -> Work<'a, SystemTime> {
        Box::pin(async move {
            let prepared = self
                .0
                .iter()
                .map(|file| files::prepare(&file.path, &file.bytes, file.owner, file.mode));
            let prepared = prepared
                .filter_map(Result::transpose)
                .collect::<std::io::Result<Vec<Prepared>>>()?;
            let now = SystemTime::now();
            if prepared.is_empty() {
                return Ok(now);
            }
            for file in prepared {
                file.date(later(file.path()))?;
                file.put()?;
            }
            Ok(next_second(SystemTime::now()))
        })
    }
}

/// A time for the file in place of this one.
fn later(path: &Path) -> SystemTime {
    let before = fs::metadata(path).and_then(|there| there.modified());
    let now = SystemTime::now();
    before.map_or(now, |before| (before + SECOND).max(now))
}

fn next_second(now: SystemTime) -> SystemTime {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_a_second_younger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "a").unwrap();
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(later(&path).duration_since(first).unwrap() >= SECOND);
        let ahead = first + 60 * SECOND;
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(ahead)
            .unwrap();
        assert_eq!(later(&path), ahead + SECOND, "the clock may have been set back");
        let moment = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(next_second(moment), UNIX_EPOCH + 2 * SECOND);
    }
}
