//! `mailroom auth-worker DRIVER HOST PORT`: Dovecot starts it beside a database (service auth-worker). It looks whether the database
//! answers, and becomes Dovecot's auth worker.
//!
//! A worker connects when it starts. Where that takes a second or more it tries again for each passdb and protocol, until it is killed
//! after 30 s (`PostgreSQL`) or crashes (`MySQL`); its master then waits up to a minute before it starts another (Dovecot 2.4.1). So
//! only where the database answers does a worker know its driver. Another one has nothing to ask: one request fails for the moment, and
//! the worker ends, so that the next one looks again.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::output::complain;
use crate::accounts::external::{Dialect, WORKER_DRIVER};

/// Dovecot's auth server.
const PROGRAM: &str = "/usr/lib/dovecot/auth";
/// Time for each step. The resolver has its own (`RES_OPTIONS`).
const PATIENCE: Duration = Duration::from_secs(2);
/// How many requests a process serves (Dovecot's restart_request_count).
const REQUESTS: &str = "SERVICE_COUNT";
/// What a client of `PostgreSQL` may begin with, and leave without a line in the server's log (PostgreSQL docs, "Message Formats",
/// `GSSENCRequest`). A server of `MySQL` speaks first.
const BEGIN: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Becomes the worker; returns only where that cannot be run.
pub fn run(driver: &str, host: &str, port: u16) -> anyhow::Result<u8> {
    let mut worker = Command::new(PROGRAM);
    let begin: &[u8] = if driver == Dialect::Pgsql.name() { &BEGIN } else { &[] };
    if answers(host, port, begin) {
        worker.env(WORKER_DRIVER, driver);
    } else {
        complain(format_args!(
            "the database's host {host} does not answer at port {port}"
        ));
        worker.env(REQUESTS, "1");
    }
    Err(worker.arg("-w").exec().into())
}

/// Whether the server there answers to this.
fn answers(host: &str, port: u16, begin: &[u8]) -> bool {
    let addresses = (host, port).to_socket_addrs();
    let mut addresses = addresses.into_iter().flatten();
    addresses.any(|address| answers_at(&address, begin).is_ok())
}

/// A server that leaves at once is there, too.
fn answers_at(address: &SocketAddr, begin: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(begin)?;
    stream.read(&mut [0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_request_is_that_of_the_protocol() {
        let (length, code) = (8_u32.to_be_bytes(), 80_877_104_u32.to_be_bytes());
        assert_eq!([length, code].concat(), BEGIN);
    }

    #[test]
    fn a_server_must_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!answers("127.0.0.1", port, &[]), "the kernel alone accepts");
        let server = std::thread::spawn(move || {
            let _silent = listener.accept().unwrap();
            listener.accept().unwrap().0.write_all(b"x").unwrap();
            let mut asked = [0; 8];
            let mut stream = listener.accept().unwrap().0;
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"G").unwrap();
            asked
        });
        assert!(answers("127.0.0.1", port, &[]));
        assert!(answers("127.0.0.1", port, &BEGIN));
        assert_eq!(server.join().unwrap(), BEGIN);
        assert!(!answers("127.0.0.1", port, &[]), "nobody listens");
    }
}
