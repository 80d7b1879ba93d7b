//! One file per subcommand.

pub mod check;
mod decide;
pub mod healthcheck;
pub mod help_env;
pub mod reload;
pub mod render;
pub mod run;

use crate::report::Report;

/// EX_USAGE (sysexits.h): the environment is wrong.
const EXIT_USAGE: u8 = 64;
/// EX_CONFIG (sysexits.h): what was found on disk, or what the daemons' own programs say of the configuration.
const EXIT_CONFIG: u8 = 78;

/// Mistakes of the user's are a report and an exit code of their own.
fn refuse(error: anyhow::Error) -> anyhow::Result<u8> {
    let report = error.downcast::<Report>()?;
    eprintln!("mailroom: {report}");
    Ok(EXIT_USAGE)
}
