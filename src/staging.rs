//! A scratch directory in which files lie as they shall lie below `/`, for the daemons' own programs to read before anything
//! that runs is touched. It is removed when it is dropped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::system::files::explained;

/// What a scratch directory's name begins with.
const PREFIX: &str = "stage-";

/// Whether this is such a directory, perhaps of a process that was killed.
pub fn is_staging(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Longest run of a checker or of a program that builds a table.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Postfix waits until a file is two seconds old before it trusts it.
const BACK_DATED: Duration = Duration::from_secs(10);

/// The directory.
#[derive(Debug)]
pub struct Staging(TempDir);

impl Staging {
    /// Makes one below `parent`.
    pub fn below(parent: &Path) -> io::Result<Staging> {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        made.map(Staging).map_err(|error| explained(parent, error))
    }

    /// Where a file is staged that belongs to `path`.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.0.path().join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The directory itself, which stands for `/`.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// What a program says, with the paths that its user knows.
    pub fn without_root(&self, said: &str) -> String {
        said.replace(&self.0.path().display().to_string(), "")
    }

    /// Stages a file.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let staged = self.at(path);
        if let Some(directory) = staged.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&staged, bytes).map_err(|error| explained(&staged, error))?;
        let file = fs::File::options().write(true).open(&staged)?;
        file.set_modified(SystemTime::now() - BACK_DATED)
    }

    /// What a staged file holds; nothing where there is none.
    pub fn read(&self, path: &Path) -> String {
        fs::read(self.at(path))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}
