//! What `mailroom account`, `alias` and `domain` share: a change is made by the running server, or, where none runs, in the files
//! that the next one reads.

use std::collections::BTreeSet;
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
use crate::provision;
use crate::settings::Environment;
use crate::site::Site;
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

/// For a container that is not there to serve: `docker run --rm -v … mailroom account add …`.
fn offline(change: Change, environment: &Environment) -> anyhow::Result<u8> {
    let _lock = match locked() {
        Ok(lock) => lock,
        Err(why) => {
            complain(why);
            return Ok(EXIT_CONFIG);
        }
    };
    let kept = Kept::read()?;
    let site = match site(environment, kept.clone()) {
        Ok(site) => site,
        Err(error) => return refuse(error),
    };
    let mut known = kept.known();
    match change.apply(&mut known, &site) {
        Ok(said) => {
            write(&kept.with(known).files())?;
            print(format_args!(
                "{said}; no server is running here, the next one acts on it"
            ));
            Ok(0)
        }
        Err(why) => {
            complain(why);
            Ok(EXIT_USAGE)
        }
    }
}

/// A server that has begun to start, or one in another container, holds this lock.
fn locked() -> Result<Option<Held>, String> {
    match lock::attempt(Path::new(STATE_DIRECTORY), &BTreeSet::new()) {
        Ok(Attempt::Held(held)) => Ok(Some(held)),
        Ok(Attempt::Ours | Attempt::NoLocks) => Ok(None),
        Ok(Attempt::InUse(holder)) => Err(format!(
            "{STATE_DIRECTORY} is in use by {}: run this command there, with docker exec",
            holder.as_deref().unwrap_or("another container")
        )),
        Err(error) => Err(format!("{STATE_DIRECTORY}: {error}; are you root?")),
    }
}

/// The settings, as a start would read them.
pub(super) fn read(environment: &Environment, kept: Kept) -> anyhow::Result<provision::Read> {
    processes::with(async |processes| provision::read(DAEMONS, environment, processes, kept).await)
}

/// Those of the site.
pub(super) fn site(environment: &Environment, kept: Kept) -> anyhow::Result<Site> {
    Ok(read(environment, kept)?.site)
}

fn write(changed: &[File]) -> anyhow::Result<()> {
    for file in changed {
        if let Some(prepared) = files::prepare(&file.path, &file.bytes, file.owner, file.mode)? {
            files::sync_directory(&prepared.put()?)?;
        }
    }
    Ok(())
}
