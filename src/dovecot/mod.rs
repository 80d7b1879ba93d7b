//! All that is known of Dovecot: its settings, its files, its own checker, how it is run, how it is probed and what its log
//! lines mean.

mod check;
mod config;
mod external;
mod limits;
mod lists;
mod log_counts;
mod log_fields;
mod log_lines;
mod old_names;
mod passwd_files;
mod probes;
mod relay_only;
mod service;
mod settings;
mod shown;
mod sieve;
mod users;

use std::path::{Path, PathBuf};

use self::check::DovecotChecker;
use self::passwd_files::PasswdFiles;
use self::settings::{DROP_IN_DIRECTORY, DovecotSetting, Settings};
use crate::accounts::Account;
use crate::daemon::{Basis, Configured, Daemon, Grammar, Part, Set, Shape, Work};
use crate::layout::{DOVECOT_RUN_DIRECTORY, MAIL_DIRECTORY, RUN_DIRECTORY};
use crate::logs::lines::LogLines;
use crate::plan::{File, Plan, TABLE_HEADER};
use crate::report::Mistake;
use crate::secrets;
use crate::settings::gather::DROP_INS;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Values};
use crate::site::Site;
use crate::system::files::Owner;
use crate::system::processes::Processes;
use crate::values::words;

/// The image's link to the configuration.
const LINK_TO_CONFIG: &str = "/etc/dovecot/dovecot.conf";

/// The configuration.
fn config_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/dovecot.conf")
}

/// Where a drop-in file is copied to, so that Dovecot reads what was checked.
fn drop_in(path: &Path) -> PathBuf {
    drop_in_copies().join(path.file_name().unwrap_or_default())
}

/// The drop-in file of which this is the copy.
fn source_of_drop_in(copy: &Path) -> PathBuf {
    Path::new(DROP_INS)
        .join(DROP_IN_DIRECTORY)
        .join(copy.file_name().unwrap_or_default())
}

/// Whether IMAP and POP3 refuse clients with the container's own address.
fn refuses_itself(basis: &Basis) -> bool {
    basis.site.mailboxes && !basis.trust.itself
}

/// Logins that are always refused, as `protocol-secured-from`: without TLS from the container's own address.
fn refused_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/refused")
}

/// The hashes that are computed for names that no account has.
fn unknown_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/unknown")
}

/// Where it asks about logins, for root alone.
fn login_policy_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/login_policy.conf")
}

fn drop_in_copies() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/conf.d")
}

fn state_directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/state")
}

/// Dovecot.
#[derive(Debug)]
pub struct Dovecot;

impl Daemon for Dovecot {
    fn variables(&self) -> &'static [Variable] {
        &[]
    }

    fn shapes(&self) -> &'static [Shape] {
        &[Shape {
            name: "DOVECOT_<SETTING>, DOVECOT_<BLOCK>__<NAME>__<SETTING>",
            prefix: settings::PREFIX,
            help: "Any setting of Dovecot.",
            schema: "A setting of Dovecot; `__` between the levels of nested ones.",
        }]
    }

    fn log_lines(&self) -> LogLines {
        log_lines::LOG_LINES
    }

    /// Which settings there are only its checker knows.
    fn learn<'a>(&'a self, _: &'a Environment, _: &'a Table, _: &'a Processes) -> Work<'a, Box<dyn Grammar>> {
        Box::pin(async {
            let grammar: Box<dyn Grammar> = Box::new(settings::Shapes);
            Ok(grammar)
        })
    }
}

/// The grammar, for tests of the whole road.
#[cfg(test)]
pub(crate) fn grammar() -> Box<dyn Grammar> {
    Box::new(settings::Shapes)
}

impl Configured for Settings {
    fn examine(&mut self, site: &Site, _: &Values) -> anyhow::Result<Vec<Mistake>> {
        self.sieve = site.sieve;
        if site.mailboxes {
            return Ok(sieve::wrong_names(self));
        }
        self.unused = relay_only::unused(self);
        Ok(relay_only::wrong(self))
    }

    fn count(&self) -> usize {
        self.given.len() + self.scripts.len() + self.files.iter().map(|file| settings::count(&file.text)).sum::<usize>()
    }

