//! `mailroom auth-worker HOST PORT NAME=VALUE`: Dovecot starts it beside a database (service auth-worker). It looks whether the
//! database's host is there, and becomes Dovecot's auth worker.
//!
//! A worker connects when it starts. Where that takes a second or more it tries again for each passdb and protocol, until it is killed
//! after 30 s (`PostgreSQL`) or crashes (`MySQL`); its master then waits up to a minute before it starts another (Dovecot 2.4.1). So
//! a worker has the variable, which names the database's driver, where the host is there alone. Without it there is nothing to ask:
//! one request fails for the moment, and the worker ends.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::output::complain;

/// Dovecot's auth server.
const PROGRAM: &str = "/usr/lib/dovecot/auth";
/// Time for each address of the host. The resolver has its own (`RES_OPTIONS`).
const PATIENCE: Duration = Duration::from_secs(1);
/// How many requests a process serves (Dovecot's restart_request_count).
const REQUESTS: &str = "SERVICE_COUNT";

/// Becomes the worker; returns only where that cannot be run.
pub fn run(host: &str, port: u16, variable: &str) -> anyhow::Result<u8> {
    let (name, value) = variable.split_once('=').context("NAME=VALUE is missing")?;
    let mut worker = Command::new(PROGRAM);
    if is_there(host, port) {
        worker.env(name, value);
    } else {
        complain(format_args!(
            "the database's host {host} does not answer at port {port}"
        ));
        worker.env(REQUESTS, "1");
    }
    Err(worker.arg("-w").exec().into())
}

/// Whether somebody listens there.
fn is_there(host: &str, port: u16) -> bool {
    let addresses = (host, port).to_socket_addrs();
    addresses
        .into_iter()
        .flatten()
        .any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_host_that_does_not_listen_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_there("127.0.0.1", port));
        drop(listener);
        assert!(!is_there("127.0.0.1", port));
    }
}
