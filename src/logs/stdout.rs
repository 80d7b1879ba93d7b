//! The writer to standard output, and the queue to it. The reader of our standard output may stop reading: then the
//! writer blocks, the queue fills, and further lines are lost and counted. Nothing else waits for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::queue::Lost;

/// What the queue holds at most: bytes, and texts of whole lines.
const BYTES: usize = 2 << 20;
const TEXTS: usize = 4_096;

/// What the writer is given: lines, or the answer to give once all before it is written.
pub(super) enum Item {
    /// Whole lines.
    Lines(String),
    /// Answer when all before is written.
    Flush(SyncSender<()>),
}

/// The sending end.
pub(super) struct Stdout {
    items: SyncSender<Item>,
    /// Bytes in the queue.
    waiting: Arc<AtomicUsize>,
    lost: Lost,
}

/// The receiving end.
pub(super) struct Output {
    items: Receiver<Item>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends.
pub(super) fn queue(lost: Lost) -> (Stdout, Output) {
    with_length(TEXTS, lost)
}

/// As [`queue`], with room for another number of texts.
pub(super) fn with_length(length: usize, lost: Lost) -> (Stdout, Output) {
    let (sender, items) = sync_channel(length);
    let waiting = Arc::new(AtomicUsize::new(0));
    let stdout = Stdout {
        items: sender,
        waiting: Arc::clone(&waiting),
        lost,
    };
    (stdout, Output { items, waiting })
}

impl Stdout {
    /// Prints whole lines, so many of them, or counts them as lost.
    pub(super) fn print(&self, lines: String, count: u64) {
        if !self.try_print(lines) {
            self.lost.add(count);
        }
    }

    /// Prints whole lines; false where they do not fit.
    pub(super) fn try_print(&self, lines: String) -> bool {
        let length = lines.len();
        if self.waiting.load(Ordering::Relaxed) + length > BYTES {
            return false;
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        let is_sent = self.items.try_send(Item::Lines(lines)).is_ok();
        if !is_sent {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
        }
        is_sent
    }

    /// Answers once all that was printed before is written.
    pub(super) fn flush(&self, done: &SyncSender<()>) {
        // A full queue means that standard output blocks: then there is nothing to wait for.
        if self.items.try_send(Item::Flush(done.clone())).is_err() {
            let _ = done.try_send(());
        }
    }
}

impl Output {
    /// Writes what comes out of the queue, until nobody sends any more.
    pub(super) fn write(&self) {
        let mut stdout = io::stdout();
        while let Ok(item) = self.items.recv() {
            match item {
                Item::Lines(lines) => {
                    // A closed standard output is no reason to stop: the files still get their lines.
                    let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
                    self.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                }
                Item::Flush(done) => {
                    let _ = done.try_send(());
                }
            }
        }
    }

    /// The lines that wait, one by one.
    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<String> {
        let text = |item| match item {
            Item::Lines(lines) => lines,
            Item::Flush(_) => "flush\n".to_owned(),
        };
        let texts: Vec<String> = self.items.try_iter().map(text).collect();
        texts.concat().split_inclusive('\n').map(str::to_owned).collect()
    }

    /// The next lines, within some time.
    #[cfg(test)]
    pub(super) fn next(&self) -> Option<String> {
        match self.items.recv_timeout(std::time::Duration::from_secs(10)) {
            Ok(Item::Lines(lines)) => Some(lines),
            _ => None,
        }
    }
}
