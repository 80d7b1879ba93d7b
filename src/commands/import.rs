//! `mailroom account import` and `export`: accounts from other servers, and to them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{complain, print};
use super::table::Table;
use super::{EXIT_CONFIG, EXIT_USAGE, live, refuse};
use crate::accounts::change::{self, Change};
use crate::accounts::import::{self, Import, Wrong};
use crate::accounts::known::{Kept, Known};
use crate::accounts::password;
use crate::accounts::records::Records;
use crate::settings::Environment;
use crate::site;
use crate::values::counted;

/// Most that a file of accounts may have, in bytes.
const LARGEST: u64 = 64 << 20;
/// So long one hash takes about; a progress bar is drawn where all of them take more than a second.
const HASH: Duration = Duration::from_millis(50);
/// Rows of the table that a dry run prints.
const SHOWN: usize = 1000;

/// What is imported, and how.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A file or docker-mailserver's configuration directory, in the container; - for standard input
    path: PathBuf,
    /// Show what would be imported, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace accounts and aliases that are there
    #[arg(long)]
    replace: bool,
    /// Leave wrong lines out, and import the others
    #[arg(long)]
    skip_wrong: bool,
}

/// Does it; returns the exit code.
pub fn import(options: &Options, environment: &Environment) -> anyhow::Result<u8> {
    let files = match files(&options.path) {
        Ok(files) => files,
        Err(why) => {
            complain(why);
            return Ok(EXIT_CONFIG);
        }
    };
    let kept = Kept::read()?;
    let mut known = kept.known();
    let site = match live::read(environment, kept) {
        Ok(read) => {
            known.declare(&read.known.declared);
            read.site
        }
        Err(error) => return refuse(error),
    };
    let read = import::read(&files, &site.domain, &known.live);
    let mut records = match hashed(&read, &known.live) {
        Ok(records) => records,
        Err(why) => {
            complain(why);
            return Ok(EXIT_USAGE);
        }
    };
    let mut wrong = read.wrong.clone();
    // Without an account, an alias to it is wrong.
    let said = loop {
        match change::rehearse_import(&records, options.replace, &known, &site) {
            Ok(said) => break said,
            Err(objections) => {
                for (name, reason) in objections {
                    leave_out(&mut records, &name);
                    let place = read.place(&name).to_owned();
                    let reason = format!("{name}: {reason}");
                    wrong.push(Wrong { place, reason });
                }
            }
        }
    };
    for Wrong { place, reason } in &wrong {
        let place = if place.is_empty() {
            String::new()
        } else {
            format!("{place}: ")
        };
        complain(format_args!("{place}{reason}"));
    }
    if options.dry_run {
        show(&records, &known);
        print(format_args!("{said}: this is a dry run, nothing has changed"));
        return Ok(0);
    }
    if !wrong.is_empty() && !options.skip_wrong {
        complain(format_args!(
            "nothing is imported: put {} right, or leave out what is wrong with --skip-wrong",
            counted(wrong.len(), "wrong line", "wrong lines")
        ));
        return Ok(EXIT_USAGE);
    }
    if records.is_empty() {
        complain("there is nothing to import");
        return Ok(EXIT_USAGE);
    }
    let replace = options.replace;
    live::make(Change::Import { records, replace }, environment)
}

/// An account, an alias, or all of a domain.
fn leave_out(records: &mut Records, name: &str) {
    let is_there =
        |address: &String| address == name || address.rsplit_once('@').is_some_and(|(_, domain)| domain == name);
    records.accounts.retain(|address, _| !is_there(address));
    records.aliases.retain(|address, _| !is_there(address));
    records.domains.remove(name);
}

/// The paths and texts of what is read. An error says what cannot be.
fn files(path: &Path) -> Result<Vec<(String, String)>, String> {
    if path == Path::new("-") {
        return Ok(vec![("-".to_owned(), text("-", io::stdin().lock())?)]);
    }
    if !path.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    let entries: io::Result<Vec<_>> = fs::read_dir(path).map_err(wrong)?.collect();
    let mut entries = entries.map_err(wrong)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if import::TAKEN.contains(&name.as_str()) {
            files.push(file(&entry.path())?);
        } else {
            print(format_args!("{name} is not taken over: {}", import::left(&name)));
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{}: has none of {}: name the file that holds the accounts",
            path.display(),
            import::TAKEN.join(", ")
        ));
    }
    Ok(files)
}

fn file(path: &Path) -> Result<(String, String), String> {
    let shown = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| format!("{shown}: {error}; it must be in the container: mount it, or pipe it to -"))?;
    let text = text(&shown, file)?;
    Ok((shown, text))
}

