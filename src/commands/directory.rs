//! Accounts in a directory of the user's own, as commands see them. A change is printed as a statement for the database's own
//! client; what is there Dovecot is asked about.

use std::process::Command;

use anyhow::bail;

use super::output::{complain, print};
use super::{EXIT_USAGE, live, processes, refuse};
use crate::accounts::Quota;
use crate::accounts::address::Address;
use crate::accounts::change::Change;
use crate::accounts::external::{self, Dialect, External, LDAP, SQL, Sql};
use crate::accounts::known::{Kept, Known};
use crate::accounts::statement::{self, Statement};
use crate::settings::Environment;
use crate::staging::LIMIT;
use crate::system::processes::{Exit, Output};

/// Whose accounts a change is about.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Local {
    /// Change Mailroom's own accounts, where others are in a database or in LDAP
    #[arg(long)]
    local: bool,
}

/// Where a change is made.
#[derive(Debug)]
pub(super) enum Place {
    /// By Mailroom.
    Here,
    /// In a database, by the user.
    Database(Box<Database>),
}

/// A database with our tables.
#[derive(Debug)]
pub(super) struct Database {
    dialect: Dialect,
    /// Its name, or its file.
    path: String,
    /// What it is and where, without secrets.
    shown: String,
    primary_domain: String,
    /// Mailroom's own accounts, which come before its rows.
    known: Known,
}

/// Where changes are made, found before a password is asked for. An error is the exit code, after why was said.
pub(super) fn place(local: Local, environment: &Environment) -> anyhow::Result<Result<Place, u8>> {
    if local.local || external::named(environment).is_none() {
        return Ok(Ok(Place::Here));
    }
    let read = match live::read(environment, Kept::read()?) {
        Ok(read) => read,
        Err(error) => return refuse(error).map(Err),
    };
    let Some(external) = read.external else {
        return Ok(Ok(Place::Here));
    };
    let (shown, advice) = (external.shown(), "or --local, for one of Mailroom's own");
    let why = match external {
        External::Sql(Sql {
            dialect,
            url,
            own_query: None,
            ..
        }) => {
            return Ok(Ok(Place::Database(Box::new(Database {
                dialect,
                path: url.path,
                shown,
                primary_domain: read.site.domain,
                known: read.kept.known(),
            }))));
        }
        External::Sql(sql) => format!(
            "accounts are in {shown}, in tables of your own ({} is set), which are not known here: change them there, with \
             the hash that doveadm pw -s BLF-CRYPT -r 10 prints, {advice}",
            sql.own_query.unwrap_or_default()
        ),
        External::Ldap(_) => {
            format!("accounts are in {shown}: change them there, with ldapmodify or the like, {advice}")
        }
    };
    complain(why);
    Ok(Err(EXIT_USAGE))
}

/// A change for which nothing is asked before.
pub(super) fn make(change: Change, local: Local, environment: &Environment) -> anyhow::Result<u8> {
    match place(local, environment)? {
        Ok(place) => place.make(change, environment),
        Err(code) => Ok(code),
    }
}

impl Place {
    /// Whether the change can be made as things are; the inner error says why it cannot.
    pub(super) fn rehearse(&self, change: Change, environment: &Environment) -> anyhow::Result<Result<(), String>> {
        match self {
            Place::Here => live::rehearse(change, environment),
            Place::Database(database) => Ok(database.statement(&change).map(drop)),
        }
    }

    /// Makes the change, or prints its statement; returns the exit code.
    pub(super) fn make(&self, change: Change, environment: &Environment) -> anyhow::Result<u8> {
        match self {
            Place::Here => live::make(change, environment),
            Place::Database(database) => Ok(database.state(&change)),
        }
    }
}

impl Database {
    fn statement(&self, change: &Change) -> Result<Statement, String> {
        let statement = statement::of(change, self.dialect, &self.primary_domain)?;
        if self.is_ours(&statement.about) {
            return Err(format!(
                "{} is one of Mailroom's own, which come before those of the database: --local changes it",
                statement.about
            ));
        }
        Ok(statement)
    }

    /// Standard output is for the database's client alone.
    fn state(&self, change: &Change) -> u8 {
        let statement = match self.statement(change) {
            Ok(statement) => statement,
            Err(why) => {
                complain(why);
                return EXIT_USAGE;
            }
        };
        let path = &self.path;
        let client = match self.dialect {
            Dialect::Pgsql => format!("psql {path}"),
            Dialect::Mysql => format!("mysql {path}"),
            Dialect::Sqlite => format!("sqlite3 {path}"),
        };
        complain(format_args!(
            "nothing has changed yet: pipe this statement into {client}, as a user who may write to {}{}",
            self.shown,
            match statement.changes_nothing.as_str() {
                "" => String::new(),
                why => format!("; it changes no row where {why}"),
            }
        ));
        print(statement.sql);
        0
    }

    fn is_ours(&self, name: &str) -> bool {
        let both = [&self.known.declared, &self.known.live];
        both.into_iter().any(|records| {
            records.accounts.contains_key(name) || records.aliases.contains_key(name) || records.domains.contains(name)
        })
    }
}

/// What the accounts of the directory come from, as `account list` names it.
pub(super) fn origin(environment: &Environment) -> Option<&'static str> {
    match external::named(environment)? {
        SQL => Some("sql"),
        LDAP => Some("ldap"),
        _ => None,
    }
}

/// Not among them: an account that Dovecot does not know.
const NO_USER: Exit = Exit::Code(67);

/// The addresses of all accounts, as Dovecot gives them. A name that no account may have is nobody's.
pub(super) fn addresses() -> anyhow::Result<Vec<String>> {
    let output = doveadm(&["user", "*"])?;
    if !output.exit.is_success() {
        bail!("the accounts of the directory are not among these: {}", said(&output));
    }
    let is_one = |line: &&str| line.contains('@') && Address::read(line, "").is_ok();
    Ok(output.stdout.lines().filter(is_one).map(str::to_owned).collect())
}

/// How much an account of the directory may store; nothing where there is no such account.
pub(super) fn quota(address: &str) -> anyhow::Result<Option<Quota>> {
    let output = doveadm(&["user", address])?;
    if output.exit == NO_USER {
        return Ok(None);
    }
    if !output.exit.is_success() {
        bail!(
            "{address} is not known here, and whether it is in the directory neither: {}",
            said(&output)
        );
    }
    let mut fields = output.stdout.lines().filter_map(|line| line.split_once('\t'));
    let limit = fields.find(|(name, _)| *name == "quota_storage_size");
    let limit = limit.and_then(|(_, limit)| match limit.parse::<u64>() {
        Ok(bytes) => format!("{}K", bytes.div_ceil(1024)).parse().ok(),
        Err(_) => limit.parse().ok(),
    });
    Ok(Some(limit.unwrap_or(Quota::UNLIMITED)))
}

fn doveadm(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut doveadm = Command::new("doveadm");
    doveadm.args(arguments);
    processes::with(async |processes| Ok(processes.output(&mut doveadm, LIMIT).await?))
}

/// The last line that a program has printed says why it failed.
fn said(output: &Output) -> &str {
    output.stderr.lines().next_back().unwrap_or("Dovecot does not answer")
}
