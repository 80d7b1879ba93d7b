//! The router: decides what becomes of each item of the queue.
//!
//! It knows no daemon. The first daemon's [`LogLines`] that calls a line's program its own says the line's file and service,
//! whether it is a health probe's, and what it means. Lines of no daemon go to the general mail log and are not
//! remembered. Lines are written together, some milliseconds after they came: a line costs no system call of its own.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Level;

use super::bare::{Bare, BareSessions, End, Waiting};
use super::fields::Fields;
use super::files::Files;
use super::formats::Formatter;
use super::hints::Hints;
use super::lines::{LogLines, Meaning};
use super::mask::Mask;
use super::queue::{Item, Lost, Own};
use super::record::{Record, escape};
use super::stdout::Stdout;
use super::warnings::Warnings;
use super::{Configuration, FLUSH_MARKER};
use crate::layout::PROBE_ADDRESS;
use crate::metrics::Metrics;
use crate::secrets::HIDDEN;
use crate::values::counted;

/// Items that are taken at once.
const BATCH: usize = 1_024;
/// Lines are written after that time, or when they are that many.
const WRITING: Duration = Duration::from_millis(10);
const MANY: u64 = 512;
/// Fewer than that are little.
const FEW: usize = 64;
/// How long items gather: woken for each line, the router would spend most of its time on being woken.
const GATHERING: Duration = Duration::from_millis(1);
/// Between two lines that say how many were lost, and between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// Lines of each service that are shown again when it has failed too often.
const LAST_LINES: usize = 20;

