//! `mailroom healthcheck`, also as `/healthcheck` and `/healthcheck.sh`.

use super::output::print;
use crate::health::{self, State};

/// Prints one line; exit code 0 when clients are served, or will be once another server has ended; 1 otherwise.
pub fn run() -> u8 {
    match health::check() {
        Ok(State::Standby(waiting)) => {
            print(format_args!("standby: {waiting}"));
            0
        }
        Ok(State::Started(health)) => {
            print(&health);
            u8::from(!health.troubles.is_empty())
        }
        Err(error) => {
            print(format_args!("unhealthy: {error}"));
            1
        }
    }
}
