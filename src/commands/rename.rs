//! `mailroom domain rename`: another name for a domain, for its mailboxes, accounts, aliases and their targets.
//!
//! It is done where no server runs, under the locks of the volumes: homes are moved, which no program may have open. Everything
//! that could be in its way is looked for before anything is changed. From then on a file says what is being done
//! (`accounts/rename`); each step may be repeated, so that the same command finishes what a kill has left.
//!
//! The home directories of the primary domain are short and have no domain in their paths: its rename moves nothing. Those of
//! another domain lie in one directory, which gets another name. Two domains are never made one.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

use super::output::{complain, print};
use super::table::Table;
use super::{EXIT_CONFIG, EXIT_USAGE, live, refuse};
use crate::accounts::external::External;
use crate::accounts::known::{Kept, primary_domain_file};
use crate::accounts::rename::{Rename, Renamed};
use crate::control::client;
use crate::health;
use crate::layout::{MAIL_DIRECTORY, RENAME_FILE, STATE_DIRECTORY};
use crate::provision::Read;
use crate::report::Unusable;
use crate::settings::Environment;
use crate::site::{self, DOMAINS, MYDOMAIN};
use crate::system::beneath::{Place, is};
use crate::system::files::{self, at};
use crate::system::proc;
use crate::values::counted;
use crate::values::domain;

/// Rows of the table that a dry run prints.
const SHOWN: usize = 1000;

/// Why a rename is not done.
#[derive(Debug)]
enum Refusal {
    /// What was asked for, or the settings.
    Usage(String),
    /// What is there, or who uses it.
    Found(String),
    /// What a start would refuse with these settings.
    Settings(anyhow::Error),
    /// It could not be done.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failed(error.into())
    }
}

/// Does it, or says what would be done; returns the exit code.
pub(super) fn run(from: &str, to: &str, dry_run: bool, environment: &Environment) -> anyhow::Result<u8> {
    let (why, code) = match rename(from, to, dry_run, environment) {
        Ok(said) => {
            print(said);
            return Ok(0);
        }
        Err(Refusal::Usage(why)) => (why, EXIT_USAGE),
        Err(Refusal::Found(why)) => (why, EXIT_CONFIG),
        Err(Refusal::Settings(error)) => return refuse(error),
        Err(Refusal::Failed(error)) => match error.downcast::<Unusable>() {
            Ok(unusable) => (unusable.0, EXIT_CONFIG),
            Err(error) => return Err(error),
        },
    };
    complain(why);
    Ok(code)
}

fn rename(from: &str, to: &str, dry_run: bool, environment: &Environment) -> Result<String, Refusal> {
    let rename = names(from, to)?;
    let here = "stop it, and run this command in a container of its own with the same volumes and the new settings, such as docker \
                compose run --rm postfix domain rename";
    let advice = format!("{here} {} {}", rename.from, rename.to);
    if client::is_answered() || health::waiting().is_some() {
        return Err(Refusal::Found(format!("a server is running here: {advice}")));
    }
    let _locks = live::locked(&[MAIL_DIRECTORY, STATE_DIRECTORY], &advice).map_err(Refusal::Found)?;
    let begun = Rename::begun()?;
    if let Some(other) = begun.as_ref().filter(|begun| **begun != rename) {
        return Err(Refusal::Found(other.interrupted()));
    }
    let kept = Kept::read_within_rename()?;
    let mail = at(Path::new(MAIL_DIRECTORY), Place::directory(Path::new(MAIL_DIRECTORY)))?;
    let is_primary = kept.primary_domain.as_ref() == Some(&rename.from)
        || begun.is_some() && kept.primary_domain.as_ref() == Some(&rename.to);
    let found = Found {
        kept,
        is_primary,
        old: look(&mail, &rename.from)?,
        new: look(&mail, &rename.to)?,
    };
    check_variables(&rename, &found, environment)?;
    if begun.is_none() {
        found.check(&rename, environment)?;
    }
    let renamed = found.kept.clone().renamed(&rename);
    let read = live::read(environment, renamed.clone()).map_err(Refusal::Settings)?;
    check_domains(&rename, &read)?;
    let changes = found.changes(&rename);
    let counts = counts(&changes, found.is_primary);
    if dry_run {
        show(&changes);
        return Ok(format!("{counts}: this is a dry run, nothing has changed"));
    }
    found.put(&rename, &renamed, &mail)?;
    let directory = if read.site.has_directory {
        format!(
            "; rows of {} in your database or LDAP directory are yours to change",
            rename.from
        )
    } else {
        String::new()
    };
    Ok(format!(
        "{} is {} from now on: {counts}; no server is running here, the next one acts on it{directory}",
        rename.from, rename.to
    ))
}

