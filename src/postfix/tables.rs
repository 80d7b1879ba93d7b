//! Postfix's lookup tables for accounts: where mail is delivered, and which login may use which sender address.
//!
//! A table that is renamed over is read again by each process between two clients, and by trivial-rewrite(8) within 10 s. One
//! that is changed in its place is read anew at each look-up: so the tables of a running server are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};

use super::check::POSTMAP;
use super::delivery::Delivery;
use super::external;

use crate::accounts::{Account, Alias, Directory, Role};
use crate::daemon::{AccountFiles, Basis, Work};
use crate::layout::POSTFIX_TABLES;
use crate::plan::{File, TABLE_HEADER, source, table_of};
use crate::staging::LIMIT;
use crate::system::processes::{Exit, Processes};
use crate::system::{files, lines};

/// The sources of all of them. `postmap` makes `<path>.lmdb` of each.
#[derive(Debug)]
pub(super) struct Tables(Vec<File>);

impl Tables {
    pub(super) fn of(basis: &Basis, delivery: &Delivery) -> Tables {
        let directory = basis.directory;
        let table = |name: &str, source: String| File::public(Path::new(POSTFIX_TABLES).join(name), source);
        let mut tables = vec![table("sender_login", sender_logins(directory))];
        if basis.site.mailboxes {
            tables.push(table("vmailbox", mailboxes(&basis.site.domain, &directory.accounts)));
            tables.push(table("virtual", aliases(directory)));
        }
        if !delivery.delivered.is_empty() {
            tables.push(table("transport", source(delivery.transports())));
        }
        if delivery.has_questions() {
            tables.push(table("quota", source(delivery.questions())));
        }
        Tables(tables)
    }
}

impl AccountFiles for Tables {
    fn files(&self) -> &[File] {
        &self.0
    }

    fn put<'a>(&'a self, processes: &'a Processes) -> Work<'a, ()> {
        Box::pin(async move {
            for source in &self.0 {
                put(source, processes)
                    .await
                    .with_context(|| source.path.display().to_string())?;
            }
            Ok(())
        })
    }
}

/// Most rows that are changed one by one. postmap(1) makes a transaction of each, and has it written to the disk.
const ROWS: usize = 200;

/// Builds a table, or changes the one that is there. The source follows its table: what a kill leaves half done differs from the
/// source, and is done again.
async fn put(source: &File, processes: &Processes) -> anyhow::Result<()> {
    let built = source.path.with_added_extension("lmdb");
    let text = str::from_utf8(&source.bytes)?;
    let there = fs::File::open(&source.path).ok().filter(|_| built.exists());
    let Some(there) = there else {
        files::remove(&built)?;
        return fill_anew(source, processes).await;
    };
    let (old, new) = lines::that_differ(&there, text)?;
    if old.is_empty() && new.is_empty() {
        return Ok(());
    }
    let difference = Difference::between(&old, new);
    if difference.rows() > ROWS {
        return fill_anew(source, processes).await;
    }
    let Difference { removed, set } = difference;
    let table = format!("lmdb:{}", source.path.display());
    // It ends with 1 where it finds no key.
    let codes = [Exit::Code(0), Exit::Code(1)];
    postmap(&["-d", "-", &table], &removed, &codes, processes).await?;
    postmap(&["-i", "-r", &table], &set, &[Exit::Code(0)], processes).await?;
    files::write_volatile(&source.path, &source.bytes, source.owner, source.mode)?;
    // A table that is older than its source is taken for stale: each process that opens it warns.
    files::not_older(&built, &source.path)?;
    Ok(())
}

/// Makes a table of its source, or gives one that is there all other rows: in one transaction, so that each look-up finds either the
/// old rows or the new ones.
async fn fill_anew(source: &File, processes: &Processes) -> anyhow::Result<()> {
    let fill = async {
        files::write_volatile(&source.path, &source.bytes, source.owner, source.mode)?;
        let table = format!("lmdb:{}", source.path.display());
        postmap(&[&table], "-", &[Exit::Code(0)], processes).await
    };
    let filled = fill.await;
    if filled.is_err() {
        // Without its source it is made anew the next time.
        files::remove(&source.path)?;
    }
    filled
}

