//! Accounts of other servers: docker-mailserver's configuration files, passwd-files of Dovecot, CSV, and Mailroom's own export.
//! Text in, accounts and mistakes with their places out. Pure, but for the salts of new hashes.

use std::collections::BTreeMap;

use super::address::Address;
use super::declared::on_all_processors;
use super::entries::Password;
use super::records::{Record, Records, Targets, Unreadable};
use super::{Quota, Role, password};
use crate::values::domain;
use crate::values::words::BYTE_ORDER_MARK;

/// The files of docker-mailserver's configuration directory that are read.
pub const TAKEN: [&str; 3] = ["postfix-accounts.cf", "postfix-virtual.cf", "dovecot-quotas.cf"];

/// What becomes of docker-mailserver's other files.
const LEFT: [(&str, &str); 7] = [
    (
        "postfix-regexp.cf",
        "aliases by patterns: declare each as an alias, or @domain for a whole domain",
    ),
    ("dovecot-masters.cf", "there are no master accounts here"),
    (
        "postfix-send-access.cf",
        "there are no accounts here that may only receive",
    ),
    (
        "postfix-receive-access.cf",
        "there are no accounts here that may only send",
    ),
    (
        "postfix-main.cf",
        "lines of main.cf go to /etc/mailroom/main.cf.d, or POSTFIX_ variables",
    ),
    (
        "postfix-master.cf",
        "lines of master.cf go to /etc/mailroom/master.cf.d, or MAILROOM_MASTER_ variables",
    ),
    ("dovecot.cf", "lines of dovecot.conf go to /etc/mailroom/dovecot.d"),
];

/// The columns of CSV.
const COLUMNS: [&str; 4] = ["address", "password", "role", "quota"];

/// Why a file of a configuration directory is not read.
pub fn left(name: &str) -> &'static str {
    let found = LEFT.iter().find(|(known, _)| *known == name);
    found.map_or("holds no accounts, aliases or quotas", |(_, why)| why)
}

/// A line, or what it holds, that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// `file:line`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

/// An account that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    place: String,
    password: Password,
    role: Role,
    quota: Option<Quota>,
    enabled: bool,
}

/// All that was read, by addresses.
#[derive(Debug, Default)]
pub struct Import {
    accounts: BTreeMap<String, Found>,
    aliases: BTreeMap<String, (String, Vec<String>)>,
    domains: BTreeMap<String, String>,
    /// What is wrong.
    pub wrong: Vec<Wrong>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `user@domain|{SCHEME}hash`.
    Accounts,
    /// `alias@domain target,target`.
    Aliases,
    /// `user@domain:5G`.
    Quotas,
    /// `user@domain:{SCHEME}hash:uid:gid:…` (Dovecot docs, "Passwd-file").
    Passwd,
    /// A header line, then a line for each account.
    Csv,
    /// [`Records`].
    Export,
}

/// Reads files, each by its path and text, those with accounts first. Short names belong to the primary domain; quotas may be of
/// accounts that are there.
pub fn read(files: &[(String, String)], primary_domain: &str, there: &Records) -> Import {
    let mut files: Vec<(Option<Kind>, &str, &str)> = files
        .iter()
        .map(|(path, text)| {
            let text = text.trim_start_matches(BYTE_ORDER_MARK);
            (kind(path, text), path.as_str(), text)
        })
        .collect();
    files.sort_by_key(|(kind, ..)| *kind == Some(Kind::Quotas));
    let mut reading = Reading {
        primary_domain,
        there,
        import: Import::default(),
    };
    for (kind, path, text) in files {
        reading.file(kind, path, text);
    }
    reading.import
}

/// By its name, or by its first line that says something.
fn kind(path: &str, text: &str) -> Option<Kind> {
    match path.rsplit('/').next().unwrap_or_default() {
        "postfix-accounts.cf" => return Some(Kind::Accounts),
        "postfix-virtual.cf" => return Some(Kind::Aliases),
        "dovecot-quotas.cf" => return Some(Kind::Quotas),
        _ => {}
    }
    let (_, line) = lines(text).next()?;
    if line.starts_with("{\"mailroom\"") {
        return Some(Kind::Export);
    }
    let has_address = |part: Option<&str>| part.is_some_and(|part| part.contains('@'));
    let cells: Vec<String> = line.split(',').map(cell).collect();
    if cells.iter().any(|cell| cell == "address") && cells.iter().any(|cell| cell == "password") {
        Some(Kind::Csv)
    } else if has_address(line.split('|').next()) && line.contains("|{") {
        Some(Kind::Accounts)
    } else if let Some((_, rest)) = line.split_once(':') {
        let is_quota = rest.trim().parse::<Quota>().is_ok();
        Some(if is_quota { Kind::Quotas } else { Kind::Passwd })
    } else {
        has_address(line.split_whitespace().next()).then_some(Kind::Aliases)
    }
}

