//! One file per subcommand.

pub mod healthcheck;
pub mod help_env;
pub mod run;
