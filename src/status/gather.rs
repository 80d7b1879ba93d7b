//! Puts together how the server is. It takes as long as the health check, for the daemons are asked meanwhile.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::{Remembered, Service, Status, queue};
use crate::certificates;
use crate::control::{Answer, Question, Request, client};
use crate::health::{self, Report, State};
use crate::layout::{DIRECTORY_CONFIG, QUEUE_DIRECTORY, USERS_FILE};
use crate::supervise::status::{self, Doing};

/// Asks and looks. Needs root.
pub fn gather() -> Status {
    std::thread::scope(|scope| {
        let health = scope.spawn(health::check);
        let services = status::read().into_iter().map(service).collect();
        let remembered = remembered();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: remembered
                .as_ref()
                .map_or_else(host, |remembered| remembered.hostname.clone()),
            time: Timestamp::now().as_second(),
            services,
            queues: queue::all(Path::new(QUEUE_DIRECTORY)),
            accounts: accounts(),
            has_directory: Path::new(DIRECTORY_CONFIG).exists(),
            certificate: certificates::look().summary(),
            remembered,
            health: health
                .join()
                .unwrap_or_else(|_| Report::of(State::Unhealthy, "the health check itself failed")),
        }
    })
}

fn service((name, doing): (String, Doing)) -> Service {
    Service {
        name,
        state: doing.word.into_owned(),
        essential: doing.essential,
        pid: doing.pid,
        since: doing.since,
        restarts: doing.restarts,
    }
}

fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// One line of Dovecot's passwd-file each.
fn accounts() -> u64 {
    let text = fs::read(USERS_FILE).unwrap_or_default();
    let is_entry = |line: &&[u8]| !line.is_empty() && !line.starts_with(b"#");
    text.split(|byte| *byte == b'\n').filter(is_entry).count() as u64
}

/// Nothing where no server answers.
fn remembered() -> Option<Remembered> {
    match client::ask(&Request::Observe(Question::Remembered)) {
        Ok(Answer::Done(text)) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}
