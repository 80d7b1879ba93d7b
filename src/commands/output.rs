//! What commands print. Not by println! and eprintln!, which panic where the reader has gone, as in
//! `mailroom help-env | head -1`.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// The exit code that a shell shows of a program which SIGPIPE has ended (signal(7)): 128 and the signal's number.
const BROKEN_PIPE: i32 = 128 + 13;
/// EX_IOERR (sysexits.h).
const EXIT_IO: i32 = 74;

/// Prints a text and a line break to standard output.
///
/// Where that cannot be, as on a full disk, the command ends, and says so; where the reader has gone, without a word, as
/// other Unix programs do. (The Rust runtime ignores SIGPIPE, and PID 1 would not be ended by it.)
pub fn print(text: impl Display) {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(BROKEN_PIPE),
        Err(error) => {
            complain(format_args!("standard output: {error}"));
            std::process::exit(EXIT_IO);
        }
    }
}

/// Prints what is wrong to standard error. Where that cannot be, the exit code says it alone.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "mailroom: {text}");
}

/// Asks a question at the terminal; true where the answer begins with y.
pub fn ask(question: &str) -> io::Result<bool> {
    let _ = write!(io::stderr(), "{question}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim_start().to_ascii_lowercase().starts_with('y'))
}
