//! The files in /var/log: their lines are gathered, and written together. A file that cannot be opened or written, as on a full disk or a
//! read-only root, stops nothing: standard output has the lines, and one line says so.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::sink::LogFile;

/// Size of each, in bytes; one full file is kept beside it.
const LIMIT: u64 = 10 << 20;

/// All of them, by path.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<&'static str, Gathered>);

/// A file, and what is to be written to it.
#[derive(Debug)]
struct Gathered {
    file: LogFile,
    lines: String,
    /// It could not be written, and that was said.
    is_told: bool,
}

impl Files {
    /// Opens each path once, whatever the number of daemons that share it. What was open before is closed.
    pub(super) fn open(&mut self, paths: impl Iterator<Item = &'static str>) {
        self.write();
        self.0.clear();
        let mut failed: Vec<(&str, io::Error)> = Vec::new();
        for path in paths {
            if self.0.contains_key(path) || failed.iter().any(|(known, _)| *known == path) {
                continue;
            }
            match LogFile::open(Path::new(path), LIMIT) {
                Ok(file) => drop(self.0.insert(
                    path,
                    Gathered {
                        file,
                        lines: String::new(),
                        is_told: false,
                    },
                )),
                Err(error) => failed.push((path, error)),
            }
        }
        if let Some((_, error)) = failed.first() {
            let paths: Vec<&str> = failed.iter().map(|(path, _)| *path).collect();
            tracing::warn!("{}: {error}; log lines go to standard output only", paths.join(", "));
        }
    }

    /// Closes all of them: lines go to standard output only.
    pub(super) fn close(&mut self) {
        self.write();
        self.0.clear();
    }

    /// Where lines of a path are gathered, if it is open.
    pub(super) fn lines(&mut self, path: &str) -> Option<&mut String> {
        self.0.get_mut(path).map(|gathered| &mut gathered.lines)
    }

    /// Writes what was gathered.
    pub(super) fn write(&mut self) {
        for (path, gathered) in &mut self.0 {
            if gathered.lines.is_empty() {
                continue;
            }
            let written = gathered.file.write(gathered.lines.as_bytes());
            gathered.lines.clear();
            if let Err(error) = written
                && !gathered.is_told
            {
                gathered.is_told = true;
                tracing::warn!("{path}: {error}; lines are missing there until it can be written again");
            }
        }
    }
}
