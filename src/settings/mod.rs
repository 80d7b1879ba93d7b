//! From strings to checked values.
//!
//! A variable passes each room once. [`gather`] collects the environment, the files that it names and the drop-in files.
//! [`reader`] reads the variables of the [`table`] by their types and hands all others to the daemon whose prefix they
//! have. What is right is kept as canonical text, from which `envy` makes the typed settings of every room; what is wrong
//! is kept for the one report.
//!
//! This folder knows no daemon: the names, types and rules of a daemon's settings are in the daemon's folder.

pub mod gather;
pub mod noise;
pub mod reader;
pub mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use self::reader::{Reader, Values};
use crate::report::Mistake;

/// The environment as strings: name to value.
pub type Environment = BTreeMap<String, String>;

/// One drop-in file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where it was found.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// One setting of a drop-in file, which comes in place of the variable that sets the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The variable that would set it: `POSTFIX_smtpd_banner`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `file:line`.
    pub origin: String,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// There is a setting of this name.
    Yes,
    /// There is none.
    No,
    /// Only the daemon's own checker knows.
    Perhaps,
}

/// The names of a daemon's settings.
pub trait Names {
    /// What the names of its variables begin with.
    fn prefixes(&self) -> &'static [&'static str];

    /// Whether there is a setting of that name; `rest` is what stands behind the prefix.
    fn knows(&self, prefix: &str, rest: &str) -> Knowledge;

    /// The variable that is meant by a name of ours which does not exist; `rest` is what stands behind `MAILROOM_`.
    fn meant_by(&self, _rest: &str) -> Option<String> {
        None
    }

    /// The directories of its drop-in files, below `/etc/mailroom`.
    fn drop_in_directories(&self) -> &'static [&'static str];

    /// The settings in a drop-in file that variables could set as well. Files of other settings are left to the reader.
    fn lines(&self, directory: &str, file: &DropIn) -> Vec<Result<Line, Mistake>>;
}

/// The owner of a name, the prefix and what stands behind it: the longest prefix decides.
pub fn owner<'a, 'n>(owners: &[&'a dyn Names], name: &'n str) -> Option<(&'a dyn Names, &'static str, &'n str)> {
    let prefixes = owners
        .iter()
        .flat_map(|owner| owner.prefixes().iter().map(move |prefix| (*owner, *prefix)));
    prefixes
        .filter_map(|(owner, prefix)| Some((owner, prefix, name.strip_prefix(prefix)?)))
        .max_by_key(|(_, prefix, _)| prefix.len())
}
