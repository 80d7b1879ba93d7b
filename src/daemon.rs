//! What a daemon's folder answers: which variables are its own and how they are read, which files it wants, how they are
//! checked, how it is run, how it is probed and what its log lines mean.
//!
//! The answers are given in the order of the road. [`Daemon`] is what is known before anything is read; it learns from the
//! installed programs and becomes a [`Grammar`], which knows the names and types of the daemon's settings; reading gives
//! [`Configured`], the daemon's typed settings; with the rest of the site that becomes a [`Part`] of what shall be.
//!
//! The list of all daemons is in `daemons`; only that file and the folders themselves name one.

use std::fmt;
use std::pin::Pin;

use crate::accounts::Directory;
use crate::facts::Facts;
use crate::health::Named;
use crate::logs::lines::{LogLines, Meaning};
use crate::plan::{File, Plan, Tree};
use crate::report::Mistake;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Names, Reader, Values};
use crate::site::{self, Site};
use crate::staging::Staging;
use crate::supervise::service::Service;
use crate::system::processes::Processes;
use crate::trust::Trust;

/// A future that a trait's method returns.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + 'a>>;

/// The site's variables and those of these daemons.
pub fn table(daemons: &[&dyn Daemon]) -> Table {
    let of_daemons = daemons.iter().map(|daemon| daemon.variables());
    Table::of(std::iter::once(site::VARIABLES).chain(of_daemons))
}

/// A daemon, before anything is read.
pub trait Daemon: Sync {
    /// Its variables in the table.
    fn variables(&self) -> &'static [Variable];

    /// The shapes of its other variables, for `mailroom help-env`.
    fn shapes(&self) -> &'static [Shape];

    /// Settings that cannot be set and why, as Markdown for the README; nothing where there are none.
    fn owned_settings(&self) -> String {
        String::new()
    }

    /// What its log lines mean.
    fn log_lines(&self) -> LogLines;

    /// Why something happened of which a log line says only that it did; nothing where that is not known.
    fn explain<'a>(&'a self, _meaning: Meaning, _processes: &'a Processes) -> Work<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    /// Asks the installed programs what they know, as far as this environment needs it.
    fn learn<'a>(
        &'a self,
        environment: &'a Environment,
        table: &'a Table,
        processes: &'a Processes,
    ) -> Work<'a, Box<dyn Grammar>>;
}

/// Variables that are known by their shape.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// As a user would write the name: `POSTFIX_<PARAMETER>`.
    pub name: &'static str,
    /// What such a name begins with.
    pub prefix: &'static str,
    /// What it sets, in one sentence.
    pub help: &'static str,
    /// The same with all that a JSON schema's reader should know.
    pub schema: &'static str,
}

/// The names and types of a daemon's settings.
pub trait Grammar: Names {
    /// What the daemon has against the value of a variable of its own, or of the site's, that the type accepts.
    fn check(&self, variable: &Variable, canonical: &str) -> Result<(), String>;

    /// Reads all variables and files of its own. Mistakes are left with the reader.
    fn read(self: Box<Self>, reader: &mut Reader) -> Box<dyn Configured>;
}

/// The settings of a daemon, read.
pub trait Configured: fmt::Debug {
    /// What is wrong in the whole though each value alone is right, and what is wrong with the files that the settings
    /// name. Reads those files, once.
    fn examine(&mut self, site: &Site, values: &Values) -> anyhow::Result<Vec<Mistake>>;

    /// How many settings were given besides those of the table of variables.
    fn count(&self) -> usize;

    /// What is set, in the daemon's own words, for the log.
    fn settings(&self) -> Vec<Set>;

    /// What a user should know about how the settings were understood.
    fn notes(&self) -> Vec<String>;

    /// What will be lost, or not work, as things stand.
    fn warnings(&self, _site: &Site, _facts: &Facts) -> Vec<String> {
        Vec::new()
    }

    /// What the daemon reads at its start alone, not at a reload: its name, and a value to compare.
    fn read_at_start(&self, site: &Site) -> Option<(&'static str, String)>;

    /// Everything that the daemon wants. Pure.
    fn part(&self, basis: &Basis) -> anyhow::Result<Part>;
}

/// One setting that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The daemon's name for it.
    pub name: String,
    /// The variable, or `file:line`, that sets it.
    pub origin: String,
    /// Its value.
    pub value: String,
}

/// What a daemon's wishes rest on.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The settings of the site.
    pub site: &'a Site,
    /// What this machine is.
    pub facts: &'a Facts,
    /// Who is trusted.
    pub trust: &'a Trust,
    /// Who has mail here.
    pub directory: &'a Directory<'a>,
    /// The environment of all daemons.
    pub environment: &'a [(String, String)],
}

/// What a daemon wants.
#[derive(Debug)]
pub struct Part {
    /// Its files and directories.
    pub plan: Plan,
    /// Those of its files that follow the accounts; nothing where none does.
    pub account_files: Option<Box<dyn AccountFiles>>,
    /// How it is run; nothing where these settings leave it nothing to do.
    pub service: Option<Service>,
    /// What is asked of it by the health check.
    pub probes: Vec<Named>,
    /// Its own checker.
    pub checker: Box<dyn Checker>,
}

/// Files that follow the accounts, and that the running daemon reads again by itself: no reload follows from a change.
pub trait AccountFiles: fmt::Debug {
    /// What they hold, for those who look at it.
    fn files(&self) -> &[File];

    /// The directories of the accounts, whose owners are looked through at a start.
    fn trees(&self) -> Vec<Tree> {
        Vec::new()
    }

    /// Puts them in place. Where the daemon runs, it acts on them when this has ended.
    fn put<'a>(&'a self, processes: &'a Processes) -> Work<'a, ()>;
}

/// A daemon's own checker, for files that are staged.
pub trait Checker: fmt::Debug {
    /// Builds what the daemon needs beside its files, and has the daemon's own programs read everything. What they have
    /// against it comes back as a [`Report`](crate::report::Report) wherever it can be traced to a variable or a line.
    fn check<'a>(&'a self, staging: &'a Staging, processes: &'a Processes) -> Work<'a, Findings>;
}

/// What a checker found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Files that were built.
    pub built: Vec<Built>,
    /// Lines, by file and number from 1, that are not written.
    pub left_out: Vec<(std::path::PathBuf, usize)>,
    /// Ports that the settings close: they are not probed.
    pub closed_ports: Vec<u16>,
    /// What will not work, as things stand.
    pub warnings: Vec<String>,
}

/// A file that a daemon's program has built.
#[derive(Debug)]
pub struct Built {
    /// The file. It is put in place right after its source, where that is written, too.
    pub file: File,
    /// What it was built from.
    pub source: std::path::PathBuf,
}
