//! All mistakes in one report. Where something is wrong, what is right is judged all the same: the wrong variables have their
//! defaults, and everything is decided, staged and shown to the daemons' own checkers. Objections that follow from a wrong
//! variable are left out; that variable's line says what was not judged.

use std::path::Path;

use super::desired::desired;
use super::read::{self, Read};
use super::stage::stage;
use crate::accounts::known::Kept;
use crate::daemon::Daemon;
use crate::layout::RUN_DIRECTORY;
use crate::report::{self, Mistake, Report};
use crate::settings::Environment;
use crate::system::processes::Processes;

/// Reads everything; what is wrong comes back as one [`Report`], inside the error.
pub async fn read(
    daemons: &[&'static dyn Daemon],
    environment: &Environment,
    processes: &Processes,
    kept: Kept,
) -> anyhow::Result<Read> {
    let (read, mut mistakes) = read::read(daemons, environment, processes, kept).await?;
    if mistakes.is_empty() {
        return read.settle().await;
    }
    match objections(&read, processes).await {
        Ok(objections) => report::add(&mut mistakes, objections),
        Err(error) => {
            tracing::debug!("Not judged: {}", read.secrets.hide(&format!("{error:#}")));
            if let Some(last) = mistakes.last_mut() {
                last.reason
                    .push_str("; what the daemons' own programs say of all else is not known before this is right");
            }
        }
    }
    Err(Report::of(mistakes, &read.secrets).into())
}

/// What the daemons' own checkers have against the rest.
async fn objections(read: &Read, processes: &Processes) -> anyhow::Result<Vec<Mistake>> {
    let desired = desired(read)?;
    let scratch = std::env::temp_dir();
    let is_writable = nix::unistd::access(&scratch, nix::unistd::AccessFlags::W_OK).is_ok();
    let parent = if is_writable {
        &scratch
    } else {
        Path::new(RUN_DIRECTORY)
    };
    match stage(&desired, parent, processes).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) => error.downcast::<Report>().map(|Report(objections)| objections),
    }
}