fn names(from: &str, to: &str) -> Result<Rename, Refusal> {
    let read = |name: &str| domain::read(name).map_err(|reason| Refusal::Usage(format!("{name} {reason}")));
    let rename = Rename {
        from: read(from)?,
        to: read(to)?,
    };
    if rename.from == rename.to {
        return Err(Refusal::Usage(format!("{from} has that name")));
    }
    Ok(rename)
}

/// What is in /var/mail by the name of a domain.
enum Lies {
    Nothing,
    Empty,
    Homes,
    /// What cannot be moved, and why.
    Other(&'static str),
}

fn look(mail: &Place, name: &str) -> io::Result<Lies> {
    let (path, name) = (path(name), OsStr::new(name));
    let there = match mail.status_of(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lies::Nothing),
        there => at(&path, there)?,
    };
    if is(&there, SFlag::S_IFLNK) {
        let why = "is a link: links on a volume are not followed; put the directory itself there";
        return Ok(Lies::Other(why));
    }
    if !is(&there, SFlag::S_IFDIR) {
        return Ok(Lies::Other("is no directory: move it away"));
    }
    if proc::mount_points().iter().any(|mounted| mounted.starts_with(&path)) {
        let why =
            "has something mounted on it or in it, which cannot be renamed: put that mail into the volume of /var/mail";
        return Ok(Lies::Other(why));
    }
    let directory = at(&path, mail.entry(name))?;
    let entries: Vec<_> = at(&path, fs::read_dir(directory.path()).and_then(Iterator::collect))?;
    if entries
        .iter()
        .any(|entry: &fs::DirEntry| entry.file_name() == "Maildir")
    {
        return Ok(Lies::Other("is the mailbox of an account of that name: move it away"));
    }
    Ok(if entries.is_empty() { Lies::Empty } else { Lies::Homes })
}

fn path(domain: &str) -> PathBuf {
    Path::new(MAIL_DIRECTORY).join(domain)
}

/// What is on the volumes.
struct Found {
    kept: Kept,
    /// The domain that is renamed is the primary one.
    is_primary: bool,
    /// What lies by its old name.
    old: Lies,
    /// What lies by its new name.
    new: Lies,
}

impl Found {
    /// Whether nothing is in the way.
    fn check(&self, rename: &Rename, environment: &Environment) -> Result<(), Refusal> {
        let Rename { from, to } = rename;
        let known = self.kept.known();
        if !self.is_primary && matches!(self.old, Lies::Nothing | Lies::Empty) && !rename.is_kept(&known) {
            return Err(Refusal::Usage(format!(
                "{from} has neither accounts, aliases nor mail in {STATE_DIRECTORY} and {MAIL_DIRECTORY}: are these the volumes of \
                 the server? (A rename that was finished needs no other.)"
            )));
        }
        let primary_domain = self.kept.primary_domain.clone();
        let primary_domain = primary_domain.unwrap_or_else(|| site::primary_domain(environment));
        let of_records = rename.objections(&known, &primary_domain);
        let mut of_mail = Vec::new();
        if let (Lies::Other(why), false) = (&self.old, self.is_primary) {
            of_mail.push(format!("{} {why}", path(from).display()));
        }
        match &self.new {
            Lies::Homes => of_mail.push(format!(
                "{} is there already, and not empty: move it away, or remove it where nobody needs the mail in it",
                path(to).display()
            )),
            Lies::Other(why) => of_mail.push(format!("{} {why}", path(to).display())),
            Lies::Nothing | Lies::Empty => {}
        }
        if of_records.is_empty() && of_mail.is_empty() {
            return Ok(());
        }
        let reasons = [of_mail.as_slice(), &of_records].concat().join("\n  ");
        let why = format!("nothing has changed, {from} cannot become {to}:\n  {reasons}");
        Err(if of_mail.is_empty() {
            Refusal::Usage(why)
        } else {
            Refusal::Found(why)
        })
    }

