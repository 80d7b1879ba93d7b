//! What each service is doing, in a file: the health check runs in a process of its own and reads it there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layout::RUN_DIRECTORY;
use crate::system::files::{self, Owner};

fn path() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("services.json")
}

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// Clients are not served without it.
    pub essential: bool,
    /// The word for it in messages: `running` is all right.
    pub word: Cow<'static, str>,
}

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Status(BTreeMap<&'static str, Doing>);

impl Status {
    /// Writes what each service is doing, if that has changed.
    pub(super) fn write(&mut self, words: BTreeMap<&'static str, Doing>) -> io::Result<()> {
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
pub fn read() -> BTreeMap<String, Doing> {
    fs::read(path())
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}
