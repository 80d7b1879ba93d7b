//! `mailroom reload`: has the running server read everything anew.

use crate::control;

/// Prints what was reloaded, or why nothing was; exit code 0 or 1.
pub fn run() -> u8 {
    match control::reload() {
        Ok(told) => {
            println!("{told}");
            0
        }
        Err(error) => {
            eprintln!("mailroom: reload refused, all goes on as it was: {error}");
            1
        }
    }
}
