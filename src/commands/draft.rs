//! What `check` and `render` share: everything decided, nothing done.

use super::run::{EXIT_CONFIG, EXIT_USAGE};
use crate::draft::Draft;
use crate::read::read;
use crate::settings::{Environment, Report, Settings};
use crate::system::processes::Processes;
use crate::system::signals;

/// Decides everything for this environment and hands it to `work`. Tells what is wrong; returns the exit code.
pub(super) fn run(
    environment: &Environment,
    work: impl AsyncFnOnce(&Settings, &Draft, &Processes) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    signals::release()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let outcome: anyhow::Result<()> = tokio::task::LocalSet::new().block_on(&runtime, async {
        let processes = Processes::start()?;
        let read = read(environment, &processes).await?;
        let draft = Draft::new(&read.settings, &read.facts, read.files, &crate::dovecot::kept_hashes())?;
        work(&read.settings, &draft, &processes).await
    });
    Ok(match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("mailroom: {error:#}");
            if error.is::<Report>() { EXIT_USAGE } else { EXIT_CONFIG }
        }
    })
}
