//! PID 1 of a mail server container.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: PID 1 has no default actions, and a SIGTERM from here on must count.
    if mailroom::is_first()
        && let Err(error) = mailroom::block_signals()
    {
        let _ = writeln!(std::io::stderr(), "mailroom: signals: {error}");
    }
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    mailroom::main(std::env::args_os().map(text).collect(), &environment)
}
