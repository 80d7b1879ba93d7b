//! All logs, one way: /dev/log, the daemons' pipes and our own lines come in; standard output and /var/log take them.
//!
//! Three threads, so that no reading ever waits for writing. The receiver moves datagrams from /dev/log into a bounded
//! queue and does nothing else: Postfix stands still while its logs are not read. The router reads the queue, drops the
//! health probe's lines, formats, and writes the files. The writer writes to standard output, which may block for ever.
//! Full queues lose lines, count them, and tell.

mod filter;
mod record;
mod sink;

use std::collections::{BTreeMap, VecDeque};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use tokio::io::AsyncBufReadExt;

use self::filter::Hints;
use self::record::{Record, escape};
use self::sink::LogFile;
use crate::system::panics;

const DEV_LOG: &str = "/dev/log";
const MAIL_LOG: &str = "/var/log/mail.log";
const DOVECOT_LOG: &str = "/var/log/dovecot.log";

/// Size of each log file, in bytes; one full file is kept beside it.
const LOG_FILE_LIMIT: u64 = 10 << 20;
/// Lines between the receiver and the router: some seconds of a busy server.
const QUEUE: usize = 16_384;
/// Lines of each service that are shown again when it is given up.
const LAST_LINES: usize = 20;
/// Lines between the router and standard output.
const STDOUT_QUEUE: usize = 4_096;
/// A datagram that marks the end of all that was logged before it.
const FLUSH_MARKER: &[u8] = b"<46>mailroom: flush";
/// Longest datagram read from /dev/log; Postfix cuts its lines at 2 KiB.
const LONGEST: usize = 16 << 10;
/// Longest line taken from a daemon's pipe.
const LONGEST_LINE: u64 = 4 << 10;

/// What the router is given.
enum Item {
    /// A datagram from /dev/log, and when it arrived.
    Syslog(Timestamp, Vec<u8>),
    /// A line of ours.
    Own(Timestamp, String),
    /// A line that a daemon printed.
    Printed(Timestamp, &'static str, Vec<u8>),
    /// What the settings say about logs.
    Configure(Configuration),
    /// Show the last lines of this service again.
    Repeat(&'static str),
    /// Open the log files anew: somebody may have moved them away.
    Reopen,
}

/// What the settings say about logs.
#[derive(Debug)]
pub struct Configuration {
    /// Stamps all lines.
    pub time_zone: TimeZone,
    /// The host name in the lines: the first label of `myhostname`.
    pub host: String,
    /// Gateways that are not trusted: their refusals are explained.
    pub gateways: Vec<String>,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
    flushed: Arc<std::sync::Mutex<Receiver<()>>>,
}

impl Logs {
    /// Binds /dev/log and starts the threads.
    pub fn start() -> io::Result<Logs> {
        let (queue, items) = sync_channel(QUEUE);
        let (flushed_sender, flushed) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let (stdout, lines) = sync_channel(STDOUT_QUEUE);
        let mut router = Router::new(stdout, Arc::clone(&lost), flushed_sender);
        panics::keep_thread("log-router", move || router.run(&items))?;
        panics::keep_thread("log-writer", move || write_stdout(&lines))?;
        match bind() {
            Ok(socket) => {
                let (queue, lost) = (queue.clone(), Arc::clone(&lost));
                panics::keep_thread("log-receiver", move || receive(&socket, &queue, &lost))?;
            }
            Err(error) => drop(writeln!(
                io::stderr(),
                "mailroom: {DEV_LOG}: {error}; the daemons' logs are lost"
            )),
        }
        Ok(Logs {
            queue,
            lost,
            flushed: Arc::new(std::sync::Mutex::new(flushed)),
        })
    }

    /// Takes over what the settings say.
    pub fn configure(&self, configuration: Configuration) {
        self.send(Item::Configure(configuration));
    }

    /// One line of ours.
    pub fn own(&self, line: String) {
        self.send(Item::Own(Timestamp::now(), line));
    }

    /// Passes on what a daemon prints, until it closes its end.
    pub async fn follow(self, service: &'static str, pipe: impl tokio::io::AsyncRead + Unpin) {
        let mut reader = tokio::io::BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            let mut limited = tokio::io::AsyncReadExt::take(&mut reader, LONGEST_LINE);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.send(Item::Printed(Timestamp::now(), service, line)),
            }
        }
    }

