//! All logs, one way in and one way out.
//!
//! What comes in: datagrams at /dev/log from everything in the container that calls syslog(3), lines that the daemons print
//! ([`Logs::follow`]), and our own lines, which are `tracing` events (see `layer`). What goes out: standard output gets
//! everything; the files in /var/log get what came through /dev/log.
//!
//! Three threads do it, so that reading never waits for writing. The receiver moves datagrams from /dev/log into a bounded
//! queue and does nothing else: Postfix stands still while its logs are not read. The router reads the queue, asks each
//! daemon's [`LogLines`] what a line is, drops those of the health probe, hides credentials in the others, formats them and
//! writes the files. The writer writes to standard output, which may block for ever.
//!
//! Limits: a full queue loses lines. They are counted, and the count is logged. A crash of Mailroom loses what is still in
//! the queues. The time of a line is the time of its arrival: syslog's own has neither year nor fraction.

pub mod bare;
pub mod fields;
mod files;
mod formats;
mod hints;
mod json;
mod layer;
pub mod lines;
mod mask;
mod queue;
mod receiver;
pub mod record;
mod router;
mod sink;
mod stamps;
mod stdout;
mod warnings;

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::Level;

pub use self::formats::Format;
pub use self::hints::Trusted;
use self::layer::Threshold;
use self::lines::{LogLines, Meaning};
pub use self::mask::Mask;
use self::queue::{Item, Printed, Queue};
use self::router::Router;
pub use self::warnings::Warning;
use self::warnings::Warnings;
use crate::metrics::Metrics;
use crate::system::panics;

/// Where syslog(3) sends to.
const DEV_LOG: &str = "/dev/log";
/// Lines of programs that are no daemon's, such as postlog(1) called by a user.
const MAIL_LOG: &str = "/var/log/mail.log";
/// A datagram that marks the end of all that was logged before it.
const FLUSH_MARKER: &[u8] = b"<46>mailroom: flush";
/// Longest line taken from a daemon's pipe.
const LONGEST_LINE: u64 = 4 << 10;

/// What the settings say about logs.
#[derive(Debug)]
pub struct Configuration {
    /// Stamps all lines.
    pub time_zone: TimeZone,
    /// The host name in the lines: the first label of `myhostname`.
    pub host: String,
    /// Who is trusted: what is refused to others is explained.
    pub trusted: Trusted,
    /// The address from which health probes come.
    pub probe_address: &'static str,
    /// The least important of our own lines that are shown.
    pub level: Level,
    /// How lines look on standard output.
    pub format: Format,
    /// Hides who writes to whom, where that is wanted.
    pub mask: Option<Mask>,
    /// The files in /var/log are written, too.
    pub files: bool,
}

/// What the daemons' lines mean, each with the name of the service.
pub type Meanings = UnboundedReceiver<(&'static str, Meaning)>;

/// The handle of the running logs. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    queue: Queue,
    threshold: Threshold,
    warnings: Warnings,
    flushed: Arc<Mutex<Receiver<()>>>,
}

impl Logs {
    /// Binds /dev/log, starts the threads, and takes all events of this crate from here on. Once in a process.
    ///
    /// `lines` are the daemons; the first whose program a line is has it. What it counts for is counted in `metrics`.
    pub fn start(lines: Vec<LogLines>, metrics: Metrics) -> io::Result<(Logs, Meanings)> {
        let (queue, items) = Queue::new();
        let (flushed_sender, flushed) = sync_channel(1);
        let (sender, meanings) = unbounded_channel();
        let (stdout, text) = stdout::queue(queue.lost());
        let warnings = Warnings::default();
        let figures = (metrics, warnings.clone());
        let mut router = Router::new(lines, MAIL_LOG, stdout, queue.lost(), flushed_sender, sender, figures);
        panics::keep_thread("log-router", move || router.run(&items))?;
        panics::keep_thread("log-writer", move || text.write())?;
        match receiver::bind() {
            Ok(socket) => {
                let queue = queue.clone();
                panics::keep_thread("log-receiver", move || receiver::receive(&socket, &queue))?;
            }
            Err(error) => drop(writeln!(
                io::stderr(),
                "mailroom: {DEV_LOG}: {error}; the daemons' logs are lost"
            )),
        }
        let threshold = Threshold::default();
        layer::install(queue.clone(), threshold.clone())?;
        let logs = Logs {
            queue,
            threshold,
            warnings,
            flushed: Arc::new(Mutex::new(flushed)),
        };
        Ok((logs, meanings))
    }

    /// Takes over what the settings say.
    pub fn configure(&self, configuration: Configuration) {
        self.threshold.set(configuration.level);
        self.queue.send(Item::Configure(Box::new(configuration)));
    }

    /// Passes on what a daemon prints, until it closes its end.
    pub async fn follow(self, service: &'static str, pipe: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            let mut limited = AsyncReadExt::take(&mut reader, LONGEST_LINE);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.queue.send(Item::Printed(Box::new(Printed {
                    at: Timestamp::now(),
                    service,
                    line,
                }))),
            }
        }
    }

    /// Shows the last lines of a service again.
    pub fn repeat(&self, service: &'static str) {
        self.queue.send(Item::Repeat(service));
    }

    /// The last lines that are warnings or errors, the newest last.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.all()
    }

    /// Opens the files in /var/log anew.
    pub fn reopen(&self) {
        self.queue.send(Item::Reopen);
    }

    /// Waits until all that was logged so far is written, but not longer than `deadline`: standard output may block.
    pub fn flush(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        // Through /dev/log, so that the marker comes behind the datagrams that are not read yet.
        let marked = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(deadline))?;
            socket.send_to(FLUSH_MARKER, DEV_LOG)
        });
        if marked.is_err() {
            self.queue.send(Item::Syslog(Timestamp::now(), FLUSH_MARKER.to_vec()));
        }
        if let Ok(flushed) = self.flushed.lock() {
            let _ = flushed.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are made of what a daemon prints.
    fn followed(printed: &[u8]) -> Vec<Vec<u8>> {
        let (queue, items) = Queue::new();
        let logs = Logs {
            queue,
            threshold: Threshold::default(),
            warnings: Warnings::default(),
            flushed: Arc::new(Mutex::new(sync_channel(1).1)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(logs.follow("dovecot", printed));
        let line = |item| match item {
            Item::Printed(printed) if printed.service == "dovecot" => printed.line,
            _ => panic!("nothing else was sent"),
        };
        items.try_iter().map(line).collect()
    }

    #[test]
    fn what_daemons_print_becomes_lines() {
        assert_eq!(followed(b"one\ntwo\n"), [&b"one\n"[..], b"two\n"]);
        assert_eq!(followed(b"no end"), [b"no end"]);
        assert_eq!(followed(b"\xff\0\x1b[1m\n"), [b"\xff\0\x1b[1m\n"]);
        assert_eq!(followed(b""), Vec::<Vec<u8>>::new());
        let limit = usize::try_from(LONGEST_LINE).unwrap();
        let long = vec![b'x'; limit * 2 + 1];
        assert_eq!(
            followed(&long).iter().map(Vec::len).collect::<Vec<_>>(),
            [limit, limit, 1]
        );
    }
}
