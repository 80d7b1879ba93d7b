//! What the daemons of this binary have in common: their settings are the site's, nobody checks files that the same program
//! reads, they give up every privilege, and they log by syslog(3) as all others do.

use std::os::unix::net::UnixDatagram;

use nix::sys::prctl;
use nix::unistd::{setgid, setgroups, setuid};

use crate::daemon::{Checker, Configured, Daemon, Findings, Grammar, Shape, Work};
use crate::logs::fields::Fields;
use crate::logs::lines::LogLines;
use crate::report::Mistake;
use crate::settings::table::{Table, Variable};
use crate::settings::{DropIn, Environment, Knowledge, Line, Names, Reader};
use crate::staging::Staging;
use crate::system::files::Owner;
use crate::system::processes::Processes;

/// Such a daemon.
#[derive(Debug)]
pub struct OwnDaemon {
    /// Its name in messages.
    pub service: &'static str,
    /// Whether a program, as syslog names it, is this one.
    pub is_own: fn(program: &str) -> bool,
    /// What is configured, though no variable belongs to it.
    pub configured: fn() -> Box<dyn Configured>,
}

impl OwnDaemon {
    /// Its grammar, which holds no name.
    pub fn grammar(&self) -> Box<dyn Grammar> {
        Box::new(NoNames(self.configured))
    }
}

impl Daemon for OwnDaemon {
    fn variables(&self) -> &'static [Variable] {
        &[]
    }

    fn shapes(&self) -> &'static [Shape] {
        &[]
    }

    fn log_lines(&self) -> LogLines {
        LogLines {
            service: self.service,
            file: "/var/log/mail.log",
            is_own: self.is_own,
            is_probe: |_, _| false,
            credentials: |_| None,
            trouble: |_| None,
            bare: |_| None,
            fields: |_| Fields::default(),
            counts: |_, _| {},
            means: |_| None,
        }
    }

    fn learn<'a>(&'a self, _: &'a Environment, _: &'a Table, _: &'a Processes) -> Work<'a, Box<dyn Grammar>> {
        Box::pin(async { Ok(self.grammar()) })
    }
}

/// The grammar of a daemon to which no variable belongs.
#[derive(Debug)]
struct NoNames(fn() -> Box<dyn Configured>);

impl Names for NoNames {
    fn prefixes(&self) -> &'static [&'static str] {
        &[]
    }

    fn knows(&self, _: &str, _: &str) -> Knowledge {
        Knowledge::No
    }

    fn drop_in_directories(&self) -> &'static [&'static str] {
        &[]
    }

    fn lines(&self, _: &str, _: &DropIn) -> Vec<Result<Line, Mistake>> {
        Vec::new()
    }
}

impl Grammar for NoNames {
    fn check(&self, _: &Variable, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn read(self: Box<Self>, _: &mut Reader) -> Box<dyn Configured> {
        (self.0)()
    }
}

/// What such a daemon reads is written by the program that reads it.
#[derive(Debug)]
pub struct Unchecked;

impl Checker for Unchecked {
    fn check<'a>(&'a self, _: &'a Staging, _: &'a Processes) -> Work<'a, Findings> {
        Box::pin(async { Ok(Findings::default()) })
    }
}

/// Becomes this account: no root, no groups, no capabilities, and no way back.
pub fn drop_privileges(owner: Owner) -> anyhow::Result<()> {
    let (user, group) = owner.ids()?;
    setgroups(&[])?;
    setgid(group)?;
    setuid(user)?;
    Ok(prctl::set_no_new_privs()?)
}

/// `LOG_MAIL | LOG_INFO` (RFC 5424, section 6.2.1).
const PRIORITY: u8 = 2 << 3 | 6;

/// Logs a line under a daemon's name. One that nobody takes is lost: nothing waits.
pub fn say(daemon: &str, text: &str) {
    let line = format!("<{PRIORITY}>{daemon}: {text}");
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), "/dev/log")
    });
}