pub(super) struct Router {
    lines: Vec<LogLines>,
    /// The path of the file for lines of no daemon.
    general: &'static str,
    files: Files,
    stdout: Stdout,
    /// What is to be printed, and how many lines that is.
    printed: (String, u64),
    /// Since when lines wait to be written.
    since: Option<Instant>,
    lost: Lost,
    /// When the log last said how many.
    told: Option<Instant>,
    flushed: SyncSender<()>,
    meanings: UnboundedSender<(&'static str, Meaning)>,
    metrics: Metrics,
    warnings: Warnings,
    formatter: Formatter,
    mask: Option<Mask>,
    has_files: bool,
    hints: Hints,
    bare: BareSessions,
    /// From where health probes come.
    probe_address: &'static str,
    /// The last lines of each service.
    last: BTreeMap<&'static str, VecDeque<String>>,
}

impl Router {
    /// Opens no file before the settings are there.
    pub(super) fn new(
        lines: Vec<LogLines>,
        general: &'static str,
        stdout: Stdout,
        lost: Lost,
        flushed: SyncSender<()>,
        meanings: UnboundedSender<(&'static str, Meaning)>,
        (metrics, warnings): (Metrics, Warnings),
    ) -> Router {
        Router {
            lines,
            general,
            files: Files::default(),
            stdout,
            printed: (String::new(), 0),
            since: None,
            lost,
            told: None,
            flushed,
            meanings,
            metrics,
            warnings,
            formatter: Formatter::default(),
            mask: None,
            has_files: true,
            hints: Hints::default(),
            bare: BareSessions::default(),
            probe_address: PROBE_ADDRESS,
            last: BTreeMap::new(),
        }
    }

    /// Works until the queue is closed.
    pub(super) fn run(&mut self, items: &Receiver<Item>) {
        loop {
            let next = match self.patience() {
                None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => items.recv_timeout(patience),
            };
            match next {
                Ok(item) => self.gather(item, items),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            self.report_lost();
            let waited = self.bare.due(Instant::now());
            if !waited.is_empty() {
                self.since.get_or_insert_with(Instant::now);
                self.show_all(waited);
            }
            if self.is_due() {
                self.write();
            }
        }
    }

    /// How long nothing has to be done without another item. A loss is told soon, also when no line comes any more.
    fn patience(&self) -> Option<Duration> {
        let unwritten = self.since.map(|since| WRITING.saturating_sub(since.elapsed()));
        let has_more = !self.lost.is_none() || self.bare.is_waiting();
        unwritten.or_else(|| has_more.then_some(AGAIN))
    }

    /// Lines have waited for long enough, or are many.
    fn is_due(&self) -> bool {
        let have_waited = self.since.is_some_and(|since| since.elapsed() >= WRITING);
        have_waited || self.printed.1 >= MANY
    }

    /// Takes what is there and, where that is little, what comes within a moment.
    fn gather(&mut self, item: Item, items: &Receiver<Item>) {
        self.since.get_or_insert_with(Instant::now);
        self.take(item);
        let mut take = || items.try_iter().take(BATCH).map(|item| self.take(item)).count();
        if take() < FEW {
            sleep(GATHERING);
            take();
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Syslog(_, datagram) if datagram == FLUSH_MARKER => self.flush(),
            Item::Syslog(at, datagram) => self.syslog(at, Record::parse(&datagram)),
            Item::Own(own) => self.own(*own),
            Item::Printed(printed) => self.printed(printed.at, printed.service, &printed.line),
            Item::Configure(configuration) => self.configure(*configuration),
            Item::Repeat(service) => self.repeat(service),
            Item::Reopen => self.open(),
        }
    }

    /// Writes what was gathered.
    fn write(&mut self) {
        self.since = None;
        self.files.write();
        let (text, lines) = std::mem::take(&mut self.printed);
        if lines > 0 {
            self.stdout.print(text, lines);
        }
    }

    /// Answers when all before is written. What was lost since is told now: this may be the end.
    fn flush(&mut self) {
        let waiting = self.bare.all();
        self.show_all(waiting);
        self.write();
        self.told = None;
        self.report_lost();
        self.stdout.flush(&self.flushed);
    }

    fn configure(&mut self, configuration: Configuration) {
        self.formatter = Formatter::new(configuration.time_zone, configuration.host, configuration.format);
        self.hints = Hints::new(configuration.trusted);
        self.probe_address = configuration.probe_address;
        self.mask = configuration.mask;
        self.has_files = configuration.files;
        self.open();
    }

    fn open(&mut self) {
        if self.has_files {
            let paths = self.lines.iter().map(|lines| lines.file).chain([self.general]);
            self.files.open(paths);
        } else {
            self.files.close();
        }
    }

    /// Logs how many lines were lost, as soon as that line itself can be written, but not between each two lines of a flood.
    fn report_lost(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < AGAIN) {
            return;
        }
        let lost = self.lost.take();
        if lost == 0 {
            return;
        }
        let own = Own {
            at: Timestamp::now(),
            level: Level::WARN,
            text: format!(
                "{} lost: more came than could be written",
                counted(lost, "log line was", "log lines were")
            ),
            fields: vec![("lost", lost.to_string())],
        };
        let mut line = String::new();
        self.formatter.own(&own, &mut line);
        if self.stdout.try_print(line) {
            self.told = Some(Instant::now());
            self.metrics.lines_lost(lost);
            self.warnings.add(own.at, "mailroom", &own.text);
        } else {
            self.lost.add(lost);
        }
    }

    fn own(&mut self, mut own: Own) {
        if let Some(mask) = &self.mask {
            own.text = mask.apply(&own.text);
            own.fields.iter_mut().for_each(|(_, value)| *value = mask.apply(value));
        }
        if own.level <= Level::WARN {
            self.warnings.add(own.at, "mailroom", &own.text);
        }
        self.formatter.own(&own, &mut self.printed.0);
        self.printed.1 += 1;
    }

    fn syslog(&mut self, at: Timestamp, mut record: Record) {
        let tag = record.text.len() - record.message().len();
        record.text = self.without_credentials(record.text, tag);
        let owner = self.owner(record.program());
        if owner.is_some_and(|owner| (owner.is_probe)(&record, self.probe_address)) {
            return;
        }
        if let Some(owner) = owner {
            self.metrics.lines(1);
            (owner.counts)(&record, &mut |event| self.metrics.count(&event));
            self.interpret(owner, &record);
        }
        match owner.and_then(|owner| (owner.bare)(&record)) {
            Some(Bare::Open) => self.bare.wait(at, record, Instant::now()),
            Some(Bare::Ended(address)) => self.bare_session(at, record, address),
            None => {
                let before = self.bare.before(&record);
                self.show_all(before);
                self.show(at, record);
            }
        }
    }

    /// The end of a connection that has said nothing: its other lines are not shown.
    fn bare_session(&mut self, at: Timestamp, record: Record, address: IpAddr) {
        self.bare.before(&record);
        if let End::Shown(more) = self.bare.ended(address, Instant::now()) {
            self.show(at, record);
            if more > 0 {
                let connections = counted(more, "connection", "connections");
                tracing::info!("{connections} more from {address} said nothing within an hour, and have no lines");
            }
        }
    }

    fn show_all(&mut self, lines: Vec<Waiting>) {
        for Waiting { at, record } in lines {
            self.show(at, record);
        }
    }

    /// The daemon whose program it is.
    fn owner(&self, program: &str) -> Option<LogLines> {
        self.lines.iter().find(|lines| (lines.is_own)(program)).copied()
    }

    fn show(&mut self, at: Timestamp, mut record: Record) {
        let owner = self.owner(record.program());
        if let Some(mask) = &self.mask {
            record.text = mask.apply(&record.text);
        }
        let record = &record;
        let service = owner.map_or(record.program(), |owner| owner.service);
        if record.level <= Level::WARN {
            self.warnings.add(at, service, record.message());
        }
        if let Some(lines) = self.files.lines(owner.map_or(self.general, |owner| owner.file)) {
            self.formatter.text(at, &record.text, lines);
        }
        let fields = owner.map_or(
            (|_| Fields::default()) as for<'a> fn(&'a Record) -> Fields<'a>,
            |owner| owner.fields,
        );
        let begin = self.printed.0.len();
        self.formatter.syslog(at, service, record, fields, &mut self.printed.0);
        self.printed.1 += 1;
        if let Some(owner) = owner {
            remember(&mut self.last, owner.service, &self.printed.0[begin..]);
        }
    }