/// Runs postmap(1) with this standard input, unless there is nothing to read.
async fn postmap(arguments: &[&str], input: &str, codes: &[Exit], processes: &Processes) -> anyhow::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    let mut command = POSTMAP.command()?;
    command.args(arguments);
    let output = processes.output_fed(&mut command, Stdio::from(file), LIMIT).await?;
    let said = output.stderr.trim();
    ensure!(codes.contains(&output.exit) && said.is_empty(), "postmap: {said}");
    Ok(())
}

/// The entries of a table's source, as [`source`] writes it.
fn entries(source: &str) -> BTreeMap<&str, &str> {
    let lines = source.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).collect()
}

/// How two sources of a table differ.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// Keys that are gone, a line each.
    removed: String,
    /// Entries that are new or have other values, a line each.
    set: String,
}

impl Difference {
    fn rows(&self) -> usize {
        self.removed.lines().chain(self.set.lines()).count()
    }

    fn between(old: &str, new: &str) -> Difference {
        let (old, new) = (entries(old), entries(new));
        let removed = old.keys().filter(|key| !new.contains_key(*key));
        let set = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        Difference {
            removed: removed.map(|key| format!("{key}\n")).collect(),
            set: set.map(|(key, value)| format!("{key} {value}\n")).collect(),
        }
    }
}

/// virtual_mailbox_maps: the Maildir below virtual_mailbox_base; the slash at the end makes it one (virtual(8)).
fn mailboxes(domain: &str, accounts: &[Account]) -> String {
    let mut text = table_of(accounts.len());
    for account in accounts {
        text.extend([account.address, " ", &account.mailbox(domain), "/Maildir/\n"]);
    }
    text
}

/// Whether all that is nobody's in its domain goes somewhere.
pub(super) fn is_caught(directory: &Directory, address: &str) -> bool {
    let domain = address.rsplit_once('@').map(|(_, domain)| format!("@{domain}"));
    domain.is_some_and(|whole| directory.aliases.iter().any(|alias| alias.address == whole))
}

/// virtual_alias_maps: aliases, and the administrators' roles. `@domain` would take the mail of accounts, too, so that in such a
/// domain each of them is an alias for itself, and so is one that is disabled, whose mail is refused.
fn aliases(directory: &Directory) -> String {
    let aliases = directory.all_aliases();
    let caught: BTreeSet<&str> = aliases
        .iter()
        .filter_map(|alias| alias.address.strip_prefix('@'))
        .collect();
    let named: BTreeSet<&str> = aliases.iter().map(|alias| alias.address.as_str()).collect();
    let accounts = directory
        .accounts
        .iter()
        .filter(|account| caught.contains(account.domain));
    let disabled = directory
        .disabled
        .iter()
        .filter(|address| is_caught(directory, address));
    let themselves = accounts.map(|account| account.address).chain(disabled.copied());
    let themselves = themselves.filter(|address| !named.contains(address));
    let themselves = themselves.map(|address| (address, address.into()));
    let entries = aliases
        .iter()
        .map(|alias| (alias.address.as_str(), alias.targets.join(", ").into()));
    source(entries.chain(themselves))
}

/// The key below which stand those who may send as anybody.
const ANYBODY: &str = "*";

