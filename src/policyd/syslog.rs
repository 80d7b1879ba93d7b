//! Lines of the log, sent to /dev/log as the other daemons' are (syslog(3)). A line that nobody takes is lost: nothing waits.

use std::os::unix::net::UnixDatagram;

/// `LOG_MAIL | LOG_INFO` (RFC 5424, section 6.2.1).
const PRIORITY: u8 = 2 << 3 | 6;

/// Logs a line under this daemon's name.
pub(super) fn say(text: &str) {
    let line = format!("<{PRIORITY}>{}: {text}", super::NAME);
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), "/dev/log")
    });
}