    /// Whatever program quotes a client, its password is shown nowhere. The message begins behind a tag of that length.
    fn without_credentials(&self, mut text: String, tag: usize) -> String {
        for lines in &self.lines {
            if let Some(part) = (lines.credentials)(&text[tag..]) {
                text.replace_range(tag + part.start..tag + part.end, HIDDEN);
            }
        }
        text
    }

    /// Passes on what a daemon's line means, and explains it where it needs that.
    fn interpret(&mut self, owner: LogLines, record: &Record) {
        if let Some(meaning) = (owner.means)(record) {
            let _ = self.meanings.send((owner.service, meaning));
        }
        let trouble = (owner.trouble)(record.message());
        if let Some(hint) = trouble.and_then(|trouble| self.hints.explain(&trouble, Instant::now())) {
            // An event like any other line of ours: it comes back through the queue.
            tracing::warn!(service = owner.service, "{hint}");
        }
    }

    fn printed(&mut self, at: Timestamp, service: &'static str, line: &[u8]) {
        let mut text = self.without_credentials(escape(line), 0);
        if text.is_empty() {
            return;
        }
        if let Some(mask) = &self.mask {
            text = mask.apply(&text);
        }
        let begin = self.printed.0.len();
        self.formatter.printed(at, service, &text, &mut self.printed.0);
        self.printed.1 += 1;
        remember(&mut self.last, service, &self.printed.0[begin..]);
    }

    fn repeat(&mut self, service: &'static str) {
        for line in self.last.get(service).into_iter().flatten() {
            // An object stays one; text is set off.
            let indent = if line.starts_with('{') { "" } else { "    " };
            self.printed.0.push_str(indent);
            self.printed.0.push_str(line);
            self.printed.1 += 1;
        }
    }
}

/// Remembers a line in the place of the oldest.
fn remember(last: &mut BTreeMap<&'static str, VecDeque<String>>, service: &'static str, line: &str) {
    let last = last.entry(service).or_default();
    let mut place = if last.len() == LAST_LINES {
        last.pop_front().unwrap_or_default()
    } else {
        String::new()
    };
    place.clear();
    place.push_str(line);
    last.push_back(place);
}

#[cfg(test)]
mod tests {
    use super::super::queue::Printed;
    use super::*;
    use std::path::Path;
    use std::sync::mpsc::sync_channel;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use crate::logs::stdout::{self, Output};

    /// A router, what it prints, and what it reports.
    struct Bench {
        router: Router,
        printed: Output,
        meanings: UnboundedReceiver<(&'static str, Meaning)>,
    }

    fn bench(length: usize, lines: Vec<LogLines>, general: &'static str) -> Bench {
        let lost = Lost::default();
        let (stdout, printed) = stdout::with_length(length, lost.clone());
        let (sender, meanings) = unbounded_channel();
        let mut router = Router::new(
            lines,
            general,
            stdout,
            lost,
            sync_channel(1).0,
            sender,
            <(Metrics, Warnings)>::default(),
        );
        router.open();
        Bench {
            router,
            printed,
            meanings,
        }
    }

    impl Bench {
        /// Takes an item, and writes what follows from it.
        fn take(&mut self, item: Item) {
            self.router.report_lost();
            self.router.take(item);
            self.router.write();
        }

        fn syslog(&mut self, datagram: &str) {
            self.take(Item::Syslog(Timestamp::UNIX_EPOCH, datagram.as_bytes().to_vec()));
        }

        fn printed(&self) -> Vec<String> {
            self.printed.lines()
        }
    }

    fn printed(line: &[u8]) -> Item {
        Item::Printed(Box::new(Printed {
            at: Timestamp::UNIX_EPOCH,
            service: "one",
            line: line.to_vec(),
        }))
    }

    fn one(file: &'static str) -> LogLines {
        LogLines {
            service: "one",
            file,
            is_own: |program| program.starts_with("one"),
            credentials: |message| message.find("secret").map(|at| at..message.len()),
            is_probe: |record, _| record.message() == "probe",
            trouble: |_| None,
            bare: |_| None,
            fields: |_| Fields::default(),
            counts: |_, _| {},
            means: |record| (record.message() == "reload").then_some(Meaning::ReloadBegins),
        }
    }

