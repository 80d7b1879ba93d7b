//! What each service is doing, in a file: the health check runs in a process of its own and reads it there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::layout::RUN_DIRECTORY;
use crate::system::files::{self, Owner};

fn path() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("services.json")
}

/// The words that were written last.
#[derive(Debug, Default)]
pub(super) struct Status(BTreeMap<&'static str, &'static str>);

impl Status {
    /// Writes the word for each service, if one has changed.
    pub(super) fn write(&mut self, words: BTreeMap<&'static str, &'static str>) -> io::Result<()> {
        if self.0 == words {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&words)? + "\n";
        files::write_volatile(&path(), text.as_bytes(), Owner::ROOT, 0o644)?;
        self.0 = words;
        Ok(())
    }
}

/// What the services are doing, by name; nothing where no supervisor runs.
pub fn read() -> BTreeMap<String, String> {
    fs::read(path())
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}
