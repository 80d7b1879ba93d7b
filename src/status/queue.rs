//! How many messages lie in each of Postfix's queues, and since when the oldest does (qmgr(8)). Reads directories alone: a long queue
//! id begins with the time of arrival (postconf(5), `enable_long_queue_ids`), so a hundred thousand messages cost no stat(2). The
//! time of the file counts where the id is a short one.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::metrics::QueueName;

/// Digits of the number that a long queue id begins with: no vowels, so that no words come out.
const DIGITS: &[u8] = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
/// How many of them are the seconds, and how many the microseconds behind them, at least and at most.
const SECONDS: usize = 6;
const MICROSECONDS: usize = 4;
/// What stands between time and inode.
const SEPARATOR: u8 = b'z';
/// `hash_queue_depth` (postconf(5)) is 1 by default, and at most 16.
const DEEPEST: usize = 16;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// `active`, `deferred` and so on.
    pub name: QueueName,
    /// How many messages it holds.
    pub messages: u64,
    /// When the oldest arrived, in seconds since 1970.
    pub oldest: Option<i64>,
}

/// All queues below this directory.
pub(super) fn all(directory: &Path) -> Vec<Queue> {
    let queue = |name: &QueueName| {
        let mut queue = Queue {
            name: *name,
            messages: 0,
            oldest: None,
        };
        queue.count(&directory.join(name.word()), DEEPEST);
        queue
    };
    QueueName::ALL.iter().map(queue).collect()
}

impl Queue {
    /// Counts what is in a directory and, as far as queues are hashed, below it. What is gone when it is looked at is not there.
    fn count(&mut self, directory: &Path, deeper: usize) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && deeper > 0 => self.count(&entry.path(), deeper - 1),
                Ok(kind) if kind.is_file() => {
                    self.messages += 1;
                    self.oldest = self.oldest.into_iter().chain(arrival(&entry)).min();
                }
                _ => {}
            }
        }
    }
}

fn arrival(entry: &DirEntry) -> Option<i64> {
    let of_file = || {
        let modified = entry.metadata().ok()?.modified().ok()?;
        i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    };
    entry.file_name().to_str().and_then(of_id).or_else(of_file)
}

/// The time in a long queue id; `None` for a short one.
fn of_id(id: &str) -> Option<i64> {
    let (time, inode) = id.as_bytes().split_at_checked(SECONDS + MICROSECONDS)?;
    if inode.first() != Some(&SEPARATOR) {
        return None;
    }
    let value = |digit: &u8| DIGITS.iter().position(|known| known == digit);
    time[..SECONDS].iter().try_fold(0, |number, digit| {
        let digit = i64::try_from(value(digit)?).ok()?;
        Some(number * 52 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_hold_the_time_of_arrival() {
        // Seen with `postqueue -j`: "queue_id": "4gT6PR5gZZz1V", "arrival_time": 1795862999 and the like.
        assert_eq!(of_id("000001000Bz1V"), Some(1));
        assert_eq!(of_id("00000B0000z1V"), Some(10));
        assert_eq!(of_id("0000100000z1V"), Some(52));
        for short in ["9F2A31B2C", "B6C1E40", "4gT6PR5gZZ", ""] {
            assert_eq!(of_id(short), None, "{short}");
        }
    }

    #[test]
    fn hashed_queues_are_counted_with_their_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let deferred = directory.path().join("deferred");
        for (hash, id) in [("A", "0001000000z1V"), ("A", "00010B0000z1W"), ("B", "00000B0000z1X")] {
            fs::create_dir_all(deferred.join(hash)).unwrap();
            fs::write(deferred.join(hash).join(id), "").unwrap();
        }
        let queues = all(directory.path());
        let found: Vec<_> = queues
            .iter()
            .map(|queue| (queue.name.word(), queue.messages, queue.oldest))
            .collect();
        assert_eq!(found[3], ("deferred", 3, Some(10)));
        assert_eq!(
            found[0],
            ("maildrop", 0, None),
            "a directory that is not there holds nothing"
        );
    }
}
