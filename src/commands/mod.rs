//! One file per subcommand.

pub mod check;
mod draft;
pub mod healthcheck;
pub mod help_env;
pub mod reload;
pub mod render;
pub mod run;
