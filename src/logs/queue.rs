//! The queue to the router. It is bounded: what does not fit is lost and counted. Sending does not wait, but for that of the receiver,
//! which gives the router a moment: a flood of lines is faster than any router, and those who flood may wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::Level;

use super::Configuration;

/// Lines that fit: some seconds of a busy server.
const LENGTH: usize = 16_384;

/// What the router is given. The queue has room for many from the start, so the large ones are in boxes.
pub(super) enum Item {
    /// A datagram from /dev/log, and when it arrived.
    Syslog(Timestamp, Vec<u8>),
    /// A line of ours.
    Own(Box<Own>),
    /// A line that a daemon printed.
    Printed(Box<Printed>),
    /// What the settings say about logs.
    Configure(Box<Configuration>),
    /// Show the last lines of this service again.
    Repeat(&'static str),
    /// Open the log files anew: somebody may have moved them away.
    Reopen,
}

/// A line that a daemon printed.
#[derive(Debug)]
pub(super) struct Printed {
    /// When it was read.
    pub(super) at: Timestamp,
    /// Whose it is.
    pub(super) service: &'static str,
    /// The line.
    pub(super) line: Vec<u8>,
}

/// A line of ours.
#[derive(Debug)]
pub(super) struct Own {
    /// When it was said.
    pub(super) at: Timestamp,
    /// How important it is.
    pub(super) level: Level,
    /// The line.
    pub(super) text: String,
    /// What it speaks of, such as `service` and `pid`; `step` is the span that it was said in.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// The sending end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    items: SyncSender<Item>,
    lost: Lost,
}

impl Queue {
    /// Both ends.
    pub(super) fn new() -> (Queue, Receiver<Item>) {
        let (items, receiver) = sync_channel(LENGTH);
        let lost = Lost::default();
        (Queue { items, lost }, receiver)
    }

    /// Puts an item in, or counts it as lost.
    pub(super) fn send(&self, item: Item) {
        if self.items.try_send(item).is_err() {
            self.lost.add(1);
        }
    }

    /// The same for the receiver.
    pub(super) fn patient(&self) -> Patient {
        Patient {
            queue: self.clone(),
            is_stuck: false,
        }
    }

    /// The count of what was lost.
    pub(super) fn lost(&self) -> Lost {
        self.lost.clone()
    }
}

/// The sending end that waits, as long as the router takes what is in the queue. Where it does not, as while a disk hangs, the daemons
/// must not stand still: from then on what does not fit is lost at once, until there is room again.
pub(super) struct Patient {
    queue: Queue,
    is_stuck: bool,
}

/// Longest wait for room.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two looks for it.
const LOOK: Duration = Duration::from_micros(200);

impl Patient {
    /// Puts an item in, or counts it as lost.
    pub(super) fn send(&mut self, item: Item) {
        let Err(TrySendError::Full(mut item)) = self.queue.items.try_send(item) else {
            self.is_stuck = false;
            return;
        };
        let begun = Instant::now();
        while !self.is_stuck {
            sleep(LOOK);
            match self.queue.items.try_send(item) {
                Err(TrySendError::Full(again)) => item = again,
                _ => return,
            }
            self.is_stuck = begun.elapsed() >= PATIENCE;
        }
        self.queue.lost.add(1);
    }
}

/// How many lines were lost since that was last logged. All clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost(Arc<AtomicU64>);

impl Lost {
    /// Counts some more.
    pub(super) fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }

    /// Whether there is nothing to log.
    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The count, which begins at zero again.
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let (queue, items) = Queue::new();
        for _ in 0..LENGTH + 3 {
            queue.send(Item::Reopen);
        }
        assert_eq!((queue.lost().take(), queue.lost().take()), (3, 0));
        assert_eq!(items.try_iter().count(), LENGTH);
    }

    #[test]
    fn the_receiver_waits_for_a_router_that_works_and_for_no_other() {
        let (queue, items) = Queue::new();
        let mut patient = queue.patient();
        let router = std::thread::spawn(move || {
            let taken = items.iter().take(2 * LENGTH).count();
            (taken, items)
        });
        for _ in 0..2 * LENGTH {
            patient.send(Item::Reopen);
        }
        let (taken, items) = router.join().unwrap();
        assert_eq!((taken, queue.lost().take()), (2 * LENGTH, 0));
        let begun = Instant::now();
        for _ in 0..LENGTH + 1_000 {
            patient.send(Item::Reopen);
        }
        assert!(begun.elapsed() < 20 * PATIENCE, "it waits once, and not for each line");
        assert_eq!(queue.lost().take(), 1_000);
        assert_eq!(items.try_iter().count(), LENGTH);
    }
}
