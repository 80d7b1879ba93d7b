//! The unix socket between a command line and PID 1: one request and one answer, each a line of JSON. Only root may connect.

pub mod client;
pub mod listener;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::accounts::change::Change;
use crate::layout::RUN_DIRECTORY;

/// What a command line asks of PID 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Read everything again, and reload what has changed.
    Reload,
    /// Change what was added live.
    Change(Change),
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

/// Where the socket is.
fn socket() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("control")
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
}