fn text(name: &str, from: impl Read) -> Result<String, String> {
    let mut text = String::new();
    let read = from.take(LARGEST + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > LARGEST => Err(format!("{name}: is larger than {} MiB", LARGEST >> 20)),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// With hashes of all passwords.
fn hashed(read: &Import, there: &Records) -> Result<Records, String> {
    let clear = read.clear();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let time = HASH * u32::try_from(clear / processors).unwrap_or(u32::MAX);
    let target = if time > Duration::from_secs(1) {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(clear as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len} passwords hashed {bar:40} {eta} left") {
        bar.set_style(style);
    }
    let records = read.records(there, || bar.inc(1));
    bar.finish_and_clear();
    records
}

/// A row of the table that a dry run prints.
struct Row<'a> {
    name: &'a str,
    what: String,
    quota: String,
    to_do: &'static str,
}

fn rows<'a>(records: &'a Records, known: &Known) -> Vec<Row<'a>> {
    let accounts = records.accounts.iter().map(|(address, record)| Row {
        name: address,
        what: format!("{} {}", record.role.name(), password::cost(&record.hash).0),
        quota: record.quota.map_or_else(|| "-".to_owned(), |quota| quota.to_string()),
        to_do: to_do(known.live.accounts.get(address), record),
    });
    let aliases = records.aliases.iter().map(|(address, targets)| Row {
        name: address,
        what: format!("alias to {}", targets.targets.join(", ")),
        quota: "-".to_owned(),
        to_do: to_do(known.live.aliases.get(address), targets),
    });
    accounts.chain(aliases).collect()
}

/// The column of quotas is there where any account has one.
fn table(rows: &[Row<'_>]) -> Table {
    let has_quotas = rows.iter().any(|row| row.quota != "-");
    let cells = |name, what, quota, to_do| {
        if has_quotas {
            vec![name, what, quota, to_do]
        } else {
            vec![name, what, to_do]
        }
    };
    let mut table = Table::new(&cells("NAME", "WHAT", "QUOTA", "TO DO"));
    for row in rows.iter().take(SHOWN) {
        table.row(&cells(row.name, &row.what, &row.quota, row.to_do));
    }
    table
}

/// What a dry run says: a table, and counts.
fn show(records: &Records, known: &Known) {
    let rows = rows(records, known);
    print(table(&rows));
    if rows.len() > SHOWN {
        print(format_args!("and {} more", rows.len() - SHOWN));
    }
    let mut schemes = BTreeMap::new();
    for record in records.accounts.values() {
        *schemes.entry(password::cost(&record.hash).0).or_insert(0_usize) += 1;
    }
    for (scheme, count) in schemes {
        print(format_args!("{scheme}: {}", counted(count, "account", "accounts")));
    }
    for what in ["add", "replace", "there already"] {
        let count = rows.iter().filter(|row| row.to_do == what).count();
        print(format_args!("{what}: {count}"));
    }
}

fn to_do<T: PartialEq>(old: Option<&T>, new: &T) -> &'static str {
    match old {
        None => "add",
        Some(old) if old == new => "there already",
        Some(_) => "replace",
    }
}

/// Prints all accounts, aliases and domains that were added live, or are declared, as JSON Lines.
pub fn export(environment: &Environment) -> anyhow::Result<u8> {
    if io::stdout().is_terminal() {
        complain("this holds the hashes of all passwords: keep it as secret as them");
    }
    let Known { declared, live } = Kept::read()?.known();
    let declared = Arc::unwrap_or_clone(declared);
    let mut all = live;
    // As in Directory::of: a declared one stands before a live one, one that no longer is declared behind it.
    for (address, record) in declared.accounts {
        if record.origin.is_some() || !all.accounts.contains_key(&address) {
            all.accounts.insert(address, record);
        }
    }
    all.aliases.extend(declared.aliases);
    // What is of this server alone.
    (all.seal, all.had_accounts) = (None, false);
    let primary = site::primary_domain(environment);
    print(
        all.text(&format!("all accounts of {primary}, with password hashes"))
            .trim_end(),
    );
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::accounts::records::Record;

    fn lines(quota: Option<&str>) -> Vec<String> {
        let record = Record {
            hash: password::SOME_HASH.to_owned(),
            role: Role::User,
            quota: quota.map(|quota| quota.parse().unwrap()),
            enabled: true,
            origin: None,
        };
        let mut records = Records::default();
        records.accounts.insert("a@b.test".to_owned(), record);
        let table = table(&rows(&records, &Known::default())).to_string();
        table.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_dry_run_shows_quotas_where_there_are_any() {
        let with = [
            "NAME      WHAT            QUOTA  TO DO",
            "a@b.test  user BLF-CRYPT  5G     add",
        ];
        assert_eq!(lines(Some("5G")), with);
        assert_eq!(
            lines(None),
            ["NAME      WHAT            TO DO", "a@b.test  user BLF-CRYPT  add"]
        );
    }
}
