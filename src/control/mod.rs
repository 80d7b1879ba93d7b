//! The unix sockets between others and PID 1: one request and one answer, each a line of JSON. At one the command line may ask for
//! everything; only root may connect there. At the other `mailroom httpd` may ask how the server is, and change nothing.

pub mod client;
pub mod listener;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::accounts::change::Change;
use crate::layout::{HTTP_QUESTIONS, RUN_DIRECTORY};
use crate::system::files::Owner;

/// What a command line asks of PID 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Read everything again, and reload what has changed.
    Reload,
    /// Change what was added live.
    Change(Change),
    /// Say how the server is.
    Observe(Question),
}

/// What may be asked of PID 1 by somebody who may change nothing. The answer is [`Answer::Done`], with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Do PID 1 and its daemons live? A `health::Report`.
    Live,
    /// Are clients served? A `health::Report`.
    Ready,
    /// What `mailroom status` shows: a `status::Status`.
    Status,
    /// All metrics, in the text format of OpenMetrics.
    Metrics,
    /// What PID 1 alone knows of what was: a `status::Remembered`.
    Remembered,
}

/// What PID 1 answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done; this is what was done.
    Done(String),
    /// It was not done; this is why.
    Refused(String),
    /// It can never be done as it was asked; this is why.
    Wrong(String),
}

/// Where the command line's socket is.
fn socket() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("control")
}

/// A socket of PID 1's.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it is.
    path: PathBuf,
    /// Who may connect.
    owner: Owner,
    /// What may be asked there.
    allows: fn(&Request) -> bool,
    /// Longest request, in bytes.
    longest: u64,
}

impl Door {
    /// The command line's.
    pub fn of_root() -> Door {
        Door {
            path: socket(),
            owner: Owner::ROOT,
            allows: |_| true,
            // The import of a hundred thousand accounts.
            longest: 256 << 20,
        }
    }

    /// That of a process of this account, which may ask and nothing else.
    pub fn of_observer(owner: Owner) -> Door {
        Door {
            path: HTTP_QUESTIONS.into(),
            owner,
            allows: |request| matches!(request, Request::Observe(_)),
            longest: 1 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_lines_of_json() {
        assert_eq!(serde_json::to_string(&Request::Reload).unwrap(), r#""reload""#);
        let answer = Answer::Refused("two\nlines".to_owned());
        let line = serde_json::to_string(&answer).unwrap();
        assert_eq!(line, r#"{"refused":"two\nlines"}"#);
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        assert!(serde_json::from_str::<Request>(r#""dance""#).is_err());
    }

    #[test]
    fn an_observer_may_change_nothing() {
        let allows = Door::of_observer(Owner::ROOT).allows;
        assert!(allows(&Request::Observe(Question::Ready)));
        assert!(!allows(&Request::Reload));
    }
}
