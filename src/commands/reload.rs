//! `mailroom reload`: has the running server read everything again.

use super::output::{complain, print};
use crate::control::{Answer, Request, client};
use crate::health;

/// Prints what was reloaded, or why nothing was; exit code 1 where anything is wrong.
pub fn run() -> u8 {
    match client::ask(&Request::Reload) {
        Ok(Answer::Done(done)) => {
            print(done);
            0
        }
        Ok(Answer::Wrong(what)) => {
            complain(what);
            1
        }
        Ok(Answer::Refused(why)) => {
            complain(format_args!(
                "reload refused, the running configuration stays in use: {why}"
            ));
            1
        }
        Err(error) => {
            match health::waiting() {
                Some(waiting) => complain(format_args!("this server is in standby: {waiting}")),
                None => complain(error),
            }
            1
        }
    }
}
