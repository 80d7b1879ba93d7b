//! What each service is doing, in a file: the health check runs in a process of its own and reads it there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::LEFT_DOWN;
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
    /// Its main process, while there is one.
    #[serde(default)]
    pub pid: Option<i32>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Since when all of this is so, in seconds since 1970.
    #[serde(default)]
    pub since: i64,
}

impl Doing {
    /// Nobody starts it again.
    pub fn is_given_up(&self) -> bool {
        self.word == LEFT_DOWN
    }

    /// Apart from the time.
    fn is_as(&self, other: &Doing) -> bool {
        let now = |doing: &Doing| (doing.word.clone(), doing.pid, doing.restarts);
        now(self) == now(other)
    }
}

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Status(BTreeMap<&'static str, Doing>);

impl Status {
    /// Writes what each service is doing, if that has changed; what has not keeps its time.
    pub(super) fn write(&mut self, mut doing: BTreeMap<&'static str, Doing>) -> io::Result<()> {
        let now = Timestamp::now().as_second();
        for (name, doing) in &mut doing {
            let before = self.0.get(name).filter(|before| before.is_as(doing));
            doing.since = before.map_or(now, |before| before.since);
        }
        if self.0 == doing {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&doing)? + "\n";
        files::write_volatile(&path(), text.as_bytes(), Owner::ROOT, 0o644)?;
        self.0 = doing;
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
