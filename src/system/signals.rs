//! The signals that ask something of us.
//!
//! [`Signals::register`] installs a handler for every signal that matters, without a runtime; from then on a signal is kept
//! until [`Signals::listen`] reads it. There is one stream for all of them: a handler sets its signal's flag and writes a
//! byte to a socket, and one task on the `LocalSet` reads the socket and looks at the flags. No thread is needed.
//!
//! Limits: a signal that arrives twice before it is read is read once. Of a PID 1, the kernel drops signals that have
//! neither a handler nor are blocked: [`block_signals`] is for the time before handlers can be installed.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::panics;
use super::processes::Processes;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT, SIGQUIT, and SIGRTMIN+3, with which systemd stops a container.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLogs,
}

/// SIGRTMIN as programs see it: glibc keeps two for itself.
const RT_MIN: i32 = 34;
const RT_MAX: i32 = 64;

/// No process can change the first two; the other three are the Rust runtime's.
const LEFT_ALONE: [Signal; 5] = [
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGPIPE,
    Signal::SIGSEGV,
    Signal::SIGBUS,
];

const ASKING: [(i32, Asked); 6] = [
    (Signal::SIGTERM as i32, Asked::Stop),
    (Signal::SIGINT as i32, Asked::Stop),
    (Signal::SIGQUIT as i32, Asked::Stop),
    (RT_MIN + 3, Asked::Stop),
    (Signal::SIGHUP as i32, Asked::Reload),
    (Signal::SIGUSR1 as i32, Asked::ReopenLogs),
];

const CHILD: i32 = Signal::SIGCHLD as i32;

/// Their default is to end a process, as is that of all real-time signals, and another init may pass them on to us. A
/// handler ignores them; unlike SIG_IGN it is not inherited by what we start.
const MEANINGLESS: [Signal; 7] = [
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXCPU,
];

/// Keeps all signals waiting until [`Signals::register`] has handlers for them.
pub fn block_signals() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
}

/// Registered signals: what arrives from then on is kept until it is read.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    /// The reading end once more, for the runtime to wait on.
    arrivals: UnixStream,
}

impl Signals {
    /// All signals, for a process that stays. Whatever started us may have left signals blocked or ignored, for us and for
    /// all that we start: nothing of that remains.
    ///
    /// It opens file descriptors, so it comes after
    /// [`drop_inherited_descriptors`](super::processes::drop_inherited_descriptors).
    pub fn register() -> io::Result<Signals> {
        block_signals()?;
        for kind in Signal::iterator().filter(|kind| !LEFT_ALONE.contains(kind)) {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { nix::sys::signal::signal(kind, SigHandler::SigDfl) }?;
        }
        let signals = Signals::new(all())?;
        unblock_signals()?;
        Ok(signals)
    }

    /// SIGCHLD alone, for commands that soon end and may be interrupted.
    pub fn of_children() -> io::Result<Signals> {
        let signals = Signals::new([CHILD])?;
        unblock_signals()?;
        Ok(signals)
    }

    fn new(signals: impl IntoIterator<Item = i32>) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let arrivals = read.try_clone()?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
        Ok(Signals { delivery, arrivals })
    }

    /// Starts the task that reads signals, on the current `LocalSet`: the children that end are reaped, and there is an item
    /// for each signal that asks something.
    pub fn listen(self, processes: Processes) -> io::Result<UnboundedReceiver<Asked>> {
        self.deliver(move || processes.reap())
    }

    fn deliver(self, reap: impl Fn() + 'static) -> io::Result<UnboundedReceiver<Asked>> {
        let (sender, asked) = unbounded_channel();
        // Shared, so that a task that begins again after a panic finds what is still unread.
        let delivery = Rc::new(RefCell::new(self.delivery));
        let arrivals = Rc::new(tokio::net::UnixStream::from_std(self.arrivals)?);
        // A reaper that panics must not keep a stop from being heard.
        let reap = Rc::new(move || {
            let _ = panics::contain(&reap);
        });
        panics::keep(move || {
            let (sender, delivery) = (sender.clone(), Rc::clone(&delivery));
            let (arrivals, reap) = (Rc::clone(&arrivals), Rc::clone(&reap));
            async move {
                // Some children may have ended before this began.
                reap();
                loop {
                    let pending = delivery.borrow_mut().pending();
                    for signal in pending {
                        if signal == CHILD {
                            reap();
                        } else if let Some((_, meaning)) = ASKING.iter().find(|(kind, _)| *kind == signal) {
                            let _ = sender.send(*meaning);
                        }
                    }
                    if arrival(&arrivals).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(asked)
    }
}

/// Waits until a handler has written. What the bytes are does not matter: the flags say which signals arrived.
async fn arrival(arrivals: &tokio::net::UnixStream) -> io::Result<()> {
    arrivals.readable().await?;
    let mut bytes = [0; 64];
    // To the end, as the runtime speaks of new bytes only.
    while arrivals.try_read(&mut bytes).is_ok_and(|read| read > 0) {}
    Ok(())
}

fn all() -> impl Iterator<Item = i32> {
    let asking = ASKING.map(|(kind, _)| kind);
    let meaningless = MEANINGLESS.map(|kind| kind as i32);
    // One that is named twice is registered once.
    asking
        .into_iter()
        .chain(meaningless)
        .chain([CHILD])
        .chain(RT_MIN..=RT_MAX)
}

/// Lets signals come: those that were blocked, too.
fn unblock_signals() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;

    use nix::sys::signal::raise;
    use tokio::time::timeout;

    /// Handlers are the whole process's, so everything about them is in one test. It does not reap: the children are those of
    /// other tests.
    #[test]
    fn each_signal_is_heard_and_none_ends_us() {
        let signals = Signals::new(all()).unwrap();
        // Before there is a runtime; a second one of the same is the same.
        raise(Signal::SIGHUP).unwrap();
        raise(Signal::SIGHUP).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let reaped = Rc::new(Cell::new(0));
        let count = Rc::clone(&reaped);
        let work = async move {
            let reap = move || {
                count.set(count.get() + 1);
                assert!(count.get() > 1, "on purpose");
            };
            let mut asked = signals.deliver(reap).unwrap();
            let mut next = async || timeout(Duration::from_secs(30), asked.recv()).await.unwrap().unwrap();
            assert_eq!(next().await, Asked::Reload);
            for kind in MEANINGLESS {
                raise(kind).unwrap();
            }
            for (kind, meaning) in ASKING {
                // Not by nix, which has no words for real-time signals.
                signal_hook::low_level::raise(kind).unwrap();
                assert_eq!(next().await, meaning, "signal {kind}");
            }
            for kind in (RT_MIN..=RT_MAX).filter(|kind| *kind != RT_MIN + 3) {
                signal_hook::low_level::raise(kind).unwrap();
            }
            raise(Signal::SIGCHLD).unwrap();
            raise(Signal::SIGTERM).unwrap();
            assert_eq!(next().await, Asked::Stop);
        };
        tokio::task::LocalSet::new().block_on(&runtime, work);
        assert!(reaped.get() >= 2, "at the beginning, and for SIGCHLD");
    }
}
