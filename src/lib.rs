//! Mailroom: environment variables in, a running mail server out. See docs/ARCHITECTURE.md for the way through.

mod accounts;
mod certificates;
mod cli;
mod commands;
mod control;
mod daemon;
mod daemons;
mod dovecot;
mod facts;
mod health;
mod http;
mod layout;
mod logs;
mod metrics;
mod own_daemon;
mod plan;
mod policyd;
mod postfix;
mod probes;
mod provision;
mod report;
mod secrets;
mod server;
mod settings;
mod site;
mod staging;
mod status;
mod supervise;
mod system;
mod templates;
mod trust;
mod values;

pub use self::cli::main;
pub use self::system::processes::is_first;
pub use self::system::signals::block_signals;
