//! The receiver: reads /dev/log, as a syslog daemon does, and does nothing else, so that the daemons never wait for it.
//!
//! It cannot tell who sends a line: any process in the container can log in any program's name.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use jiff::Timestamp;

use super::DEV_LOG;
use super::queue::{Item, Queue};

/// Longest datagram that is read; Postfix cuts its lines at 2 KiB.
const LONGEST: usize = 16 << 10;

/// Binds /dev/log. Every process in the container may log, as with any syslog daemon.
pub(super) fn bind() -> io::Result<UnixDatagram> {
    let path = Path::new(DEV_LOG);
    crate::system::files::remove(path)?;
    let socket = UnixDatagram::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(socket)
}

/// Moves datagrams into the queue, for ever.
pub(super) fn receive(socket: &UnixDatagram, queue: &Queue) {
    let mut queue = queue.patient();
    let mut buffer = vec![0; LONGEST];
    loop {
        if let Ok(length) = socket.recv(&mut buffer) {
            queue.send(Item::Syslog(Timestamp::now(), buffer[..length].to_vec()));
        }
    }
}
