//! The writer to standard output, and the queue to it. The reader of our standard output may stop reading: then the
//! writer blocks, the queue fills, and further lines are lost and counted. Nothing else waits for it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::queue::Lost;

/// Lines that fit in the queue.
const LENGTH: usize = 4_096;

/// What the writer is given: a line, or the answer to give once all before it is written.
pub(super) enum Line {
    Text(String),
    Flush(SyncSender<()>),
}

/// The sending end.
pub(super) struct Stdout {
    lines: SyncSender<Line>,
    lost: Lost,
}

/// Both ends.
pub(super) fn queue(lost: Lost) -> (Stdout, Receiver<Line>) {
    with_length(LENGTH, lost)
}

/// As [`queue`], with another length.
pub(super) fn with_length(length: usize, lost: Lost) -> (Stdout, Receiver<Line>) {
    let (lines, receiver) = sync_channel(length);
    (Stdout { lines, lost }, receiver)
}

impl Stdout {
    /// Prints a line, or counts it as lost.
    pub(super) fn print(&self, line: String) {
        if !self.try_print(line) {
            self.lost.add(1);
        }
    }

    /// Prints a line; false where it does not fit.
    pub(super) fn try_print(&self, line: String) -> bool {
        self.lines.try_send(Line::Text(line)).is_ok()
    }

    /// Answers once all that was printed before is written.
    pub(super) fn flush(&self, done: &SyncSender<()>) {
        // A full queue means that standard output blocks: then there is nothing to wait for.
        if self.lines.try_send(Line::Flush(done.clone())).is_err() {
            let _ = done.try_send(());
        }
    }
}

/// Writes what comes out of the queue.
pub(super) fn write(lines: &Receiver<Line>) {
    let mut stdout = io::stdout();
    while let Ok(line) = lines.recv() {
        match line {
            // A closed standard output is no reason to stop: the files still get their lines.
            Line::Text(text) => drop(stdout.write_all(text.as_bytes())),
            Line::Flush(done) => {
                let _ = stdout.flush();
                let _ = done.try_send(());
            }
        }
    }
}
