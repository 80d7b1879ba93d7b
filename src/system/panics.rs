//! Panics: each is logged in one line and counted, and what panicked begins again. They do not take the mail server with
//! them. What the panicking work held, such as a message in hand, is lost.

use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Before what panicked begins again: what panics at once each time must not keep all others from their work.
const PAUSE: Duration = Duration::from_millis(10);

/// Counts every panic and logs it without a stack trace; on standard error where the logs have not been started.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!("internal error {count}: {}", describe(panic));
        // The layer of the logs only puts the line into a queue, without waiting: even a thread of theirs may panic.
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{text}");
        } else {
            // Not eprintln!, which panics when standard error is closed: a panic in here would be the end.
            let _ = writeln!(io::stderr(), "mailroom: {text}");
        }
    }));
}

/// How many there were.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let place = panic
        .location()
        .map(|place| format!("{}:{}", place.file(), place.line()));
    format!(
        "{} (thread {}, {})",
        panic.payload_as_str().unwrap_or("no message"),
        thread.name().unwrap_or("without a name"),
        place.unwrap_or_default()
    )
}

/// Does something once; `None` when it panicked.
pub fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// As [`contain`], for a future.
pub async fn contain_future<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match contain(|| work.as_mut().poll(context)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// Starts a thread whose work begins again when it panics: what it works on has to outlive it.
pub fn keep_thread(name: &'static str, mut work: impl FnMut() + Send + 'static) -> io::Result<()> {
    let again = move || {
        while contain(&mut work).is_none() {
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(again).map(drop)
}

/// Starts a task, on the current `LocalSet`, whose work begins again when it panics.
pub fn keep<F: Future<Output = ()> + 'static>(work: impl Fn() -> F + 'static) -> JoinHandle<()> {
    spawn_local(async move {
        while contain_future(work()).await.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn what_panics_begins_again_and_is_counted() {
        install_hook();
        let before = COUNT.load(Ordering::Relaxed);
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut runs = 0;
        keep_thread("panicking", move || {
            runs += 1;
            assert!(runs > 2, "on purpose");
            sender.send(runs).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(30)), Ok(3));

        let runs = Rc::new(Cell::new(0));
        let counter = Rc::clone(&runs);
        let work = move || {
            counter.set(counter.get() + 1);
            let run = counter.get();
            async move { assert!(run > 2, "on purpose") }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async { keep(work).await.unwrap() });
        assert_eq!(runs.get(), 3);
        assert_eq!(contain(|| panic!("on purpose")), None::<()>);
        assert!(COUNT.load(Ordering::Relaxed) >= before + 5);
    }
}