/// The name of a column.
fn cell(text: &str) -> String {
    text.trim().trim_matches('"').trim().to_ascii_lowercase()
}

/// Lines that say something, without blanks around them, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

struct Reading<'a> {
    primary_domain: &'a str,
    there: &'a Records,
    import: Import,
}

impl Reading<'_> {
    fn file(&mut self, kind: Option<Kind>, path: &str, text: &str) {
        match kind {
            Some(Kind::Csv) => self.csv(path, text),
            Some(Kind::Export) => self.export(path, text),
            Some(Kind::Accounts) => self.each_line(path, text, |this, place, line| this.account(place, line, '|')),
            Some(Kind::Passwd) => self.each_line(path, text, |this, place, line| this.account(place, line, ':')),
            Some(Kind::Aliases) => self.each_line(path, text, Self::alias),
            Some(Kind::Quotas) => self.each_line(path, text, Self::quota),
            None => self.wrong(
                path.to_owned(),
                "holds no accounts in a form that is known: docker-mailserver's files, a passwd-file, CSV with a header line \
                 (address,password), or mailroom account export"
                    .to_owned(),
            ),
        }
    }

    fn each_line(&mut self, path: &str, text: &str, read: impl Fn(&mut Self, String, &str) -> Result<(), String>) {
        for (number, line) in lines(text) {
            let place = format!("{path}:{number}");
            if let Err(reason) = read(self, place.clone(), line) {
                self.wrong(place, reason);
            }
        }
    }

    fn wrong(&mut self, place: String, reason: String) {
        self.import.wrong.push(Wrong { place, reason });
    }

    /// `user@domain`, the separator, a hash, and what a passwd-file has behind it.
    fn account(&mut self, place: String, line: &str, separator: char) -> Result<(), String> {
        let (name, rest) = line
            .split_once(separator)
            .ok_or_else(|| format!("is no line of the form user@domain{separator}{{SCHEME}}hash"))?;
        let (hash, rest) = match separator {
            ':' => rest.split_once(':').unwrap_or((rest, "")),
            _ => (rest, ""),
        };
        let found = Found {
            place,
            password: stored(hash.trim())?,
            role: Role::User,
            quota: quota_among(rest),
            enabled: true,
        };
        self.add_account(name, found)
    }

    /// Docker-mailserver's addresses are full ones; a short name is one of the primary domain.
    fn address(&self, name: &str) -> Result<String, String> {
        let address = Address::read(name.trim(), self.primary_domain);
        let address = address.map_err(|reason| format!("{}: {reason}", name.trim()))?;
        Ok(address.text())
    }

    fn add_account(&mut self, name: &str, found: Found) -> Result<(), String> {
        let address = self.address(name)?;
        match self.import.accounts.get(&address) {
            Some(other) if other.password == found.password && other.role == found.role => Ok(()),
            Some(other) => Err(format!("{address} is there twice, and otherwise in {}", other.place)),
            None => {
                self.import.accounts.insert(address, found);
                Ok(())
            }
        }
    }

    /// As Postfix reads virtual(5): targets are separated by commas, blanks, or both.
    fn alias(&mut self, place: String, line: &str) -> Result<(), String> {
        let (name, targets) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let targets = targets.split([',', ' ', '\t']).filter(|target| !target.is_empty());
        let targets = targets.take_while(|target| !target.starts_with('#'));
        let targets: Vec<String> = targets.map(|target| self.address(target)).collect::<Result<_, _>>()?;
        self.add_alias(place, name, targets)
    }

    fn add_alias(&mut self, place: String, name: &str, targets: Vec<String>) -> Result<(), String> {
        let address = match name.strip_prefix('@') {
            Some(name) => format!("@{}", domain::read(name).map_err(|reason| format!("@{name} {reason}"))?),
            None => self.address(name)?,
        };
        if targets.is_empty() {
            return Err(format!("{address} has no target"));
        }
        match self.import.aliases.get(&address) {
            Some((_, others)) if *others == targets => Ok(()),
            Some((other, _)) => Err(format!(
                "{address} is there twice, and otherwise in {other}: name all its targets in one line, with commas"
            )),
            None => {
                self.import.aliases.insert(address, (place, targets));
                Ok(())
            }
        }
    }

    /// Of an account that is imported, or that is there.
    fn quota(&mut self, place: String, line: &str) -> Result<(), String> {
        let (name, quota) = line.rsplit_once(':').ok_or("is no line of the form user@domain:5G")?;
        let address = self.address(name)?;
        let quota = quota.trim();
        let quota: Quota = quota.parse().map_err(|reason| format!("{address}: {quota} {reason}"))?;
        if let Some(found) = self.import.accounts.get_mut(&address) {
            found.quota = Some(quota);
            return Ok(());
        }
        let there = self.there.accounts.get(&address);
        let record =
            there.ok_or_else(|| format!("{address} is neither imported nor there: its quota has no account"))?;
        let quota = Some(quota);
        let found = Found::of(
            place,
            Record {
                quota,
                ..record.clone()
            },
        );
        self.import.accounts.insert(address, found);
        Ok(())
    }

    fn csv(&mut self, path: &str, text: &str) {
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let headings: Vec<String> = reader
            .headers()
            .map(|line| line.iter().map(cell).collect())
            .unwrap_or_default();
        if let Some(other) = headings.iter().find(|heading| !COLUMNS.contains(&heading.as_str())) {
            self.wrong(
                format!("{path}:1"),
                format!("the column {other:?} is none of {}", COLUMNS.join(", ")),
            );
            return;
        }
        for line in reader.records() {
            let (number, read) = match line {
                Ok(line) => {
                    let number = line.position().map_or(1, csv::Position::line);
                    let place = format!("{path}:{number}");
                    (number, self.csv_line(place, &headings, &line))
                }
                Err(error) => (error.position().map_or(1, csv::Position::line), Err(unreadable(&error))),
            };
            if let Err(reason) = read {
                self.wrong(format!("{path}:{number}"), reason);
            }
        }
    }

    fn csv_line(&mut self, place: String, headings: &[String], line: &csv::StringRecord) -> Result<(), String> {
        let field = |name: &str| {
            let column = headings.iter().position(|heading| heading == name);
            column.and_then(|column| line.get(column)).unwrap_or_default()
        };
        let text = field("password");
        let password = if password::is_hash(text) || password::scheme_without_name(text).is_some() {
            stored(text)?
        } else {
            password::check_length(text).map_err(|reason| format!("the password {reason}"))?;
            Password::Clear(text.to_owned())
        };
        let quota = Some(field("quota").trim()).filter(|quota| !quota.is_empty());
        let role = Some(field("role").trim()).filter(|role| !role.is_empty());
        let found = Found {
            place,
            password,
            role: role.map_or(Ok(Role::User), |role| {
                role.parse().map_err(|reason| format!("the role {reason}"))
            })?,
            quota: quota
                .map(|quota| quota.parse().map_err(|reason| format!("the quota {reason}")))
                .transpose()?,
            enabled: true,
        };
        self.add_account(field("address"), found)
    }

    fn export(&mut self, path: &str, text: &str) {
        let records = match Records::parse(text) {
            Ok(records) => records,
            Err(Unreadable { line, fault }) => return self.wrong(format!("{path}:{line}"), fault.to_string()),
        };
        let numbers: BTreeMap<String, usize> = (1..)
            .zip(text.lines())
            .filter_map(|(number, line)| Some((line.split('"').nth(5)?.to_owned(), number)))
            .collect();
        let place = |name: &str| format!("{path}:{}", numbers.get(name).unwrap_or(&1));
        for (address, record) in records.accounts {
            let place = place(&address);
            let checked =
                password::check_scheme(&record.hash).map_err(|reason| format!("{address}: its password {reason}"));
            let added = checked.and_then(|()| self.add_account(&address, Found::of(place.clone(), record)));
            added.unwrap_or_else(|reason| self.wrong(place, reason));
        }
        for (address, kept) in records.aliases {
            let place = place(&address);
            let targets: Result<Vec<String>, String> = kept.targets.iter().map(|target| self.address(target)).collect();
            let added = targets.and_then(|targets| self.add_alias(place.clone(), &address, targets));
            added.unwrap_or_else(|reason| self.wrong(place, reason));
        }
        for name in records.domains {
            match domain::read(&name) {
                Ok(domain) => drop(self.import.domains.insert(domain, path.to_owned())),
                Err(reason) => self.wrong(path.to_owned(), format!("{name} {reason}")),
            }
        }
    }
}