    /// Shows the last lines of a service again.
    pub fn repeat(&self, service: &'static str) {
        self.send(Item::Repeat(service));
    }

    /// Opens the files in /var/log anew.
    pub fn reopen(&self) {
        self.send(Item::Reopen);
    }

    fn send(&self, item: Item) {
        if self.queue.try_send(item).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was logged so far is written, but not longer than `deadline`: standard output may block.
    pub fn flush(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let marked = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(deadline))?;
            socket.send_to(FLUSH_MARKER, DEV_LOG)
        });
        if marked.is_err() {
            self.send(Item::Syslog(Timestamp::now(), FLUSH_MARKER.to_vec()));
        }
        if let Ok(flushed) = self.flushed.lock() {
            let _ = flushed.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// Everybody in the container may log, as with any syslog daemon.
fn bind() -> io::Result<UnixDatagram> {
    let path = Path::new(DEV_LOG);
    crate::system::files::remove(path)?;
    let socket = UnixDatagram::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(socket)
}

fn receive(socket: &UnixDatagram, queue: &SyncSender<Item>, lost: &AtomicU64) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let item = Item::Syslog(Timestamp::now(), buffer[..length].to_vec());
        match queue.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// What standard output is given: a line, or the answer to give once all before it is written.
enum Line {
    Text(String),
    Flush(SyncSender<()>),
}

fn write_stdout(lines: &Receiver<Line>) {
    let mut stdout = io::stdout();
    while let Ok(line) = lines.recv() {
        match line {
            // A closed standard output is no reason to stop: the files go on.
            Line::Text(text) => drop(stdout.write_all(text.as_bytes())),
            Line::Flush(done) => {
                let _ = stdout.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Decides what becomes of each item.
struct Router {
    stdout: SyncSender<Line>,
    lost: Arc<AtomicU64>,
    flushed: SyncSender<()>,
    time_zone: TimeZone,
    host: String,
    hints: Hints,
    mail_log: Option<LogFile>,
    dovecot_log: Option<LogFile>,
    /// The last lines of each service.
    last: BTreeMap<&'static str, VecDeque<String>>,
}

impl Router {
    fn new(stdout: SyncSender<Line>, lost: Arc<AtomicU64>, flushed: SyncSender<()>) -> Router {
        Router {
            stdout,
            lost,
            flushed,
            time_zone: TimeZone::UTC,
            host: "localhost".to_owned(),
            hints: Hints::default(),
            mail_log: open(MAIL_LOG),
            dovecot_log: open(DOVECOT_LOG),
            last: BTreeMap::new(),
        }
    }

    fn run(&mut self, items: &Receiver<Item>) {
        while let Ok(item) = items.recv() {
            self.tell_lost();
            match item {
                Item::Syslog(_, datagram) if datagram == FLUSH_MARKER => self.flush(),
                Item::Syslog(at, datagram) => self.syslog(at, &Record::parse(&datagram)),
                Item::Own(at, line) => self.own(at, &line),
                Item::Printed(at, service, line) => self.printed(at, service, &line),
                Item::Configure(configuration) => {
                    self.time_zone = configuration.time_zone;
                    self.host = configuration.host;
                    self.hints = Hints::new(configuration.gateways);
                }
                Item::Repeat(service) => self.repeat(service),
                Item::Reopen => {
                    self.mail_log = open(MAIL_LOG);
                    self.dovecot_log = open(DOVECOT_LOG);
                }
            }
        }
    }

    /// Lines that nobody has been told of are told as soon as that can be written itself.
    fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let told = format!("{lost} log lines were lost: they came faster than they could be written");
        if self
            .stdout
            .try_send(Line::Text(self.ours(Timestamp::now(), &told)))
            .is_err()
        {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn syslog(&mut self, at: Timestamp, record: &Record) {
        if filter::is_probe(record) {
            return;
        }
        let line = format!("{} {} {}\n", self.stamp(at), self.host, record.text);
        let (service, file) = if record.program() == "dovecot" {
            ("dovecot", &mut self.dovecot_log)
        } else {
            ("postfix", &mut self.mail_log)
        };
        append(file, &line);
        self.remember(service, &line);
        self.print(line);
        if let Some(hint) = self.hints.explain(record, Instant::now()) {
            self.own(at, &hint);
        }
    }

    fn printed(&mut self, at: Timestamp, service: &'static str, line: &[u8]) {
        let text = escape(line);
        if !text.is_empty() {
            let line = format!("{} {} {service}: {text}\n", self.stamp(at), self.host);
            self.remember(service, &line);
            self.print(line);
        }
    }

    fn remember(&mut self, service: &'static str, line: &str) {
        let last = self.last.entry(service).or_default();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    }

    fn repeat(&self, service: &'static str) {
        for line in self.last.get(service).into_iter().flatten() {
            self.print(format!("    {line}"));
        }
    }

    fn own(&self, at: Timestamp, line: &str) {
        self.print(self.ours(at, line));
    }

    /// Our own lines have the seed's shape: `[POSTFIX] 2026-01-24 12:34:56 message`.
    fn ours(&self, at: Timestamp, line: &str) -> String {
        let stamp = at
            .to_zoned_datetime(self.time_zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string();
        format!("[POSTFIX] {stamp} {line}\n")
    }

    /// The time of a syslog line (RFC 3164): `Jan  4 12:35:01`.
    fn stamp(&self, at: Timestamp) -> String {
        at.to_zoned_datetime(self.time_zone.clone())
            .strftime("%b %e %H:%M:%S")
            .to_string()
    }

    fn print(&self, line: String) {
        if self.stdout.try_send(Line::Text(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        // A full queue means that standard output blocks: then there is nothing to wait for.
        if self.stdout.try_send(Line::Flush(self.flushed.clone())).is_err() {
            let _ = self.flushed.try_send(());
        }
    }
}

fn open(path: &str) -> Option<LogFile> {
    match LogFile::open(Path::new(path), LOG_FILE_LIMIT) {
        Ok(file) => Some(file),
        Err(error) => {
            // Not eprintln!, which panics when standard error is closed.
            let _ = writeln!(
                io::stderr(),
                "mailroom: {path}: {error}; lines go to standard output only"
            );
            None
        }
    }
}

/// A log file that cannot be written, as on a full disk, must not stop anything.
fn append(file: &mut Option<LogFile>, line: &str) {
    if let Some(file) = file {
        let _ = file.write(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are made of what a daemon prints.
    fn followed(printed: &[u8]) -> Vec<Vec<u8>> {
        let (queue, items) = sync_channel(QUEUE);
        let logs = Logs {
            queue,
            lost: Arc::default(),
            flushed: Arc::new(std::sync::Mutex::new(sync_channel(1).1)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(logs.follow("dovecot", printed));
        let line = |item| match item {
            Item::Printed(_, "dovecot", line) => line,
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

    #[test]
    fn lost_lines_are_told_once_they_can_be() {
        let (stdout, lines) = sync_channel(2);
        let lost = Arc::new(AtomicU64::new(0));
        let router = Router {
            stdout,
            lost: Arc::clone(&lost),
            flushed: sync_channel(1).0,
            time_zone: TimeZone::UTC,
            host: String::new(),
            hints: Hints::default(),
            mail_log: None,
            dovecot_log: None,
            last: BTreeMap::new(),
        };
        for _ in 0..1_000 {
            router.tell_lost();
            router.own(Timestamp::now(), "x");
        }
        assert_eq!(lost.load(Ordering::Relaxed), 998);
        lines.try_iter().for_each(drop);
        router.tell_lost();
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        let Ok(Line::Text(told)) = lines.try_recv() else {
            panic!("nothing was told");
        };
        assert!(told.contains(" 998 log lines were lost"), "{told}");
    }
}
