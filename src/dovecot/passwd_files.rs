//! Dovecot's passwd-files, which follow the accounts.
//!
//! Each auth process looks at a passwd-file once in a second of the clock, and reads it again when its time, in whole seconds, or
//! its size differ (`passwd_file_sync` of 2.4.1): a file that is swapped in gets a later time than the one before it, and acts
//! from the next second on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{unknown_file, users};
use crate::daemon::{AccountFiles, Basis, Work};
use crate::layout::USERS_FILE;
use crate::plan::{File, Tree};
use crate::staging::LIMIT;
use crate::system::files::{self, Owner, Prepared};
use crate::system::lines;
use crate::system::owners::Without;
use crate::system::processes::Processes;
use crate::system::programs::{PATH, Program};

const DOVECOT_GROUP: Owner = Owner {
    user: "root",
    group: "dovecot",
};

/// A new folder gets the mode of its mailbox; one with another mode cannot be renamed.
const PRIVATE: Without = Without {
    directories: 0o077,
    files: 0,
};

const SECOND: Duration = Duration::from_secs(1);
/// Event loops look at the clock a moment before they use what it said.
const MARGIN: Duration = Duration::from_millis(20);

const DOVEADM: Program = Program {
    name: "doveadm",
    package: "dovecot-core",
    directories: PATH,
};

/// The passwd-files.
#[derive(Debug)]
pub(super) struct PasswdFiles {
    files: Vec<File>,
    has_mailboxes: bool,
}

impl PasswdFiles {
    pub(super) fn of(basis: &Basis) -> PasswdFiles {
        let accounts = &basis.directory.accounts;
        let users = users::users(basis.site, basis.trust, accounts);
        let files = [
            (PathBuf::from(USERS_FILE), users),
            (
                unknown_file(),
                users::unknown(accounts, basis.directory.external.is_some()),
            ),
        ];
        let files = files.map(|(path, text)| File {
            path,
            bytes: text.into_bytes(),
            owner: DOVECOT_GROUP,
            mode: 0o640,
        });
        PasswdFiles {
            files: files.into(),
            has_mailboxes: basis.site.mailboxes,
        }
    }
}

impl AccountFiles for PasswdFiles {
    fn files(&self) -> &[File] {
        &self.files
    }

    fn trees(&self) -> Vec<Tree> {
        let users = str::from_utf8(&self.files[0].bytes).unwrap_or_default();
        let tree = |home: &str| Tree {
            path: home.into(),
            owner: Owner::VMAIL,
            without: PRIVATE,
            beside: true,
        };
        let homes = homes(users).filter(|_| self.has_mailboxes);
        homes.map(tree).collect()
    }

    fn put<'a>(&'a self, processes: &'a Processes) -> Work<'a, ()> {
        Box::pin(async move {
            let there = fs::File::open(USERS_FILE).ok();
            let prepared = self
                .files
                .iter()
                .map(|file| files::prepare(&file.path, &file.bytes, file.owner, file.mode));
            let prepared = prepared
                .filter_map(Result::transpose)
                .collect::<io::Result<Vec<Prepared>>>()?;
            if prepared.is_empty() {
                return Ok(());
            }
            for file in prepared {
                file.date(later(file.path()))?;
                file.put()?;
            }
            let Some(there) = there else {
                return Ok(());
            };
            tokio::time::sleep(until_next_second(SystemTime::now())).await;
            let (there, now) = lines::that_differ(&there, str::from_utf8(&self.files[0].bytes)?)?;
            end_sessions(&without_login(&there, now), processes).await
        })
    }
}

/// Accounts that are gone or have another password.
fn without_login<'a>(old: &'a str, new: &str) -> BTreeSet<&'a str> {
    let new: BTreeMap<&str, &str> = logins(new).collect();
    let is_same = |(user, hash): &(&str, &str)| new.get(user) == Some(hash);
    logins(old)
        .filter(|login| !is_same(login))
        .map(|(user, _)| user)
        .collect()
}

/// Users and hashes of a passwd-file.
fn logins(text: &str) -> impl Iterator<Item = (&str, &str)> {
    entries(text).filter_map(|line| {
        let (user, rest) = line.split_once(':')?;
        Some((user, rest.split(':').next().unwrap_or_default()))
    })
}

/// The home directories in it.
fn homes(text: &str) -> impl Iterator<Item = &str> {
    entries(text).filter_map(|line| line.split(':').nth(HOME))
}

/// Which field it is, from 0.
const HOME: usize = 5;

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// Who was thrown out, or whose password was stolen, is not served by a session that has long begun.
async fn end_sessions(users: &BTreeSet<&str>, processes: &Processes) -> anyhow::Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let mut who = DOVEADM.command()?;
    let sessions = processes.output(who.args(["-f", "tab", "who"]), LIMIT).await?.stdout;
    let connected = sessions.lines().filter_map(|line| line.split('\t').next());
    for user in connected.filter(|user| users.contains(&*users::key(user))) {
        let mut kick = DOVEADM.command()?;
        processes.output(kick.args(["kick", user]), LIMIT).await?;
    }
    Ok(())
}

/// A time for the file in place of this one.
fn later(path: &Path) -> SystemTime {
    let before = fs::metadata(path).and_then(|there| there.modified());
    let now = SystemTime::now();
    before.map_or(now, |before| (before + SECOND).max(now))
}

fn until_next_second(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.saturating_sub(Duration::from_nanos(since.subsec_nanos().into())) + MARGIN
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
        let moment = UNIX_EPOCH + Duration::from_millis(1_400);
        assert_eq!(until_next_second(moment), Duration::from_millis(600) + MARGIN);
    }

    #[test]
    fn homes_are_read() {
        let users = "# x\na@b.test:{A}1:5000:5000::/var/mail/a::\nc@d.test:{A}1:5000:5000::/var/mail/d.test/c::quota\n";
        assert!(homes(users).eq(["/var/mail/a", "/var/mail/d.test/c"]));
    }

    #[test]
    fn who_has_no_login_any_more() {
        let old = "# x\na@b.test:{A}1:5000:\nb@b.test:{A}2:5000:\nc@b.test:{A}3:5000:\n";
        let new = "# y\na@b.test:{A}1:5000::x\nb@b.test:{A}4:5000:\nd@b.test:{A}3:5000:\n";
        assert_eq!(without_login(old, new), BTreeSet::from(["b@b.test", "c@b.test"]));
    }
}
