//! All that is known of accounts, of both origins: what is declared, and what was added live. Both are kept in
//! /var/lib/mailroom, the name of the domain that the short home directories belong to is kept beside them, in /var/mail.

use std::fs;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use super::address::Address;
use super::password;
use super::records::{Fault, Record, Records, Unreadable};
use super::rename::Rename;
use crate::layout::{DECLARED_FILE, LIVE_FILE, PREVIOUS_FILE, PRIMARY_DOMAIN_RECORD};
use crate::plan::File;
use crate::report::Unusable;
use crate::system::beneath;
use crate::system::files::Owner;
use crate::values::domain;

/// What was kept when the server was last in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was declared; nothing before the first start with a declaration.
    pub declared: Option<Arc<Records>>,
    /// What was added live.
    pub live: Records,
    /// The primary domain for which the mail volume was used.
    pub primary_domain: Option<String>,
    /// The file of what was added live, as it is.
    text: String,
    /// What the file of what was declared holds.
    written: Option<Arc<Records>>,
}

impl Kept {
    /// Reads everything. An error names file and line, and what to do.
    pub fn read() -> anyhow::Result<Kept> {
        match Rename::begun()? {
            Some(rename) => Err(Unusable(rename.interrupted()).into()),
            None => Kept::read_within_rename(),
        }
    }

    /// The same, where a rename may have been interrupted: some of it may have the old name of the domain, and some the new one.
    pub fn read_within_rename() -> anyhow::Result<Kept> {
        let (declared, _) = read(DECLARED_FILE, "remove it: it is made anew from what is declared")?;
        Kept::read_beside(declared.map(Arc::new))
    }

    /// Reads what was added live, and the domain. Of what is declared PID 1 alone writes the file, and knows what is in it.
    pub fn read_beside(declared: Option<Arc<Records>>) -> anyhow::Result<Kept> {
        let advice =
            format!("put it right, or copy {PREVIOUS_FILE} over it, which is the state before the last change");
        let (live, text) = read(LIVE_FILE, &advice)?;
        Ok(Kept {
            written: declared.clone(),
            declared,
            live: live.unwrap_or_default(),
            // The owner of the mailboxes could put a link there.
            primary_domain: beneath::read_text(Path::new(PRIMARY_DOMAIN_RECORD))
                .ok()
                .map(|domain| domain.trim().to_owned()),
            text,
        })
    }

    /// With other accounts; the files are as they are.
    pub fn with(self, known: Known) -> Kept {
        Kept {
            declared: self.declared.map(|_| known.declared),
            live: known.live,
            ..self
        }
    }

    /// With another name of a domain; the files are as they are.
    pub fn renamed(self, rename: &Rename) -> Kept {
        let Rename { from, to } = rename;
        let mut known = rename.of_known(&self.known());
        let primary_domain = self
            .primary_domain
            .clone()
            .map(|domain| if domain == *from { to.clone() } else { domain });
        if primary_domain.as_ref() == Some(to) {
            known.live.domains.remove(to);
        }
        Kept {
            primary_domain,
            ..self.with(known)
        }
    }

    /// What was in force.
    pub fn known(&self) -> Known {
        Known {
            declared: self.declared.clone().unwrap_or_default(),
            live: self.live.clone(),
        }
    }

    /// The files that keep this from here on: what was added live, with the state before it, where that differs from what is there,
    /// and what is declared, where anything ever was.
    pub fn files(&self, known: &Known) -> Vec<File> {
        let mut files = Vec::new();
        let text = known
            .live
            .text("accounts, aliases and domains that were added by mailroom's commands");
        if text != self.text && !(known.live.is_empty() && self.text.is_empty()) {
            files.push(secret(PREVIOUS_FILE, self.text.clone()));
            files.push(secret(LIVE_FILE, text));
        }
        let is_written = |written: &Arc<Records>| Arc::ptr_eq(written, &known.declared);
        if self.keeps_declared(known) && !self.written.as_ref().is_some_and(is_written) {
            let about = "what was declared when it was last right; Mailroom writes this";
            files.push(secret(DECLARED_FILE, known.declared.text(about)));
        }
        files
    }

    /// What is declared, as its file holds it once [`Kept::files`] are in place.
    pub fn declared_then(&self, known: &Known) -> Option<Arc<Records>> {
        self.keeps_declared(known).then(|| known.declared.clone())
    }

