//! The road from the environment to files in place and services to run, one step after the other:
//!
//! 1. [`read`]: what is set, what the installed programs know, what this machine is. Reads only.
//! 2. [`desired`]: everything that shall be, as values. Pure.
//! 3. [`stage`]: the files in a scratch directory, tables built, checked by the daemons' own programs.
//! 4. [`commit`]: what differs is swapped into place.
//!
//! Each step gets the value of the one before and hands its own on; none reads again what an earlier one has read. `check`
//! and `render` end after the third, a start and a reload go all the way.

pub mod commit;
pub mod desired;
mod judge;
pub mod notices;
mod obstacles;
pub mod read;
pub mod stage;
pub mod volumes;

use std::path::Path;

use anyhow::Context;
use tokio::task::spawn_blocking;

pub use self::commit::{Fingerprints, Provisioned};
pub use self::desired::{Desired, desired};
pub use self::judge::read;
pub use self::read::Read;
pub use self::stage::stage;
use crate::layout::RUN_DIRECTORY;
use crate::system::files::{self, Owner};
use crate::system::processes::Processes;

/// The last two steps, for a start and for a reload. On an error no file was changed.
///
/// The key of a new certificate is a matter of luck, 40 to 400 ms, as long as all the rest: it is made while the files are
/// checked.
pub async fn provision(desired: Desired, processes: &Processes) -> anyhow::Result<Provisioned> {
    let (found, names) = (desired.certificate.clone(), desired.site.certificate_names());
    let certificate = spawn_blocking(move || found.keep(&names));
    files::directory(Path::new(RUN_DIRECTORY), Owner::ROOT, 0o755)?;
    let staged = stage(&desired, Path::new(RUN_DIRECTORY), processes).await?;
    staged.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let kept = certificate.await.context("the certificate's thread failed")??;
    commit::commit(desired, staged, kept, processes).await
}

/// The last step for other accounts alone, where what is configured is as it was: no checker reads what follows from them.
pub async fn provision_accounts(desired: Desired, processes: &Processes) -> anyhow::Result<()> {
    obstacles::look(&desired.plan.directories)?;
    commit::commit_accounts(desired, processes).await
}
