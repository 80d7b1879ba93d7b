//! The signals that ask something of us.

use std::cell::Cell;
use std::io;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::panics;

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

/// Nobody can change the first two; the other three are the Rust runtime's.
const LEFT_ALONE: [Signal; 5] = [
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGPIPE,
    Signal::SIGSEGV,
    Signal::SIGBUS,
];

/// Their default is to end a process, and another init may pass them on to us.
const MEANINGLESS: [Signal; 7] = [
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXCPU,
];

/// Keeps signals waiting until [`listen`] takes them: without a handler PID 1 never gets them, and any other process
/// dies. Whoever started us may also have left signals blocked or ignored, for us and for all that we start.
pub fn hold() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    for kind in Signal::iterator().filter(|kind| !LEFT_ALONE.contains(kind)) {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { nix::sys::signal::signal(kind, SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// An item for each signal that asks something, from here on. Signals that mean nothing to us are ignored.
pub fn listen() -> io::Result<UnboundedReceiver<Asked>> {
    let (sender, asked) = unbounded_channel();
    let meanings = [
        (SignalKind::terminate(), Asked::Stop),
        (SignalKind::interrupt(), Asked::Stop),
        (SignalKind::quit(), Asked::Stop),
        (SignalKind::from_raw(RT_MIN + 3), Asked::Stop),
        (SignalKind::hangup(), Asked::Reload),
        (SignalKind::user_defined1(), Asked::ReopenLogs),
    ];
    // A handler that was installed once stays, and one that nobody listens to ignores; unlike SIG_IGN it is not
    // inherited by what we start.
    let ours = |raw: &i32| !meanings.iter().any(|(kind, _)| kind.as_raw_value() == *raw);
    let meaningless = MEANINGLESS.map(|kind| kind as i32);
    for raw in (RT_MIN..=RT_MAX).chain(meaningless).filter(ours) {
        drop(signal(SignalKind::from_raw(raw))?);
    }
    for (kind, meaning) in meanings {
        let (sender, first) = (sender.clone(), Cell::new(Some(signal(kind)?)));
        panics::keep(move || {
            let (sender, signals) = (sender.clone(), first.take().map_or_else(|| signal(kind), Ok));
            async move {
                let Ok(mut signals) = signals else { return };
                while signals.recv().await.is_some() {
                    let _ = sender.send(meaning);
                }
            }
        });
    }
    release()?;
    Ok(asked)
}

/// Lets signals come: those that were held, too.
pub fn release() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