    fn keeps_declared(&self, known: &Known) -> bool {
        self.declared.is_some() || !known.declared.is_empty()
    }
}

/// The file that says whose the short home directories are.
pub fn primary_domain_file(domain: &str) -> File {
    File::public(PRIMARY_DOMAIN_RECORD, format!("{domain}\n"))
}

fn secret(path: &str, text: String) -> File {
    File {
        path: path.into(),
        bytes: text.into_bytes(),
        owner: Owner::ROOT,
        mode: 0o600,
    }
}

fn read(path: &str, advice: &str) -> anyhow::Result<(Option<Records>, String)> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, String::new())),
        // `mailroom check` may be run by anybody.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok((None, String::new())),
        Err(error) => return Err(Unusable(format!("{path}: {error}")).into()),
    };
    let records = Records::parse(&text).and_then(|records| match wrong_record(&records) {
        Some((name, reason)) => Err(Unreadable {
            line: line_of(&text, name),
            fault: Fault::Wrong(format!("{name}: {reason}")),
        }),
        None => Ok(records),
    });
    let Unreadable { line, fault } = match records {
        Ok(records) => return Ok((Some(records), text)),
        Err(unreadable) => unreadable,
    };
    let advice = match fault {
        // It is right as it is: nobody is told to throw it away.
        Fault::Later(_) => String::new(),
        Fault::Wrong(_) => format!("; {advice}"),
    };
    Err(Unusable(format!("{path}:{line}: {fault}{advice}")).into())
}

/// What no command writes, and becomes paths and lines of tables.
fn wrong_record(records: &Records) -> Option<(&str, String)> {
    let domains = records.domains.iter().map(|domain| (domain, is_domain(domain)));
    let accounts = records.accounts.iter().map(|(address, record)| {
        let hash = || password::check_scheme(&record.hash).map_err(|reason| format!("its password {reason}"));
        (address, is_address(address).and_then(|()| hash()))
    });
    let aliases = records.aliases.iter().map(|(address, kept)| {
        let own = address.strip_prefix('@').map_or_else(|| is_address(address), is_domain);
        (
            address,
            own.and_then(|()| kept.targets.iter().try_for_each(|target| is_address(target))),
        )
    });
    let mut wrong = domains
        .chain(accounts)
        .chain(aliases)
        .filter_map(|(name, checked)| Some((name.as_str(), checked.err()?)));
    wrong.next()
}

fn is_domain(text: &str) -> Result<(), String> {
    match domain::read(text)? {
        read if read == text => Ok(()),
        read => Err(format!("is written as {read}")),
    }
}

fn is_address(text: &str) -> Result<(), String> {
    match Address::read(text, "")?.text() {
        read if read == text => Ok(()),
        read => Err(format!("is written as {read}")),
    }
}

fn line_of(text: &str, address: &str) -> usize {
    let quoted = format!("{address:?}");
    (1..)
        .zip(text.lines())
        .find(|(_, line)| line.contains(&quoted))
        .map_or(1, |(number, _)| number)
}

/// What is in force, or shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What is declared, and what no longer is.
    pub declared: Arc<Records>,
    /// What was added live.
    pub live: Records,
}

impl Known {
    /// Whether a declared account stands in the place of a live one.
    pub fn is_shadowed(&self, address: &str) -> bool {
        let declared = self.declared.accounts.get(address);
        declared.is_some_and(|record| record.origin.is_some()) && self.live.accounts.contains_key(address)
    }

    /// Whether it is an account, and still declared where it was.
    pub fn is_account(&self, address: &str) -> bool {
        self.beginning_with(address).any(|account| account == address)
    }

