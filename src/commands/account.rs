//! `mailroom account`: accounts that are added live, and a look at all.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::directory::{self, Local, Place};
use super::output::{complain, print};
use super::table::Table;
use super::{EXIT_USAGE, import, processes};
use crate::accounts::address::Address;
use crate::accounts::change::Change;
use crate::accounts::known::{Kept, Known};
use crate::accounts::records::Record;
use crate::accounts::{Account, Quota, Role, password};
use crate::layout::{LAST_LOGIN, USERS_FILE, VMAIL_UID};
use crate::settings::Environment;
use crate::site;
use crate::staging::LIMIT;
use crate::system::beneath;
use crate::values::counted;

/// Longest deletion of one account's mail.
const DELETION: Duration = Duration::from_secs(3600);

/// What is done with accounts.
#[derive(Debug, Subcommand)]
pub enum Accounts {
    /// Add an account; its password is asked for
    #[command(
        override_usage = "mailroom account add <NAME> [--stdin | --generate | --hash <{SCHEME}HASH>] [--role <ROLE>] [--quota \
                          <QUOTA>] [--local]"
    )]
    Add {
        /// `user`, or `user@domain`
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
        /// admin gets mail for postmaster and abuse, relay sends as anybody
        #[arg(long, default_value = "user")]
        role: Role,
        /// Most that it may store, such as 5G
        #[arg(long)]
        quota: Option<Quota>,
        #[command(flatten)]
        local: Local,
    },
    /// Give an account another password; its sessions end
    #[command(
        override_usage = "mailroom account passwd <NAME> [--stdin | --generate | --hash <{SCHEME}HASH>] [--local]"
    )]
    Passwd {
        /// `user`, or `user@domain`
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        local: Local,
    },
    /// Give an account another role or quota
    #[command(override_usage = "mailroom account set <NAME> [--role <ROLE>] [--quota <QUOTA>] [--local]")]
    Set {
        /// `user`, or `user@domain`
        name: String,
        #[command(flatten)]
        what: RoleOrQuota,
        #[command(flatten)]
        local: Local,
    },
    /// Let an account neither log in nor get mail; its mail is kept
    Disable {
        /// `user`, or `user@domain`
        name: String,
        #[command(flatten)]
        local: Local,
    },
    /// Let a disabled account log in and get mail again
    Enable {
        /// `user`, or `user@domain`
        name: String,
        #[command(flatten)]
        local: Local,
    },
    /// Remove an account; its mail is kept
    Remove {
        /// `user`, or `user@domain`
        name: String,
        /// Delete its mail, too
        #[arg(long)]
        delete_mail: bool,
        #[command(flatten)]
        local: Local,
    },
    /// List all accounts, with where each comes from
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Add accounts and aliases of docker-mailserver, a passwd-file, CSV, or mailroom account export
    Import(import::Options),
    /// Print all accounts and aliases, with password hashes, for mailroom account import
    Export,
    /// Show an account, with the size of its mail
    Show {
        /// `user`, or `user@domain`
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What of an account is set: one of them, or both.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct RoleOrQuota {
    /// admin, relay or user
    #[arg(long)]
    role: Option<Role>,
    /// Most that it may store, such as 5G; off for no limit
    #[arg(long)]
    quota: Option<Quota>,
}

/// Where a password comes from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct PasswordFrom {
    /// Read it from standard input, the first line
    #[arg(long)]
    stdin: bool,
    /// Make one, and print it
    #[arg(long)]
    generate: bool,
    /// Take this hash, such as {BLF-CRYPT}$2y$…
    #[arg(long, value_name = "{SCHEME}HASH")]
    hash: Option<String>,
}

/// Does it; returns the exit code.
pub fn run(command: Accounts, environment: &Environment) -> anyhow::Result<u8> {
    match command {
        Accounts::Add {
            name,
            password,
            role,
            quota,
            local,
        } => with_password(&password, local, environment, |hash| Change::AddAccount {
            address: name.clone(),
            hash,
            role,
            quota,
        }),
        Accounts::Passwd { name, password, local } => {
            with_password(&password, local, environment, |hash| Change::SetAccount {
                address: name.clone(),
                hash: Some(hash),
                role: None,
                quota: None,
            })
        }
        Accounts::Set { name, what, local } => {
            let change = Change::SetAccount {
                address: name,
                hash: None,
                role: what.role,
                quota: what.quota,
            };
            directory::make(change, local, environment)
        }
        Accounts::Disable { name, local } => enable(name, false, local, environment),
        Accounts::Enable { name, local } => enable(name, true, local, environment),
        Accounts::Remove {
            name,
            delete_mail,
            local,
        } => remove(name, delete_mail, local, environment),
        Accounts::Import(options) => import::import(&options, environment),
        Accounts::Export => import::export(environment),
        Accounts::List { json } => list(json, environment),
        Accounts::Show { name, json } => show(&name, json, environment),
    }
}

