//! The command line's end of the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use super::{Answer, Request, socket};

/// Whether a server listens. A socket file that a dead one has left refuses connections.
pub fn is_answered() -> bool {
    UnixStream::connect(socket()).is_ok()
}

/// Asks the running PID 1. An error says why it could not be asked.
pub fn ask(request: &Request) -> Result<Answer, String> {
    let asked = || -> io::Result<Answer> {
        let mut stream = UnixStream::connect(socket())?;
        writeln!(stream, "{}", serde_json::to_string(request)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    asked().map_err(|error| {
        let path = socket();
        format!("{}: {error}; is the server running, and are you root?", path.display())
    })
}
