//! PID 1 of a mail server container.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailroom::system::processes::drop_inherited_descriptors();
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    mailroom::cli::main(std::env::args_os().map(text).collect(), &environment)
}
