//! What a daemon's log lines mean. Each daemon's folder says so for its own; the router asks.

use std::net::IpAddr;
use std::ops::Range;

use super::bare::Bare;
use super::fields::Fields;
use super::record::Record;
use crate::metrics::Event;

/// One daemon's knowledge of its log lines.
#[derive(Debug, Clone, Copy)]
pub struct LogLines {
    /// The service in whose name they are remembered, and shown again when it fails too often.
    pub service: &'static str,
    /// The file in /var/log to which they go.
    pub file: &'static str,
    /// Whether a program, as syslog names it (`postfix/smtpd`, `dovecot`), is this daemon's.
    pub is_own: fn(program: &str) -> bool,
    /// The part of a message that shows a client's credentials, if any does. Every program's lines are looked at.
    pub credentials: fn(message: &str) -> Option<Range<usize>>,
    /// Whether a line speaks of nothing but a health probe, which comes from this address. Such lines are dropped.
    pub is_probe: fn(&Record, address: &str) -> bool,
    /// What a client has met with that its line does not explain.
    pub trouble: fn(message: &str) -> Option<Trouble>,
    /// Whether a line speaks of a connection on which nothing was said so far.
    pub bare: fn(&Record) -> Option<Bare>,
    /// What a line says, as names and values.
    pub fields: for<'a> fn(&'a Record) -> Fields<'a>,
    /// Tells what a line counts for.
    pub counts: fn(&Record, &mut dyn FnMut(Event)),
    /// What PID 1 should know of a line.
    pub means: fn(&Record) -> Option<Meaning>,
}

/// What PID 1 should know of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// This part of the daemon cannot be started for a moment, as whatever needs it will notice.
    Throttled(String),
    /// Somebody reloads the daemon, and not by Mailroom: its main process gets its SIGHUP in a moment.
    ReloadBegins,
    /// The main process has got it.
    Reloaded,
    /// Another server wants a login that cannot be made; the line does not say why.
    NoLogin,
    /// A neighbour's mail for the own domain is refused, for there is no such mailbox.
    NoMailbox,
}

/// What a client has met with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// From where the client came.
    pub address: IpAddr,
    /// What it was.
    pub kind: Kind,
}

/// What a client may meet with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It may not relay.
    Relay,
    /// It wanted to log in without TLS.
    WithoutTls,
    /// It went away without TLS and without a login, as clients do that are offered none.
    GaveUp,
    /// The login of this user was refused.
    Login(String),
    /// It began to send a message, and its end never came.
    NoEnd,
}
