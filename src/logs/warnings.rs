//! The last lines that are warnings or errors, of the daemons and of our own, for `mailroom status` and the status page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many are remembered.
const MOST: usize = 20;

/// A line that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// When it was logged, in seconds since 1970.
    pub time: i64,
    /// Who says it: a daemon, or `mailroom`.
    pub service: String,
    /// What it says.
    pub text: String,
}

/// The last of them. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Arc<Mutex<VecDeque<Warning>>>);

impl Warnings {
    /// Remembers one more. What is said again and again is remembered once, with its last time.
    pub(super) fn add(&self, at: Timestamp, service: &str, text: &str) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.retain(|known| known.service != service || known.text != text);
        if warnings.len() == MOST {
            warnings.pop_front();
        }
        warnings.push_back(Warning {
            time: at.as_second(),
            service: service.to_owned(),
            text: text.to_owned(),
        });
    }

    /// All that are remembered, the newest last.
    pub(super) fn all(&self) -> Vec<Warning> {
        let warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_each_once() {
        let warnings = Warnings::default();
        for number in 0..MOST + 2 {
            warnings.add(Timestamp::UNIX_EPOCH, "postfix", &format!("warning {number}"));
        }
        warnings.add(Timestamp::MAX, "postfix", "warning 5");
        let all = warnings.all();
        assert_eq!(
            (all.len(), &*all[0].text, &*all[MOST - 1].text),
            (MOST, "warning 2", "warning 5")
        );
        assert!(all[MOST - 1].time > 0);
    }
}