/// smtpd_sender_login_maps: who owns which sender address. The login is what SASL returns, the full address. An alias belongs to
/// all accounts that it leads to; that of a whole domain is looked up after all others there.
fn sender_logins(directory: &Directory) -> String {
    let aliases = directory.all_aliases();
    let targets: BTreeMap<&str, &Alias> = aliases.iter().map(|alias| (alias.address.as_str(), alias)).collect();
    let owners = |alias: &Alias| {
        let (mut owners, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<&String> = alias.targets.iter().collect();
        while let Some(target) = open.pop() {
            if directory.is_account(target) {
                owners.insert(target.as_str());
            } else if let Some(next) = targets.get(target.as_str()).filter(|_| seen.insert(target)) {
                open.extend(&next.targets);
            }
        }
        Cow::from(owners.into_iter().collect::<Vec<_>>().join(", "))
    };
    let of_aliases = aliases.iter().filter(|alias| !directory.is_account(&alias.address));
    let of_aliases = of_aliases.map(|alias| (alias.address.as_str(), owners(alias)));
    let of_accounts = directory
        .accounts
        .iter()
        .map(|account| (account.address, account.address.into()));
    let relays = directory
        .accounts
        .iter()
        .filter(|account| account.record.role == Role::Relay);
    let relays = relays.map(|account| account.address).collect::<Vec<_>>().join(", ");
    let all = of_accounts.chain(of_aliases).chain([(ANYBODY, relays.into())]);
    source(all.filter(|(_, owners)| !owners.is_empty()))
}

/// smtpd_sender_login_maps. Postfix asks for the address, and for its whole domain only where there is no answer. Those who may send
/// as anybody are named beside each owner, and for whole domains, so that they take no answer from the owner of one.
pub(super) fn sender_login_maps(external: &external::Tables, delimiters: &str) -> String {
    let table = |name: &str| format!("{POSTFIX_TABLES}/{name}");
    let own = format!("lmdb:{}", table("sender_login"));
    let of_extensions = format!("pipemap:{{regexp:{}, {own}}}", table(EXTENSION));
    let of_extensions = (!delimiters.is_empty()).then_some(of_extensions);
    let owners: Vec<String> = [own.clone()]
        .into_iter()
        .chain(of_extensions)
        .chain(external.owners.clone())
        .collect();
    let owners = owners.join(", ");
    let relays = [vec![own], external.relays.clone()].concat().join(", ");
    let anybody = format!("static:{ANYBODY}, unionmap:{{{relays}}}");
    format!(
        "unionmap:{{{owners}, pipemap:{{unionmap:{{{owners}}}, {anybody}}}, pipemap:{{regexp:{}, {anybody}}}}}",
        table(WHOLE_DOMAIN)
    )
}

/// The regexp table that takes the extension away.
pub(super) const EXTENSION: &str = "extension.regexp";
/// The regexp table that knows whole domains from addresses.
pub(super) const WHOLE_DOMAIN: &str = "whole_domain.regexp";

/// Its text.
pub(super) fn whole_domain() -> String {
    format!("{TABLE_HEADER}/^@/ {ANYBODY}\n")
}

/// A regexp table that takes the extension away: `user@domain` of `user+detail@domain`. As everywhere in Postfix the first of the
/// delimiters ends the name, but one that begins it.
pub(super) fn without_extension(delimiters: &str) -> String {
    let escaped: Vec<String> = delimiters
        .chars()
        .map(|sign| escape_pattern(&sign.to_string()))
        .collect();
    // In a bracket expression a hyphen is itself at the end alone (regex(7)).
    let hyphen = if delimiters.contains('-') { "-" } else { "" };
    let others: String = delimiters.chars().filter(|sign| *sign != '-').collect();
    let first = escaped.join("|");
    format!("{TABLE_HEADER}:^([^@{others}{hyphen}]+)({first})[^@]*@([^@]+)$: ${{1}}@${{3}}\n")
}

/// Letters of a pattern that stand for themselves.
pub(super) fn escape_pattern(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_changed_alone() {
        let old = format!("{TABLE_HEADER}a@b.test a/\nb@b.test b/\nc@b.test c/\n");
        let new = format!("{TABLE_HEADER}b@b.test b/\nc@b.test x, y\nd@b.test d/\n");
        let expected = Difference {
            removed: "a@b.test\n".to_owned(),
            set: "c@b.test x, y\nd@b.test d/\n".to_owned(),
        };
        assert_eq!(Difference::between(&old, &new), expected);
    }
}
