//! What `mailroom account`, `alias` and `domain` share: a change is made by the running server, or, where none runs, in the files
//! that the next one reads.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::output::{complain, print};
use super::{EXIT_CONFIG, EXIT_USAGE, processes, refuse};
use crate::accounts::change::Change;
use crate::accounts::known::Kept;
use crate::control::{Answer, Request, client};
use crate::daemons::DAEMONS;
use crate::health;
use crate::layout::STATE_DIRECTORY;
use crate::plan::File;
use crate::provision::{self, Read};
use crate::settings::Environment;
use crate::system::files;
use crate::system::lock::{self, Attempt, Held};

/// Has a change made and says what it was; returns the exit code. When it is 0, logins and mail follow the change.
pub(super) fn make(change: Change, environment: &Environment) -> anyhow::Result<u8> {
    if let Some(waiting) = health::waiting() {
        complain(format_args!("this server is in standby: {waiting}"));
        return Ok(1);
    }
    if !client::is_answered() {
        return offline(change, environment);
    }
    Ok(match client::ask(&Request::Change(change)) {
        Ok(Answer::Done(said)) => {
            print(said);
            0
        }
        Ok(Answer::Wrong(why)) => {
            complain(why);
            EXIT_USAGE
        }
        Ok(Answer::Refused(why)) => {
            complain(format_args!("nothing has changed: {why}"));
            1
        }
        Err(error) => {
            complain(error);
            1
        }
    })
}

/// Whether the change could be made now; the inner error says why not. Where the settings are wrong, whoever makes it says so.
pub(super) fn rehearse(change: Change, environment: &Environment) -> anyhow::Result<Result<(), String>> {
    let kept = Kept::read()?;
    let mut known = kept.known();
    let Ok(read) = read(environment, kept) else {
        return Ok(Ok(()));
    };
    known.declare(&read.known.declared);
    Ok(change.apply(&mut known, &read.site).map(drop))
}

/// For a container that is not there to serve: `docker run --rm -v … mailroom account add …`.
fn offline(change: Change, environment: &Environment) -> anyhow::Result<u8> {
    let _locks = match locked(&[STATE_DIRECTORY], "run this command there, with docker exec") {
        Ok(locks) => locks,
        Err(why) => {
            complain(why);
            return Ok(EXIT_CONFIG);
        }
    };
    let kept = Kept::read()?;
    let read = match read(environment, kept.clone()) {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    let mut known = kept.known();
    known.declare(&read.known.declared);
    let said = match change.apply(&mut known, &read.site) {
        Ok(said) => said,
        Err(why) => {
            complain(why);
            return Ok(EXIT_USAGE);
        }
    };
    // As PID 1 does: what no server could start with is refused.
    if let Err(error) = self::read(environment, kept.clone().with(known.clone())) {
        return refuse(error);
    }
    write(&kept.files(&known))?;
    print(format_args!(
        "{said}; no server is running here, the next one acts on it"
    ));
    Ok(0)
}

/// A server that has begun to start, or one in another container, holds the locks of its volumes. `advice` says what to do then.
pub(super) fn locked(volumes: &[&str], advice: &str) -> Result<Vec<Held>, String> {
    let (mut locks, mut files) = (Vec::new(), BTreeSet::new());
    for volume in volumes {
        let wrong = |error: io::Error| format!("{volume}: {error}; are you root?");
        match lock::attempt(Path::new(volume), &files).map_err(wrong)? {
            Attempt::Held(held) => {
                files.insert(held.identity().map_err(wrong)?);
                locks.push(held);
            }
            Attempt::Ours | Attempt::NoLocks => {}
            Attempt::InUse(holder) => {
                let holder = holder.as_deref().unwrap_or("another container");
                return Err(format!("{volume} is in use by {holder}: {advice}"));
            }
        }
    }
    Ok(locks)
}

/// Everything that a start would read.
pub(super) fn read(environment: &Environment, kept: Kept) -> anyhow::Result<Read> {
    processes::with(async |processes| provision::read(DAEMONS, environment, processes, kept).await)
}

/// Puts files in place, in their order, and removes what a command that was killed has left beside them.
pub(super) fn write(changed: &[File]) -> anyhow::Result<()> {
    let directories: BTreeSet<&Path> = changed.iter().filter_map(|file| file.path.parent()).collect();
    directories.into_iter().for_each(files::remove_temporary);
    for file in changed {
        if let Some(prepared) = files::prepare(&file.path, &file.bytes, file.owner, file.mode)? {
            files::sync_directory(&prepared.put()?)?;
        }
    }
    Ok(())
}
