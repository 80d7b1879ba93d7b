//! Our own lines: `tracing` events of this crate, taken into the queue by a layer on a `Registry`.
//!
//! The event's message is the text of the line; its other fields are carried along, with the name of the innermost span as
//! `step`. A threshold, set by MAILROOM_LOG_LEVEL, drops events that are not important enough. Events of other crates are
//! not taken. Nothing here waits or panics, so an event may come from anywhere, a panic hook included. Where no layer is
//! installed, as in `mailroom check` and in unit tests, events vanish.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::subscriber::{Interest, Subscriber, set_global_default};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::queue::{Item, Own, Queue};

/// The least important level that is shown; INFO, until it is set. All clones are one.
#[derive(Debug, Clone)]
pub(super) struct Threshold(Arc<AtomicU8>);

impl Default for Threshold {
    fn default() -> Threshold {
        Threshold(Arc::new(AtomicU8::new(rank(Level::INFO))))
    }
}

impl Threshold {
    /// Shows this level and the more important ones from here on.
    pub(super) fn set(&self, level: Level) {
        self.0.store(rank(level), Ordering::Relaxed);
    }

    fn shows(&self, level: Level) -> bool {
        rank(level) <= self.0.load(Ordering::Relaxed)
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Takes this process's events from here on. An error where they are taken already.
pub(super) fn install(queue: Queue, threshold: Threshold) -> io::Result<()> {
    let layer = OwnLines { queue, threshold };
    set_global_default(Registry::default().with(layer)).map_err(io::Error::other)
}

struct OwnLines {
    queue: Queue,
    threshold: Threshold,
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for OwnLines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The threshold may change, so it is asked at each event.
        if is_ours(metadata.target()) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // A span is no line: an error within it has its name, whatever the threshold.
        is_ours(metadata.target()) && (metadata.is_span() || self.threshold.shows(*metadata.level()))
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        if let Some(span) = context.event_span(event) {
            words.fields.push(("step", span.name().to_owned()));
        }
        self.queue.send(Item::Own(Box::new(Own {
            at: Timestamp::now(),
            level: *event.metadata().level(),
            text: words.text,
            fields: words.fields,
        })));
    }
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(env!("CARGO_PKG_NAME"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What an event says.
#[derive(Default)]
struct Words {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Words {
    fn add(&mut self, field: &Field, words: fmt::Arguments<'_>) {
        // Not format!, which panics when a value cannot be shown.
        let mut text = String::new();
        let _ = text.write_fmt(words);
        match field.name() {
            "message" => self.text = text,
            name => self.fields.push((name, text)),
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;
    use tracing::subscriber::with_default;

    /// The lines of what is said in `work`.
    fn said(level: Level, work: impl FnOnce()) -> Vec<Own> {
        let (queue, items): (Queue, Receiver<Item>) = Queue::new();
        let threshold = Threshold::default();
        threshold.set(level);
        with_default(Registry::default().with(OwnLines { queue, threshold }), work);
        let own = |item| match item {
            Item::Own(own) => *own,
            _ => panic!("nothing else was sent"),
        };
        items.try_iter().map(own).collect()
    }

    fn all_levels() {
        tracing::error!("1");
        tracing::warn!("2");
        tracing::info!("3");
        tracing::debug!("4");
        tracing::trace!("5");
    }

    #[test]
    fn the_threshold_drops_what_is_less_important() {
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for (index, level) in all.into_iter().enumerate() {
            let lines = said(level, all_levels);
            let levels: Vec<Level> = lines.iter().map(|line| line.level).collect();
            assert_eq!(levels, all[..=index], "{level}");
        }
        assert!(Threshold::default().shows(Level::INFO) && !Threshold::default().shows(Level::DEBUG));
    }

    #[test]
    fn a_threshold_may_change_while_it_is_used() {
        let (queue, items) = Queue::new();
        let threshold = Threshold::default();
        let layer = OwnLines {
            queue,
            threshold: threshold.clone(),
        };
        with_default(Registry::default().with(layer), || {
            for level in [Level::ERROR, Level::TRACE, Level::WARN] {
                threshold.set(level);
                all_levels();
            }
        });
        assert_eq!(items.try_iter().count(), 1 + 5 + 2);
    }

    #[test]
    fn text_and_fields() {
        let lines = said(Level::INFO, || {
            let path = std::path::Path::new("/a b");
            tracing::info!(service = "postfix", pid = 7, path = %path.display(), "{} is \"ready\"", "postfix");
        });
        assert_eq!(lines[0].text, "postfix is \"ready\"");
        let fields: Vec<(&str, &str)> = lines[0].fields.iter().map(|(name, text)| (*name, &**text)).collect();
        assert_eq!(fields, [("service", "postfix"), ("pid", "7"), ("path", "/a b")]);
    }

    #[test]
    fn the_innermost_span_is_the_step() {
        let lines = said(Level::ERROR, || {
            tracing::info_span!("reload").in_scope(|| {
                tracing::info_span!("provision").in_scope(|| tracing::error!("a"));
                tracing::error!("b");
            });
            tracing::error!("c");
        });
        let steps: Vec<Option<&str>> = lines
            .iter()
            .map(|line| line.fields.first().map(|(_, step)| &**step))
            .collect();
        assert_eq!(steps, [Some("provision"), Some("reload"), None]);
    }

    #[test]
    fn events_of_others_are_not_taken() {
        let lines = said(Level::TRACE, || {
            tracing::error!(target: "rustls::client", "x");
            tracing::error!(target: "mailroom_of_others", "x");
            tracing::error!(target: "mailroom", "ours");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "ours");
    }
}
