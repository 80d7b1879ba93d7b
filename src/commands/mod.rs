//! One file per subcommand.

pub mod account;
pub mod auth_worker;
pub mod check;
mod decide;
mod directory;
pub mod healthcheck;
pub mod help_env;
mod import;
mod live;
pub mod logs;
pub mod names;
pub mod output;
mod processes;
pub mod queue;
pub mod quota_warning;
pub mod reload;
mod rename;
pub mod render;
pub mod run;
pub mod status;
mod story;
mod table;

use crate::certificates;
use crate::report::{Report, Unusable};

/// EX_USAGE (sysexits.h): the environment is wrong.
const EXIT_USAGE: u8 = 64;
/// EX_CONFIG (sysexits.h): what was found on disk, or what the daemons' own programs say of the configuration.
const EXIT_CONFIG: u8 = 78;

/// Mistakes of the user's are a report, and an exit code that says whether a variable is among them; what this machine cannot
/// do is a sentence.
fn refuse(error: anyhow::Error) -> anyhow::Result<u8> {
    if let Some(unusable) = error.downcast_ref::<Unusable>() {
        output::complain(unusable);
        return Ok(EXIT_CONFIG);
    }
    let report = error.downcast::<Report>()?;
    output::complain(report.text("nothing was started and nothing changed"));
    let is_on_disk = report.0.iter().all(certificates::is_about);
    Ok(if is_on_disk { EXIT_CONFIG } else { EXIT_USAGE })
}
