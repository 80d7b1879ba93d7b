//! `mailroom healthcheck`, also as `/healthcheck` and `/healthcheck.sh`.

use super::output::print;
use crate::health::{self, State};

/// What is asked, and how it is told.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    /// Exit code 1 where anything is wrong, though clients are served
    #[arg(long)]
    strict: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Whether the daemons live, without asking them
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Whether clients can be sent here: not while the server waits for another one to end
    #[arg(long)]
    ready: bool,
}

/// Prints one line, or one for each fault; exit code 0 when clients are served, or will be once another server has ended; 1
/// otherwise.
pub fn run(options: &Options) -> u8 {
    let report = if options.live { health::live() } else { health::check() };
    if options.json {
        print(serde_json::to_string(&report).unwrap_or_default());
    } else {
        print(&report);
    }
    let is_good = match report.state {
        _ if options.live => report.is_live(),
        State::Healthy => true,
        State::Degraded => !options.strict,
        // An orchestrator that starts the new container first ends the old one when the new one is healthy.
        State::Standby => !options.ready,
        State::Unhealthy | State::Starting | State::Stopping => false,
    };
    u8::from(!is_good)
}
