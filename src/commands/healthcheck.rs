//! `mailroom healthcheck`, also as `/healthcheck` and `/healthcheck.sh`.

use super::output::print;
use crate::health;

/// Prints one line; exit code 0 when clients are served, 1 otherwise.
pub fn run() -> u8 {
    match health::check() {
        Ok(health) => {
            print(&health);
            u8::from(!health.troubles.is_empty())
        }
        Err(error) => {
            print(format_args!("unhealthy: {error}"));
            1
        }
    }
}
