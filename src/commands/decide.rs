//! What `check` and `render` share: everything decided and checked, nothing done.

use super::output::complain;
use super::{EXIT_CONFIG, processes, refuse};
use crate::accounts::known::Kept;
use crate::daemons::DAEMONS;
use crate::provision::stage::Staged;
use crate::provision::{Desired, desired, read, stage};
use crate::settings::Environment;

/// Decides everything for this environment, has it checked and hands it to `work`. Says what is wrong; returns the exit
/// code.
pub(super) fn run(
    environment: &Environment,
    work: impl FnOnce(Desired, Staged) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let outcome = processes::with(async |processes| {
        let read = read(DAEMONS, environment, processes, Kept::read()?).await?;
        let desired = desired(&read)?;
        let staged = stage(&desired, &std::env::temp_dir(), processes).await?;
        work(desired, staged)
    });
    let Err(error) = outcome else { return Ok(0) };
    refuse(error).or_else(|error| {
        complain(format_args!("{error:#}"));
        Ok(EXIT_CONFIG)
    })
}
