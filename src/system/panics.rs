//! Panics: told in one line, counted, and what panicked begins again. They do not take the mail server with them.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{JoinHandle, spawn_local};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// How many there were.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Counts every panic and tells it on standard error, without a stack trace.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("mailroom: internal error {count}: {}", describe(panic));
    }));
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

/// Starts a thread whose work begins again when it panics: what it works on has to outlive it.
pub fn keep_thread(name: &'static str, mut work: impl FnMut() + Send + 'static) -> std::io::Result<()> {
    let again = move || while contain(&mut work).is_none() {};
    std::thread::Builder::new().name(name.to_owned()).spawn(again).map(drop)
}

/// Starts a task, on the current `LocalSet`, whose work begins again when it panics.
pub fn keep<F: Future<Output = ()> + 'static>(work: impl Fn() -> F + 'static) -> JoinHandle<()> {
    spawn_local(async move { while spawn_local(work()).await.is_err_and(|error| error.is_panic()) {} })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn what_panics_begins_again_and_is_counted() {
        install_hook();
        let before = count();
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut runs = 0;
        keep_thread("panicking", move || {
            runs += 1;
            assert!(runs > 2, "on purpose");
            sender.send(runs).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(30)), Ok(3));

        let runs = Rc::new(Cell::new(0));
        let counter = Rc::clone(&runs);
        let work = move || {
            counter.set(counter.get() + 1);
            let run = counter.get();
            async move { assert!(run > 2, "on purpose") }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async { keep(work).await.unwrap() });
        assert_eq!(runs.get(), 3);
        assert_eq!(contain(|| panic!("on purpose")), None::<()>);
        assert!(count() >= before + 5);
    }
}