impl Found {
    fn of(place: String, record: Record) -> Found {
        Found {
            place,
            password: Password::Hash(record.hash),
            role: record.role,
            quota: record.quota,
            enabled: record.enabled,
        }
    }
}

/// A password as another server stores it: with a scheme, or as shadow(5) has it. `{PLAIN}` is a password in clear.
fn stored(text: &str) -> Result<Password, String> {
    let clear = ["{PLAIN}", "{CLEAR}", "{CLEARTEXT}"].into_iter().find_map(|scheme| {
        let begin = text.get(..scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
    });
    if let Some(clear) = clear {
        password::check_length(clear).map_err(|reason| format!("the password {reason}"))?;
        return Ok(Password::Clear(clear.to_owned()));
    }
    let hash = match password::scheme_without_name(text) {
        Some(scheme) => format!("{{{scheme}}}{text}"),
        None if password::is_hash(text) => text.to_owned(),
        None if text.is_empty() => return Err("has no password".to_owned()),
        None => return Err("its password is no hash: write {SCHEME} before it, {PLAIN} for one in clear".to_owned()),
    };
    password::check_scheme(&hash).map_err(|reason| format!("the password {reason}"))?;
    Ok(Password::Hash(hash))
}

/// Among a passwd-file's extra fields, as `userdb_quota_rule=*:storage=5G` or `userdb_quota_storage_size=5G`.
fn quota_among(fields: &str) -> Option<Quota> {
    let mut words = fields.split([' ', ':']);
    let quota = |word: &str| {
        let size = word
            .strip_prefix("storage=")
            .or_else(|| word.strip_prefix("userdb_quota_storage_size="));
        size.and_then(|size| size.parse().ok())
    };
    words.find_map(quota)
}

fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields, and the header line {expected_len}: quote a field that holds a comma")
        }
        _ => error.to_string(),
    }
}

