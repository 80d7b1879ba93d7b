//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::commands;
use crate::commands::account::{self, Accounts};
use crate::commands::healthcheck;
use crate::commands::logs;
use crate::commands::names::{Aliases, Domains};
use crate::commands::output::{complain, print};
use crate::commands::queue::{self, Queues};
use crate::http;
use crate::policyd;
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
    /// Show how the server is: daemons, queue, certificate, last warnings
    Status {
        /// As one JSON object
        #[arg(long, conflicts_with = "watch")]
        json: bool,
        /// Show it anew every two seconds
        #[arg(long)]
        watch: bool,
    },
    /// Show, flush, hold, release and delete messages in the queue
    #[command(subcommand)]
    Queue(Queues),
    /// Show log lines, or the story of a message
    Logs(logs::Options),
    /// Say in one line whether clients are served; exit code 0 or 1
    Healthcheck(healthcheck::Options),
    /// Say what is wrong with the environment, without starting or changing anything; exit code 0, 64 or 78
    Check,
    /// Print the files that would be written, secrets hidden
    Render {
        /// Only this file, or those below this directory
        path: Option<PathBuf>,
        /// How they differ from what is there
        #[arg(long)]
        diff: bool,
    },
    /// Have the running server read everything anew and reload what has changed
    Reload,
    /// Add, change, remove and list accounts
    #[command(subcommand)]
    Account(Accounts),
    /// Add, remove and list aliases
    #[command(subcommand)]
    Alias(Aliases),
    /// Add, remove, rename and list domains
    #[command(subcommand)]
    Domain(Domains),
    /// Tell an account that its mailbox is that full: for Dovecot
    #[command(hide = true)]
    QuotaWarning {
        /// How full
        percent: u8,
        /// Its address
        account: String,
    },
    /// Check logins where a database answers: for Dovecot
    #[command(hide = true)]
    AuthWorker {
        /// Dovecot's name of its driver
        driver: String,
        /// The database's host
        host: String,
        /// Its port
        port: u16,
    },
    /// Limit logins and submissions: a part of the running server
    #[command(hide = true)]
    Policyd,
    /// Serve health, metrics and the status page: a part of the running server
    #[command(hide = true)]
    Httpd,
    /// Describe every environment variable
    HelpEnv {
        /// As the README's tables
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        /// As a JSON schema
        #[arg(long)]
        json: bool,
    },
}

/// Does what the command line says. Called `/healthcheck` or `/healthcheck.sh`, it is the health check.
pub fn main(mut arguments: Vec<String>, environment: &Environment) -> ExitCode {
    let called = arguments.first().map(Path::new).and_then(Path::file_stem);
    if called.is_some_and(|name| name == "healthcheck") {
        arguments.insert(1, "healthcheck".to_owned());
    }
    let parsed = Arguments::try_parse_from(&arguments).unwrap_or_else(|error| {
        let exit_code = error.exit_code();
        say_what_is_wrong(error, &arguments);
        std::process::exit(exit_code)
    });
    match parsed.command.unwrap_or(Subcommands::Run) {
        Subcommands::Run => code(commands::run::run(environment)),
        Subcommands::Check => code(commands::check::run(environment)),
        Subcommands::Render { path, diff } => code(commands::render::run(environment, path.as_deref(), diff)),
        Subcommands::Reload => commands::reload::run().into(),
        Subcommands::Account(command) => code(account::run(command, environment)),
        Subcommands::Alias(command) => code(commands::names::aliases(command, environment)),
        Subcommands::Domain(command) => code(commands::names::domains(command, environment)),
        Subcommands::QuotaWarning { percent, account } => code(commands::quota_warning::run(percent, &account)),
        Subcommands::AuthWorker { driver, host, port } => code(commands::auth_worker::run(&driver, &host, port)),
        Subcommands::Healthcheck(options) => healthcheck::run(&options).into(),
        Subcommands::Logs(options) => code(logs::run(&options)),
        Subcommands::Queue(command) => code(queue::run(command)),
        Subcommands::Status { json, watch } => code(commands::status::run(json, watch)),
        Subcommands::Policyd => code(policyd::run().map(|()| 0)),
        Subcommands::Httpd => code(http::run().map(|()| 0)),
        Subcommands::HelpEnv { markdown, json } => {
            print(commands::help_env::text(markdown, json).trim_end());
            ExitCode::SUCCESS
        }
    }
}

/// What clap says of the arguments, or what is nearer to what was meant.
fn say_what_is_wrong(mut error: clap::Error, arguments: &[String]) {
    let word = match error
        .get(ContextKind::InvalidArg)
        .or(error.get(ContextKind::InvalidSubcommand))
    {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    if error.kind() == ErrorKind::UnknownArgument {
        if let Some(said) = account::password_among(arguments, &word) {
            return complain(said);
        }
        // That it could be a value, after --, helps nobody: no value begins with a hyphen here.
        error.remove(ContextKind::Suggested);
    }
    let _ = error.print();
    if error.kind() == ErrorKind::InvalidSubcommand && arguments.get(1) == Some(&word) {
        complain(format_args!(
            "the arguments are mailroom's; for another program: docker run --entrypoint {word} …, or docker exec … {word} in a \
             running container"
        ));
    }
}

fn code(outcome: anyhow::Result<u8>) -> ExitCode {
    outcome.map_or_else(
        |error| {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (String, Option<String>) {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = Arguments::try_parse_from(&arguments).unwrap_err();
        let word = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) => word.clone(),
            _ => String::new(),
        };
        (error.to_string(), account::password_among(&arguments, &word))
    }

    #[test]
    fn a_password_among_the_arguments_is_refused_and_not_repeated() {
        for line in [
            "mailroom account add x --password hunter-2",
            "mailroom account add x --password=hunter-2",
            "mailroom account passwd x -p hunter-2",
            "mailroom account passwd x hunter-2",
        ] {
            let said = refused(line).1.unwrap();
            assert!(
                said.contains("--stdin reads it") && !said.contains("hunter-2"),
                "{line}: {said}"
            );
        }
        assert_eq!(refused("mailroom account add x --stdn").1, None);
        assert_eq!(refused("mailroom account set x y").1, None);
    }

    #[test]
    fn usages_name_the_ways() {
        let (said, _) = refused("mailroom account set x");
        assert!(said.contains("set <NAME> [--role <ROLE>] [--quota <QUOTA>]"), "{said}");
        let (said, _) = refused("mailroom account passwd");
        assert!(said.contains("<NAME> [--stdin | --generate | --hash"), "{said}");
        assert!(
            Arguments::try_parse_from(["mailroom", "account", "set", "x", "--quota", "5G", "--role", "user"]).is_ok()
        );
    }
}
