//! All that is known of accounts, of both origins: what is declared, and what was added live. Both are kept in
//! /var/lib/mailroom.

use std::fs;
use std::io::ErrorKind;

use super::password;
use super::records::Records;
use crate::layout::{DECLARED_FILE, LIVE_FILE, PREVIOUS_FILE};
use crate::plan::File;
use crate::report::Unusable;
use crate::system::files::Owner;

/// What was kept when the server was last in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was declared; nothing before the first start with a declaration.
    pub declared: Option<Records>,
    /// What was added live.
    pub live: Records,
    /// The file of it, as it is.
    text: String,
}

impl Kept {
    /// Reads both files. An error names file and line, and what to do.
    pub fn read() -> anyhow::Result<Kept> {
        let (declared, _) = read(DECLARED_FILE, "remove it: it is made anew from what is declared")?;
        let advice =
            format!("put it right, or copy {PREVIOUS_FILE} over it, which is the state before the last change");
        let (live, text) = read(LIVE_FILE, &advice)?;
        Ok(Kept {
            declared,
            live: live.unwrap_or_default(),
            text,
        })
    }

    /// With other accounts; the files are as they are.
    pub fn with(self, known: Known) -> Kept {
        Kept {
            declared: self.declared.map(|_| known.declared),
            live: known.live,
            text: self.text,
        }
    }

    /// What was in force.
    pub fn known(&self) -> Known {
        Known {
            declared: self.declared.clone().unwrap_or_default(),
            live: self.live.clone(),
        }
    }

    /// The file of what was added live, and of the state before, where they differ from what is there.
    pub fn files(&self) -> Vec<File> {
        let about = "accounts, aliases and domains that were added by mailroom's commands";
        let text = self.live.text(about);
        if text == self.text || (self.live.is_empty() && self.text.is_empty()) {
            return Vec::new();
        }
        vec![secret(PREVIOUS_FILE, self.text.clone()), secret(LIVE_FILE, text)]
    }
}

/// The file of what is declared; none where nothing ever was.
pub fn declared_file(declared: &Records) -> Option<File> {
    let about = "what was declared when it was last right; Mailroom writes this";
    (!declared.is_empty()).then(|| secret(DECLARED_FILE, declared.text(about)))
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
    let records = Records::parse(&text).and_then(|records| match wrong_hash(&records) {
        Some((address, reason)) => Err((line_of(&text, address), format!("{address}: its password {reason}"))),
        None => Ok(records),
    });
    match records {
        Ok(records) => Ok((Some(records), text)),
        Err((line, reason)) => Err(Unusable(format!("{path}:{line}: {reason}; {advice}")).into()),
    }
}

fn wrong_hash(records: &Records) -> Option<(&str, String)> {
    records.accounts.iter().find_map(|(address, record)| {
        let reason = password::check_scheme(&record.hash).err()?;
        Some((address.as_str(), reason))
    })
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
    pub declared: Records,
    /// What was added live.
    pub live: Records,
}

impl Known {
    /// Whether a declared account stands in the place of a live one.
    pub fn is_shadowed(&self, address: &str) -> bool {
        let declared = self.declared.accounts.get(address);
        declared.is_some_and(|record| record.origin.is_some()) && self.live.accounts.contains_key(address)
    }

    /// Whether there is none at all, disabled or no longer declared ones among them: whoever had accounts once does not get those
    /// with public passwords back.
    pub fn has_no_account(&self) -> bool {
        self.declared.accounts.is_empty() && self.live.accounts.is_empty()
    }
}