fn enable(address: String, enabled: bool, local: Local, environment: &Environment) -> anyhow::Result<u8> {
    directory::make(Change::EnableAccount { address, enabled }, local, environment)
}

/// A change that needs a password's hash.
fn with_password(
    from: &PasswordFrom,
    local: Local,
    environment: &Environment,
    change: impl Fn(String) -> Change,
) -> anyhow::Result<u8> {
    let place = match directory::place(local, environment)? {
        Ok(place) => place,
        Err(code) => return Ok(code),
    };
    // Nobody types a password twice for what cannot be. The server decides all the same: it may be another moment then.
    if from.is_asked()
        && let Err(why) = place.rehearse(change(password::SOME_HASH.to_owned()), environment)?
    {
        complain(why);
        return Ok(EXIT_USAGE);
    }
    let (hash, generated) = match hash(from) {
        Ok(hash) => hash,
        Err(why) => {
            complain(why);
            return Ok(EXIT_USAGE);
        }
    };
    let code = place.make(change(hash), environment)?;
    if let Some(generated) = generated.filter(|_| code == 0) {
        let said = format!("password: {generated}");
        match place {
            Place::Here => print(said),
            Place::Database(_) => complain(said),
        }
    }
    Ok(code)
}

impl PasswordFrom {
    /// Whether somebody types it.
    fn is_asked(&self) -> bool {
        !self.stdin && !self.generate && self.hash.is_none() && io::stdin().is_terminal()
    }
}

/// What is said where a password stands among the arguments; `word` is the one that clap does not take.
pub fn password_among(arguments: &[String], word: &str) -> Option<String> {
    let command: Vec<&str> = arguments.iter().skip(1).take(2).map(String::as_str).collect();
    let is_password = !word.starts_with('-') || word.starts_with("--pass") || word.starts_with("-p");
    let takes_one = command == ["account", "add"] || command == ["account", "passwd"];
    (takes_one && is_password).then(|| {
        format!(
            "no password is given on a command line, where others can read it (ps, the shell's history): mailroom {} asks for it \
             (docker exec -it), --stdin reads it from standard input (docker exec -i), --generate makes one, --hash takes its hash",
            command.join(" ")
        )
    })
}

/// The hash, and the password where it was made here. It is hashed by this process: PID 1 has other things to do.
fn hash(from: &PasswordFrom) -> Result<(String, Option<String>), String> {
    if let Some(hash) = &from.hash {
        return Ok((hash.clone(), None));
    }
    if from.generate {
        let generated = password::generate()?;
        return Ok((password::hash(&generated)?, Some(generated)));
    }
    let clear = if from.stdin { first_line()? } else { asked()? };
    let hash = password::hash(&clear).map_err(|reason| format!("the password {reason}"))?;
    Ok((hash, None))
}

