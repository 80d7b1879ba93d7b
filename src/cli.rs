//! The command line.

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::settings::Environment;

/// Environment variables in, a running mail server out.
#[derive(Debug, Parser)]
#[command(name = "mailroom", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Start the mail server and keep it running (the default)
    Run,
    /// Say in one line whether clients are served; exit code 0 or 1
    Healthcheck,
    /// Describe every environment variable
    HelpEnv {
        /// As the README's table
        #[arg(long)]
        markdown: bool,
    },
}

/// Does what the command line says. Called `/healthcheck` or `/healthcheck.sh`, it is the health check.
pub fn main(arguments: Vec<String>, environment: &Environment) -> ExitCode {
    let called = arguments.first().map(Path::new).and_then(Path::file_stem);
    if called.is_some_and(|name| name == "healthcheck") {
        return commands::healthcheck::run().into();
    }
    match Arguments::parse_from(arguments).command.unwrap_or(Subcommands::Run) {
        Subcommands::Run => match commands::run::run(environment) {
            Ok(code) => code.into(),
            Err(error) => {
                eprintln!("mailroom: {error:#}");
                ExitCode::FAILURE
            }
        },
        Subcommands::Healthcheck => commands::healthcheck::run().into(),
        Subcommands::HelpEnv { markdown } => {
            print!("{}", commands::help_env::text(markdown));
            ExitCode::SUCCESS
        }
    }
}
