//! `mailroom reload`: has the running server read everything again.

use crate::control::{Answer, Request, client};

/// Prints what was reloaded, or why nothing was; exit code 0 or 1.
pub fn run() -> u8 {
    match client::ask(&Request::Reload) {
        Ok(Answer::Done(done)) => {
            println!("{done}");
            0
        }
        Ok(Answer::Refused(why)) => {
            eprintln!("mailroom: reload refused, the running configuration stays in use: {why}");
            1
        }
        Err(error) => {
            eprintln!("mailroom: {error}");
            1
        }
    }
}
