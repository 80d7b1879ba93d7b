//! The programs that Mailroom runs, and the Debian package that each comes with, so that a missing one is named with what to
//! install. Each daemon's folder has its own [`Program`]s. A program is looked up once; where it moves later, it is not
//! found again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Where the programs of Debian packages are, and what the PATH of those that we run is.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its file name.
    pub name: &'static str,
    /// The Debian package that it belongs to.
    pub package: &'static str,
    /// The directories in which it is looked for, in the form of PATH.
    pub directories: &'static str,
}

/// A program that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(Program);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { name, package, .. } = self.0;
        write!(f, "{name} is not installed here: it belongs to the package {package}")
    }
}

impl std::error::Error for Missing {}

/// Those that were found, by name and directories.
static FOUND: Mutex<BTreeMap<(&str, &str), PathBuf>> = Mutex::new(BTreeMap::new());

impl Program {
    /// Where it is.
    pub fn path(&self) -> Result<PathBuf, Missing> {
        let key = (self.name, self.directories);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = found.get(&key) {
            return Ok(path.clone());
        }
        let path = which::which_in(self.name, Some(self.directories), "/").map_err(|_| Missing(*self))?;
        found.insert(key, path.clone());
        Ok(path)
    }

    /// A command that runs it, with nothing of our environment, which may hold secrets.
    pub fn command(&self) -> Result<Command, Missing> {
        let mut command = Command::new(self.path()?);
        command.env_clear().env("PATH", PATH);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_is_found_in_its_directories_and_looked_up_once() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("first"), directory.path().join("second"));
        let directories: &'static str = format!("{}:{}", first.display(), second.display()).leak();
        let program = Program {
            name: "example",
            package: "example-core",
            directories,
        };
        for path in [&first, &second] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("example"), "#!/bin/sh\n").unwrap();
        }
        assert_eq!(
            program.path().unwrap_err().to_string(),
            "example is not installed here: it belongs to the package example-core",
            "neither can be executed"
        );
        let expected = second.join("example");
        fs::set_permissions(&expected, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program.path().as_ref(), Ok(&expected));
        fs::remove_file(&expected).unwrap();
        assert_eq!(program.path().as_ref(), Ok(&expected));
    }

    #[test]
    fn a_command_has_nothing_of_our_environment() {
        let shell = Program {
            name: "sh",
            package: "dash",
            directories: PATH,
        };
        let command = shell.command().unwrap();
        assert_eq!(command.get_program(), shell.path().unwrap());
        let environment: Vec<_> = command.get_envs().collect();
        assert_eq!(environment, [(OsStr::new("PATH"), Some(OsStr::new(PATH)))]);
        assert_eq!(format!("{command:?}").matches("env -i").count(), 1, "{command:?}");
    }
}