    fn settings(&self) -> Vec<Set> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        let is_shown = |setting: &&DovecotSetting| !secrets::is_secret(&setting.variable, &setting.value);
        let given = self.given.iter().filter(is_shown);
        let commented = given.filter(|setting| words::holds_comment(&setting.value));
        let note = |setting: &DovecotSetting| {
            format!(
                "{}: # and what stands behind it are a part of the value; a comment would have to be left out",
                setting.variable
            )
        };
        let of_relay = relay_only::note(&self.unused);
        commented.map(note).chain(of_relay).chain(sieve::note(self)).collect()
    }

    /// Dovecot does not open or close listeners for a reload; Postfix says so for both.
    fn read_at_start(&self, _: &Site) -> Option<(&'static str, String)> {
        None
    }

    fn part(&self, basis: &Basis) -> anyhow::Result<Part> {
        Ok(Part {
            plan: plan(self, basis)?,
            account_files: Some(Box::new(PasswdFiles::of(basis))),
            service: Some(service::service(basis.environment)),
            probes: probes::all(basis.site, basis.facts, basis.directory),
            checker: Box::new(DovecotChecker {
                scripts: sieve::used(self).map(|script| script.path.clone()).collect(),
                delivers: basis.site.sieve
                    || basis.directory.has_quotas(basis.site)
                    || (basis.site.has_directory && basis.site.mailboxes),
            }),
        })
    }
}

/// All files and directories of Dovecot, mailboxes included.
fn plan(settings: &Settings, basis: &Basis) -> anyhow::Result<Plan> {
    let Basis { site, directory, .. } = basis;
    let mut plan = Plan::default();
    plan.directory(config_file().parent().unwrap_or(Path::new("/")), Owner::ROOT, 0o755);
    plan.directory(drop_in_copies(), Owner::ROOT, 0o755);
    plan.directory(state_directory(), Owner::ROOT, 0o755);
    plan.directory(DOVECOT_RUN_DIRECTORY, Owner::ROOT, 0o755);
    if site.mailboxes {
        mailboxes(&mut plan, &site.domain, &directory.accounts);
    }
    if let Some(external) = &directory.external {
        let names = format!("{TABLE_HEADER}{}", external::NAMES);
        plan.files.push(File::public(external::names_file(), names));
        plan.files.push(File {
            mode: 0o600,
            ..File::public(external::place_file(), external::place(external))
        });
    }
    if refuses_itself(basis) {
        let protocols = ["imap", "pop3"].into_iter().chain(site.sieve.then_some("sieve"));
        let refused = protocols.map(|protocol| format!("{protocol}-secured-itself:\n"));
        let refused = std::iter::once(TABLE_HEADER.to_owned()).chain(refused).collect();
        plan.files.push(File::public(refused_file(), refused));
    }
    if site.limits_logins() {
        plan.files.push(File {
            mode: 0o600,
            ..File::public(login_policy_file(), config::login_policy(basis.facts))
        });
    }
    for file in [config_file(), PathBuf::from(LINK_TO_CONFIG)] {
        plan.drop_ins.push((file, Path::new(DROP_INS).join(DROP_IN_DIRECTORY)));
    }
    for file in &settings.files {
        plan.files.push(File::public(drop_in(&file.path), file.text.clone()));
    }
    if site.sieve {
        plan.directory(sieve::copies(), Owner::ROOT, 0o755);
        plan.directory(sieve::compiled(), Owner::VMAIL, 0o700);
    }
    for script in sieve::used(settings) {
        plan.files
            .push(File::public(sieve::copy(&script.path), script.text.clone()));
    }
    plan.files
        .push(File::public(config_file(), config::render(settings, basis)?));
    Ok(plan)
}

/// Most accounts whose Maildirs are made at a start. Those of many more would take longer than all else, and are made by the first
/// delivery or login.
const MADE_AHEAD: usize = 1000;

/// The Maildirs of all accounts, there from the start and not only from the first message on. A link in place of one is that
/// account's trouble alone.
fn mailboxes(plan: &mut Plan, domain: &str, accounts: &[Account]) {
    plan.directory(MAIL_DIRECTORY, Owner::VMAIL, 0o755);
    if accounts.len() > MADE_AHEAD {
        return;
    }
    for account in accounts {
        let home = account.home(domain);
        if account.domain != domain {
            plan.optional_directory(Path::new(MAIL_DIRECTORY).join(account.domain), Owner::VMAIL, 0o700);
        }
        for path in [home.clone(), home.join("Maildir")] {
            plan.optional_directory(path, Owner::VMAIL, 0o700);
        }
        for part in ["cur", "new", "tmp"] {
            plan.optional_directory(home.join("Maildir").join(part), Owner::VMAIL, 0o700);
        }
    }
}