fn first_line() -> Result<String, String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    if read.map_err(|error| format!("standard input: {error}"))? == 0 {
        return Err("--stdin: standard input is empty: docker exec passes it on with -i alone".to_owned());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks twice, without echo.
fn asked() -> Result<String, String> {
    if !io::stdin().is_terminal() {
        let ways = "docker exec -it asks for it, --stdin reads it from docker exec -i, --generate makes one";
        return Err(format!("no password was given, and there is no terminal: {ways}"));
    }
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map_err(|error| format!("the terminal: {error}"));
    let first = ask("Password: ")?;
    if ask("Again: ")? == first {
        Ok(first)
    } else {
        Err("these are two different passwords".to_owned())
    }
}

/// The primary domain to which the short home directories belong: that of the mail volume, whatever the settings say.
fn home_domain(kept: &Kept, environment: &Environment) -> String {
    let recorded = kept.primary_domain.clone();
    recorded.unwrap_or_else(|| site::primary_domain(environment))
}

/// Mail is deleted when nobody can log in any more.
fn remove(name: String, delete_mail: bool, local: Local, environment: &Environment) -> anyhow::Result<u8> {
    let place = match directory::place(local, environment)? {
        Ok(place) => place,
        Err(code) => return Ok(code),
    };
    if delete_mail && matches!(place, Place::Database(_)) {
        complain(
            "--delete-mail: the account can log in until the database has taken the statement: remove it without this, then its \
             mail, where mailroom account show says that it lies",
        );
        return Ok(EXIT_USAGE);
    }
    let primary = home_domain(&Kept::read()?, environment);
    let home = Address::read(&name, &primary).map(|address| Account::home_of(&address.text(), &primary));
    let code = place.make(Change::RemoveAccount { address: name }, environment)?;
    let Some(home) = home.ok().filter(|_| delete_mail && code == 0) else {
        return Ok(code);
    };
    if let Some(other) = other_mailbox(&home) {
        complain(format_args!(
            "its mail in {} is not deleted: other mailboxes lie there, such as {}",
            home.display(),
            other.display()
        ));
        return Ok(1);
    }
    // As the owner of all mail, and as nobody else: the path to it is that account's, too.
    let mut delete = Command::new("rm");
    delete
        .args(["-rf", "--one-file-system", "--"])
        .arg(&home)
        .uid(VMAIL_UID)
        .gid(VMAIL_UID);
    let deleted = processes::with(async |processes| Ok(processes.output(&mut delete, DELETION).await?))?;
    if deleted.exit.is_success() {
        print(format_args!("its mail in {} is deleted", home.display()));
        return Ok(0);
    }
    let said = deleted.stderr.lines().next().unwrap_or_default();
    complain(format_args!(
        "its mail in {} is not deleted as a whole: {said}",
        home.display()
    ));
    Ok(1)
}

/// A mailbox below a home, where a domain has the name of the account.
fn other_mailbox(home: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.join("Maildir").is_dir())
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Shown {
    address: String,
    /// Of an account in a directory Dovecot does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    enabled: bool,
    origin: String,
}

impl Shown {
    fn of(address: &str, record: &Record, origin: String) -> Shown {
        Shown {
            address: address.to_owned(),
            role: Some(record.role),
            quota: record.quota,
            enabled: record.enabled,
            origin,
        }
    }

    /// An account that Dovecot finds in the directory.
    fn of_directory(address: &str, quota: Option<Quota>, origin: &str) -> Shown {
        Shown {
            address: address.to_owned(),
            role: None,
            quota,
            enabled: true,
            origin: origin.to_owned(),
        }
    }

    fn role(&self) -> &'static str {
        self.role.map_or("-", Role::name)
    }

    fn state(&self) -> &'static str {
        if self.enabled { "enabled" } else { "disabled" }
    }
}

/// All accounts: declared ones, those that no longer are, live ones; where there is none, the test accounts.
fn all(known: &Known) -> Vec<Shown> {
    if known.never_had_accounts() {
        return test_accounts();
    }
    let of_live = known.live.accounts.iter().map(|(address, record)| {
        let origin = if known.is_shadowed(address) {
            "live, shadowed"
        } else {
            "live"
        };
        Shown::of(address, record, origin.to_owned())
    });
    let is_hidden = |address: &str| !known.is_shadowed(address) && known.live.accounts.contains_key(address);
    let declared = known
        .declared
        .accounts
        .iter()
        .filter(|(address, _)| !is_hidden(address));
    let declared = declared.map(|(address, record)| {
        let origin = record.origin.clone();
        Shown::of(
            address,
            record,
            origin.unwrap_or_else(|| "no longer declared".to_owned()),
        )
    });
    let mut all: Vec<Shown> = of_live.chain(declared).collect();
    all.sort_by(|one, other| one.address.cmp(&other.address));
    all
}

/// They stand in the passwd-file alone.
fn test_accounts() -> Vec<Shown> {
    let users = std::fs::read_to_string(USERS_FILE).unwrap_or_default();
    let lines = users.lines().filter(|line| !line.starts_with('#'));
    let shown = |line: &str| Shown {
        address: line.split(':').next().unwrap_or_default().to_owned(),
        role: Some(match line.split('@').next().unwrap_or_default() {
            "admin" => Role::Administrator,
            "relay" => Role::Relay,
            _ => Role::User,
        }),
        quota: None,
        enabled: true,
        origin: "test account, public password".to_owned(),
    };
    lines.map(shown).collect()
}