    /// Such accounts whose addresses begin so.
    pub fn beginning_with<'a>(&'a self, begin: &'a str) -> impl Iterator<Item = &'a str> {
        let of = |records: &'a Records| {
            let from_there = records
                .accounts
                .range::<str, _>((Bound::Included(begin), Bound::Unbounded));
            from_there.take_while(move |(address, _)| address.starts_with(begin))
        };
        let declared = of(&self.declared).filter(|(_, record)| record.origin.is_some());
        declared.chain(of(&self.live)).map(|(address, _)| address.as_str())
    }

    /// Adds what settings declare that need not be those of the server: what they do not declare stays as it was.
    pub fn declare(&mut self, declared: &Records) {
        let is_declared = |(_, record): &(&String, &Record)| record.origin.is_some();
        let accounts = declared.accounts.iter().filter(is_declared);
        let accounts = accounts.map(|(address, record)| (address.clone(), record.clone()));
        let all = Arc::make_mut(&mut self.declared);
        all.accounts.extend(accounts);
        all.aliases.extend(declared.aliases.clone());
        all.seal = declared.seal.clone().or(all.seal.take());
    }

    /// Whether there is none, disabled or no longer declared ones among them.
    pub fn is_without_accounts(&self) -> bool {
        self.declared.accounts.is_empty() && self.live.accounts.is_empty()
    }

    /// Whether there never was one: a server that had accounts once does not get those with public passwords back, which would
    /// read the mail that was kept.
    pub fn never_had_accounts(&self) -> bool {
        self.is_without_accounts() && !self.live.had_accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;

    fn paths(kept: &Kept, known: &Known) -> Vec<String> {
        let files = kept.files(known);
        files.iter().map(|file| file.path.display().to_string()).collect()
    }

    #[test]
    fn the_last_account_that_is_no_longer_declared_can_go() {
        let mut known = Known::default();
        assert!(paths(&Kept::default(), &known).is_empty(), "nothing was ever kept");
        let record = Record {
            hash: "{BLF-CRYPT}$2y$10$x".to_owned(),
            role: Role::User,
            quota: None,
            enabled: false,
            origin: None,
        };
        Arc::make_mut(&mut known.declared)
            .accounts
            .insert("a@b.test".to_owned(), record);
        assert_eq!(paths(&Kept::default(), &known), [DECLARED_FILE]);
        let kept = Kept {
            declared: Some(known.declared.clone()),
            ..Kept::default()
        };
        let files = kept.files(&Known::default());
        assert!(
            files.len() == 1 && files[0].path == Path::new(DECLARED_FILE),
            "{files:?}"
        );
        let text = String::from_utf8(files[0].bytes.clone()).unwrap();
        assert!(!text.contains("a@b.test"), "{text}");
    }

    #[test]
    fn the_state_before_is_kept_with_each_change() {
        let mut known = Known::default();
        known.live.domains.insert("b.test".to_owned());
        assert_eq!(paths(&Kept::default(), &known), [PREVIOUS_FILE, LIVE_FILE]);
    }

    #[test]
    fn a_rename_of_the_primary_domain_changes_its_record() {
        let of = |primary_domain: &str| {
            let mut kept = Kept {
                primary_domain: Some(primary_domain.to_owned()),
                ..Kept::default()
            };
            kept.live.domains.insert("new.test".to_owned());
            let rename = Rename {
                from: "old.test".to_owned(),
                to: "new.test".to_owned(),
            };
            let renamed = kept.renamed(&rename);
            (renamed.primary_domain.unwrap(), renamed.live.domains.len())
        };
        assert_eq!(of("old.test"), ("new.test".to_owned(), 0), "it is no further one then");
        assert_eq!(of("a.test"), ("a.test".to_owned(), 1));
    }

    #[test]
    fn what_no_command_writes_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("accounts.jsonl");
        let hash = "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
        let account = |address: &str| format!("{{\"account\":{{\"address\":\"{address}\",\"password\":\"{hash}\"}}}}");
        let said = |line: &str| {
            let text = format!(
                "{{\"mailroom\":\"x\",\"version\":1}}\n{}\n{line}\n",
                account("a@b.test")
            );
            fs::write(&path, text).unwrap();
            read(path.to_str().unwrap(), "advice")
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(said(&account("o'neil@b.test")), Ok(()));
        for line in [
            account("a/../../../tmp/x@example.org"),
            account("A B:x@example.org"),
            account("Capital@b.test"),
            account("short"),
            "{\"domain\":\"../x\"}".to_owned(),
            "{\"alias\":{\"address\":\"@../x\",\"targets\":[\"a@b.test\"]}}".to_owned(),
            "{\"alias\":{\"address\":\"info@b.test\",\"targets\":[\"|/bin/sh\"]}}".to_owned(),
        ] {
            let reason = said(&line).unwrap_err();
            assert!(
                reason.contains("accounts.jsonl:3: ") && reason.ends_with("; advice"),
                "{line}: {reason}"
            );
        }
        fs::write(&path, "{\"mailroom\":\"x\",\"version\":2}\n").unwrap();
        let reason = read(path.to_str().unwrap(), "advice").unwrap_err().to_string();
        assert!(reason.ends_with("use that one"), "no advice to throw it away: {reason}");
    }
}