    /// Does everything, in an order in which it can be done again from the beginning.
    fn put(&self, rename: &Rename, renamed: &Kept, mail: &Place) -> anyhow::Result<()> {
        live::write(&[rename.file()?])?;
        self.move_homes(mail, rename)?;
        live::write(&self.kept.files(&renamed.known()))?;
        if let Some(domain) = &renamed.primary_domain {
            live::write(&[primary_domain_file(domain)])?;
        }
        files::remove(Path::new(RENAME_FILE))?;
        Ok(files::sync_directory(Path::new(STATE_DIRECTORY))?)
    }

    /// The directory of the domain gets the new name, unless it has it since a command that was interrupted.
    fn move_homes(&self, mail: &Place, rename: &Rename) -> io::Result<()> {
        if !self.has_homes() {
            return Ok(());
        }
        let (from, to) = (OsStr::new(&rename.from), OsStr::new(&rename.to));
        if matches!(self.new, Lies::Empty) {
            at(&path(&rename.to), mail.remove_directory(to))?;
        }
        at(&path(&rename.to), mail.rename_directory(from, to))?;
        files::sync_directory(Path::new(MAIL_DIRECTORY))
    }

    /// Whether there are homes to be moved: those of the primary domain have no domain in their paths.
    fn has_homes(&self) -> bool {
        !self.is_primary && matches!(self.old, Lies::Homes)
    }

    /// Everything that gets another name.
    fn changes(&self, rename: &Rename) -> Vec<Renamed> {
        let Rename { from, to } = rename;
        let renamed = |what, from, to| Renamed { what, from, to };
        let is_recorded = self.kept.primary_domain.as_ref() == Some(from);
        let primary = is_recorded.then(|| renamed("primary domain", from.clone(), to.clone()));
        let shown = |domain| path(domain).display().to_string();
        let homes = self
            .has_homes()
            .then(|| renamed("directory of mail", shown(from), shown(to)));
        let kept = rename.changes(&self.kept.known());
        primary.into_iter().chain(homes).chain(kept).collect()
    }
}

/// The variables that name domains have the new name, and not the old one.
fn check_variables(rename: &Rename, found: &Found, environment: &Environment) -> Result<(), Refusal> {
    let Rename { from, to } = rename;
    let primary_domain = site::primary_domain(environment);
    if found.is_primary && primary_domain != *to || primary_domain == *from {
        return Err(Refusal::Usage(format!(
            "{from} is the primary domain: set {MYDOMAIN}={to} (it is {primary_domain}), for this command as for the server from \
             then on"
        )));
    }
    if site::more_domains(environment).contains(from) {
        let instead = if found.is_primary {
            format!("take it out; once it is {to}, it may be named again, as a domain that has no accounts yet")
        } else {
            format!("put {to} in its place, for this command as for the server from then on")
        };
        return Err(Refusal::Usage(format!("{DOMAINS} names {from}: {instead}")));
    }
    Ok(())
}

/// With these settings the server has the domain under its new name.
fn check_domains(rename: &Rename, read: &Read) -> Result<(), Refusal> {
    let Rename { from, to } = rename;
    // A database has domains of its own.
    if matches!(read.external, Some(External::Sql(_))) || read.site.domains().any(|domain| domain == to) {
        return Ok(());
    }
    Err(Refusal::Usage(format!(
        "{to} is no domain of these settings: name it in {DOMAINS} in place of {from}, for this command as for the server from then \
         on"
    )))
}

/// How much gets another name, in words.
fn counts(changes: &[Renamed], is_primary: bool) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for change in changes {
        match counts.iter_mut().find(|(what, _)| *what == change.what) {
            Some((_, count)) => *count += 1,
            None => counts.push((change.what, 1)),
        }
    }
    let said = |(what, count): &(&str, usize)| {
        let several = if *what == "alias" {
            "aliases"
        } else {
            &format!("{what}s")
        };
        counted(*count, what, several)
    };
    let stays = if is_primary { "; all mail stays where it is" } else { "" };
    match counts.as_slice() {
        [] => format!("everything has the new name{stays}"),
        counts => counts.iter().map(said).collect::<Vec<_>>().join(", ") + stays,
    }
}

fn show(changes: &[Renamed]) {
    let mut table = Table::new(&["WHAT", "OLD", "NEW"]);
    for Renamed { what, from, to } in changes.iter().take(SHOWN) {
        table.row(&[what, from, to]);
    }
    print(table);
    if changes.len() > SHOWN {
        print(format_args!("and {} more", changes.len() - SHOWN));
    }
}