fn list(json: bool, environment: &Environment) -> anyhow::Result<u8> {
    let mut all = all(&Kept::read()?.known());
    let mut code = 0;
    if let Some(origin) = directory::origin(environment) {
        match directory::addresses() {
            Ok(addresses) => add_those_of_directory(&mut all, &addresses, origin),
            Err(error) => {
                complain(error);
                code = 1;
            }
        }
    }
    if json {
        print(serde_json::to_string_pretty(&all)?);
        return Ok(code);
    }
    if all.is_empty() {
        print("there is no account: mailroom account add adds one");
        return Ok(code);
    }
    let mut table = Table::new(&["ADDRESS", "ROLE", "QUOTA", "STATE", "ORIGIN"]);
    for shown in &all {
        let quota = shown.quota.map_or_else(|| "-".to_owned(), |quota| quota.to_string());
        table.row(&[&shown.address, shown.role(), &quota, shown.state(), &shown.origin]);
    }
    print(table);
    Ok(code)
}

/// Dovecot names all that it knows: one of Mailroom's own stands before one of the directory.
fn add_those_of_directory(all: &mut Vec<Shown>, addresses: &[String], origin: &str) {
    let known: BTreeSet<String> = all.iter().map(|shown| shown.address.clone()).collect();
    let others = addresses.iter().filter(|address| !known.contains(*address));
    all.extend(others.map(|address| Shown::of_directory(address, None, origin)));
    all.sort_by(|one, other| one.address.cmp(&other.address));
}

/// What a mailbox holds, as Dovecot counts it.
#[derive(Debug, Serialize)]
struct Mail {
    messages: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    shown: Shown,
    home: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<Mail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login: Option<String>,
}

fn show(name: &str, json: bool, environment: &Environment) -> anyhow::Result<u8> {
    let kept = Kept::read()?;
    let primary = home_domain(&kept, environment);
    let address = Address::read(name, &primary).map(|address| address.text());
    let all = all(&kept.known());
    let mut found = all.into_iter().find(|shown| address.as_ref() == Ok(&shown.address));
    if let (None, Ok(address), Some(origin)) = (&found, &address, directory::origin(environment)) {
        let quota = directory::quota(address)?;
        found = quota
            .map(|quota| Shown::of_directory(address, Some(quota).filter(|quota| quota.limit().is_some()), origin));
    }
    let Some(shown) = found else {
        complain(format_args!(
            "{} is no account",
            address.unwrap_or_else(|_| name.to_owned())
        ));
        return Ok(EXIT_USAGE);
    };
    let home = Account::home_of(&shown.address, &primary);
    let whole = Whole {
        mail: mail(&shown.address),
        last_login: last_login(&home),
        home: home.display().to_string(),
        shown,
    };
    if json {
        print(serde_json::to_string_pretty(&whole)?);
        return Ok(0);
    }
    let Whole {
        shown,
        home,
        mail,
        last_login,
    } = &whole;
    print(format_args!("address     {}", shown.address));
    print(format_args!("role        {}", shown.role()));
    print(format_args!("state       {}", shown.state()));
    if let Some(quota) = shown.quota {
        print(format_args!("quota       {quota}"));
    }
    print(format_args!("origin      {}", shown.origin));
    match mail {
        Some(Mail { messages, bytes }) => {
            let messages = counted(*messages, "message", "messages");
            print(format_args!(
                "mail        {messages}, {} in {home}",
                counted(*bytes, "byte", "bytes")
            ));
        }
        None => print(format_args!("mail        in {home}; Dovecot does not say how much")),
    }
    match last_login {
        Some(last_login) => print(format_args!("last login  {last_login} (IMAP or POP3)")),
        None => print("last login  none by IMAP or POP3 yet"),
    }
    Ok(0)
}

/// As Dovecot's last_login plugin has written it: a key, and below it the seconds since 1970. The home is the account's, and so
/// is what stands there.
fn last_login(home: &Path) -> Option<String> {
    let text = beneath::read_text(&home.join(LAST_LOGIN)).ok()?;
    let seconds = text.lines().nth(1)?.trim().parse().ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}

/// Asks Dovecot; nothing where it does not run, or does not know the account.
fn mail(address: &str) -> Option<Mail> {
    let mut doveadm = Command::new("doveadm");
    doveadm.args(["-f", "tab", "mailbox", "status", "-u", address, "messages vsize", "*"]);
    let output = processes::with(async |processes| Ok(processes.output(&mut doveadm, LIMIT).await?));
    let text = output.ok().filter(|output| output.exit.is_success())?.stdout;
    let mut mail = Mail { messages: 0, bytes: 0 };
    for line in text.lines().skip(1) {
        let mut numbers = line.split('\t').skip(1).map(|number| number.parse().unwrap_or(0));
        mail.messages += numbers.next().unwrap_or(0);
        mail.bytes += numbers.next().unwrap_or(0);
    }
    Some(mail)
}