impl Import {
    /// How many passwords are in clear, which takes time.
    pub fn clear(&self) -> usize {
        let clear = self.accounts.values();
        clear
            .filter(|found| matches!(found.password, Password::Clear(_)))
            .count()
    }

    /// Where an account, an alias or a domain stands. What cannot be imported is called by this.
    pub fn place(&self, name: &str) -> &str {
        let account = self.accounts.get(name).map(|found| &found.place);
        let alias = || self.aliases.get(name).map(|(place, _)| place);
        let domain = || self.domains.get(name);
        account.or_else(alias).or_else(domain).map_or("", String::as_str)
    }

    /// All of it with hashes. A password in clear that fits the hash that is there keeps it. `done` is called after each in clear.
    pub fn records(&self, there: &Records, done: impl Fn() + Sync) -> Result<Records, String> {
        let found: Vec<(&String, &Found)> = self.accounts.iter().collect();
        let hash = |(address, found): &(&String, &Found)| match &found.password {
            Password::Hash(hash) => Ok(hash.clone()),
            Password::Clear(clear) => {
                let same = there.accounts.get(*address).map(|record| &record.hash);
                let same = same.filter(|hash| password::verifies(clear, hash)).cloned();
                let hash = same.map_or_else(|| password::hash(clear), Ok);
                done();
                hash.map_err(|reason| format!("{address}: {reason}"))
            }
        };
        let hashes = on_all_processors(&found, hash)?;
        let accounts = found.iter().zip(hashes).map(|((address, found), hash)| {
            let record = Record {
                hash,
                role: found.role,
                quota: found.quota,
                enabled: found.enabled,
                origin: None,
            };
            ((*address).clone(), record)
        });
        let aliases = self.aliases.iter().map(|(address, (_, targets))| {
            let targets = Targets {
                targets: targets.clone(),
                origin: None,
            };
            (address.clone(), targets)
        });
        Ok(Records {
            domains: self.domains.keys().cloned().collect(),
            accounts: accounts.collect(),
            aliases: aliases.collect(),
            ..Records::default()
        })
    }
}

#[cfg(test)]
mod tests;
