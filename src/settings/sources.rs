//! All that settings are read from, as values.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Environment, Mistake};

/// One drop-in file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where it was found.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// All that settings are read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The environment, with the contents of secret files under the names that they stand for.
    pub environment: Environment,
    /// Names of variables whose values came from files.
    pub secrets: BTreeSet<String>,
    /// Files of main.cf parameters.
    pub main_cf: Vec<DropIn>,
    /// Files of master.cf services.
    pub master_cf: Vec<DropIn>,
    /// Files of Dovecot settings.
    pub dovecot: Vec<DropIn>,
    /// Files beside these that are none, by their names.
    pub skipped: Vec<PathBuf>,
    /// What could not be read.
    pub mistakes: Vec<Mistake>,
}