    fn path(directory: &tempfile::TempDir, name: &str) -> &'static str {
        directory.path().join(name).to_str().unwrap().to_owned().leak()
    }

    #[test]
    fn each_line_goes_to_its_file_and_service() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second, general) = (
            path(&directory, "one"),
            path(&directory, "two"),
            path(&directory, "general"),
        );
        let two = LogLines {
            service: "two",
            is_own: |program| program == "two",
            ..one(second)
        };
        let mut bench = bench(100, vec![one(first), two], general);
        for line in ["one/a[1]: x", "two: y", "marker: z", "one/a[1]: probe", "marker: probe"] {
            bench.syslog(&format!("<22>Nov 22 14:33:32 {line}"));
        }
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let stamp = "Jan  1 00:00:00 localhost";
        assert_eq!(read(first), format!("{stamp} one/a[1]: x\n"));
        assert_eq!(read(second), format!("{stamp} two: y\n"));
        assert_eq!(read(general), format!("{stamp} marker: z\n{stamp} marker: probe\n"));
        assert_eq!(bench.printed().len(), 4);
        assert_eq!(bench.router.last.keys().collect::<Vec<_>>(), [&"one", &"two"]);
    }

    #[test]
    fn a_shared_file_is_opened_once_and_may_be_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = path(&directory, "mail.log");
        let mut bench = bench(100, vec![one(file)], file);
        bench.syslog("one: x");
        bench.syslog("marker: y");
        std::fs::rename(file, directory.path().join("moved")).unwrap();
        bench.take(Item::Reopen);
        bench.syslog("one: z");
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&directory.path().join("moved")), lines(Path::new(file))), (2, 1));
    }

    #[test]
    fn meanings_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let file = path(&directory, "one");
        let mut bench = bench(100, vec![one(file)], file);
        bench.syslog("one/script: reload");
        bench.syslog("marker: reload");
        bench.syslog("one/script: other");
        assert_eq!(bench.meanings.try_recv(), Ok(("one", Meaning::ReloadBegins)));
        assert!(bench.meanings.try_recv().is_err());
    }

    #[test]
    fn the_last_lines_are_shown_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = path(&directory, "one");
        let mut bench = bench(100, vec![one(file)], file);
        for line in 0..LAST_LINES {
            bench.syslog(&format!("one: {line}"));
        }
        bench.take(printed(b"printed\n"));
        bench.printed();
        bench.take(Item::Repeat("one"));
        bench.take(Item::Repeat("unknown"));
        let printed = bench.printed();
        assert_eq!(printed.len(), LAST_LINES);
        assert!(
            printed[0].starts_with("    Jan  1") && printed[0].ends_with(" one: 1\n"),
            "{printed:?}"
        );
        assert!(
            printed[LAST_LINES - 1].ends_with(" localhost one: printed\n"),
            "{printed:?}"
        );
    }

    #[test]
    fn credentials_are_shown_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let (file, general) = (path(&directory, "one"), path(&directory, "general"));
        let mut bench = bench(100, vec![one(file)], general);
        bench.syslog("one: my secret 1");
        bench.syslog("marker: my secret 2");
        bench.take(printed(b"my secret 3\n"));
        bench.take(Item::Repeat("one"));
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let all = [bench.printed().concat(), read(file), read(general)].concat();
        assert_eq!(all.matches("my <hidden>\n").count(), 7, "{all}");
        assert!(!all.contains("secret"), "{all}");
    }

    #[test]
    fn lost_lines_are_counted_and_logged_later() {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = bench(2, Vec::new(), path(&directory, "general"));
        let own = || {
            Item::Own(Box::new(Own {
                at: Timestamp::UNIX_EPOCH,
                level: Level::INFO,
                text: "x".to_owned(),
                fields: Vec::new(),
            }))
        };
        for _ in 0..1_000 {
            bench.take(own());
        }
        assert_eq!(bench.printed(), ["[POSTFIX] 1970-01-01 00:00:00 x\n"; 2]);
        bench.take(own());
        let printed = bench.printed();
        assert!(printed[0].contains(" 998 log lines were lost: "), "{printed:?}");
        assert!(bench.router.lost.is_none());
    }

    #[test]
    fn a_loss_is_logged_though_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let Bench {
            mut router, printed, ..
        } = bench(1, Vec::new(), path(&directory, "general"));
        for text in ["a", "b", "c"] {
            router.syslog(Timestamp::UNIX_EPOCH, Record::parse(text.as_bytes()));
            router.write();
        }
        let (sender, items) = sync_channel(1);
        let thread = std::thread::spawn(move || router.run(&items));
        let next = || printed.next().unwrap();
        assert!(next().ends_with(" a\n"));
        assert!(next().contains(" 2 log lines were lost: "));
        drop(sender);
        thread.join().unwrap();
    }
}
