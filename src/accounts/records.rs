//! Accounts, aliases and domains as they are kept on disk: JSON Lines (one JSON object a line), sorted, with the version of the
//! format in the first.
//!
//! ```text
//! {"mailroom":"accounts of this server's own","version":1}
//! {"domain":"example.net"}
//! {"account":{"address":"alice@example.org","password":"{BLF-CRYPT}$2y$10$…","role":"admin","quota":"5G"}}
//! {"alias":{"address":"info@example.org","targets":["alice@example.org"]}}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Alias, Quota, Role};

/// The format that this program writes. A file of a later one is refused.
const VERSION: u32 = 1;

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A later version of Mailroom has written the file, in this format.
    Later(u32),
    /// Anything else, in words.
    Wrong(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Later(version) => write!(
                f,
                "was written by a later version of Mailroom (format {version}, this one reads {VERSION}): use that one"
            ),
            Fault::Wrong(reason) => f.write_str(reason),
        }
    }
}

/// What is kept of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The hash of its password, with its scheme.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// How much it may store, where that is said of it alone.
    pub quota: Option<Quota>,
    /// It logs in and gets mail.
    pub enabled: bool,
    /// Where it is declared: a variable, or `file:line`.
    pub origin: Option<String>,
}

/// What is kept of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Full addresses.
    pub targets: Vec<String>,
    /// Where it is declared.
    pub origin: Option<String>,
}

/// All that one file holds, by addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Domains.
    pub domains: BTreeSet<String>,
    /// Accounts.
    pub accounts: BTreeMap<String, Record>,
    /// Aliases.
    pub aliases: BTreeMap<String, Targets>,
    /// Of passwords that were given in clear: the hash of all of them (see [`super::declared`]).
    pub seal: Option<String>,
    /// There were accounts before, even if there is none now: the test accounts do not come back.
    pub had_accounts: bool,
}

impl Records {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Records::default()
    }

    /// The aliases, each with its address.
    pub fn all_aliases(&self) -> impl Iterator<Item = Alias> {
        self.aliases.iter().map(|(address, kept)| Alias {
            address: address.clone(),
            targets: kept.targets.clone(),
        })
    }

    /// The file's text. `about` says what it is for.
    pub fn text(&self, about: &str) -> String {
        let header = Line::Header(Header {
            mailroom: about.to_owned(),
            version: VERSION,
            seal: self.seal.clone(),
            had_accounts: self.had_accounts,
        });
        let domains = self
            .domains
            .iter()
            .map(|name| Line::Domain(Domain { domain: name.clone() }));
        let accounts = self
            .accounts
            .iter()
            .map(|(address, record)| Line::Account(account(address, record)));
        let aliases = self
            .aliases
            .iter()
            .map(|(address, kept)| Line::Alias(alias(address, kept)));
        let lines = std::iter::once(header).chain(domains).chain(accounts).chain(aliases);
        lines
            .filter_map(|line| serde_json::to_string(&line).ok())
            .fold(String::new(), |text, line| text + &line + "\n")
    }

    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Records, Unreadable> {
        let mut records = Records::default();
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |fault: Fault| Unreadable { line: number, fault };
            if line.trim().is_empty() {
                continue;
            }
            let line = read(line, number == 1).map_err(wrong)?;
            let is_new = match line {
                Line::Header(header) => {
                    records.seal = header.seal;
                    records.had_accounts = header.had_accounts;
                    true
                }
                Line::Domain(Domain { domain }) => records.domains.insert(domain),
                Line::Account(OfAccount { account }) => {
                    let address = account.address.clone();
                    records.accounts.insert(address, account.into()).is_none()
                }
                Line::Alias(OfAlias { alias }) => {
                    let kept = Targets {
                        targets: alias.targets,
                        origin: alias.origin,
                    };
                    records.aliases.insert(alias.address, kept).is_none()
                }
            };
            if !is_new {
                return Err(wrong(Fault::Wrong("is there twice".to_owned())));
            }
        }
        Ok(records)
    }
}

/// One line. The words of the objects' keys are read by hand, for errors that say what is wrong.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Header(Header),
    Domain(Domain),
    Account(OfAccount),
    Alias(OfAlias),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    mailroom: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    had_accounts: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    domain: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAccount {
    account: AccountLine,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountLine {
    address: String,
    password: String,
    #[serde(default)]
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    declared: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAlias {
    alias: AliasLine,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasLine {
    address: String,
    targets: Vec<String>,
    #[serde(default, rename = "declared", skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

fn account(address: &str, record: &Record) -> OfAccount {
    OfAccount {
        account: AccountLine {
            address: address.to_owned(),
            password: record.hash.clone(),
            role: record.role,
            quota: record.quota,
            disabled: !record.enabled,
            declared: record.origin.clone(),
        },
    }
}

fn alias(address: &str, kept: &Targets) -> OfAlias {
    OfAlias {
        alias: AliasLine {
            address: address.to_owned(),
            targets: kept.targets.clone(),
            origin: kept.origin.clone(),
        },
    }
}

impl From<AccountLine> for Record {
    fn from(line: AccountLine) -> Record {
        Record {
            hash: line.password,
            role: line.role,
            quota: line.quota,
            enabled: !line.disabled,
            origin: line.declared,
        }
    }
}

fn read(line: &str, is_first: bool) -> Result<Line, Fault> {
    let kind = line.trim_start_matches(['{', ' ', '"']);
    let read = match kind.split('"').next().unwrap_or_default() {
        _ if is_first => serde_json::from_str(line).map(Line::Header),
        "domain" => serde_json::from_str(line).map(Line::Domain),
        "account" => serde_json::from_str(line).map(Line::Account),
        "alias" => serde_json::from_str(line).map(Line::Alias),
        _ => {
            let reason = "is no domain, account or alias as this version writes them";
            return Err(Fault::Wrong(reason.to_owned()));
        }
    };
    match read {
        Ok(Line::Header(header)) if header.version > VERSION => Err(Fault::Later(header.version)),
        Ok(line) => Ok(line),
        Err(error) => Err(Fault::Wrong(without_place(&error.to_string()))),
    }
}

/// What stands behind " at line" counts within this line.
fn without_place(error: &str) -> String {
    error.split(" at line").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(hash: &str) -> Record {
        Record {
            hash: hash.to_owned(),
            role: Role::User,
            quota: None,
            enabled: true,
            origin: None,
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let mut records = Records::default();
        records.domains.insert("c.test".to_owned());
        records
            .accounts
            .insert("a@b.test".to_owned(), record("{BLF-CRYPT}$2y$10$x"));
        let other = Record {
            role: Role::Administrator,
            quota: "5G".parse().ok(),
            enabled: false,
            origin: Some("/run/secrets/accounts:3".to_owned()),
            ..record("{X}\"\\y")
        };
        records.accounts.insert("o'neil@b.test".to_owned(), other);
        let targets = Targets {
            targets: vec!["a@b.test".to_owned(), "x@example.org".to_owned()],
            origin: None,
        };
        records.aliases.insert("info@b.test".to_owned(), targets);
        records.seal = Some("$2y$10$z".to_owned());
        let text = records.text("a test");
        assert_eq!(Records::parse(&text), Ok(records), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        let line = r#"{"account":{"address":"a@b.test","password":"{BLF-CRYPT}$2y$10$x","role":"user"}}"#;
        assert_eq!(text.lines().nth(2), Some(line));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let header = "{\"mailroom\":\"x\",\"version\":1}\n";
        for (line, reason) in [
            ("{\"domain\":\"a.test\"", "EOF"),
            ("x", "is no domain, account or alias"),
            ("{\"account\":{\"address\":\"a@b.test\"}}", "missing field `password`"),
            (
                "{\"account\":{\"address\":\"a@b.test\",\"password\":\"x\",\"rule\":\"user\"}}",
                "unknown field `rule`",
            ),
            (
                "{\"account\":{\"address\":\"a@b.test\",\"password\":\"x\",\"role\":\"boss\"}}",
                "unknown variant `boss`",
            ),
            ("{\"domain\":\"a.test\"}\n{\"domain\":\"a.test\"}", "is there twice"),
        ] {
            let unreadable = Records::parse(&format!("{header}\n{line}\n")).unwrap_err();
            let said = unreadable.fault.to_string();
            assert!(
                said.contains(reason) && unreadable.line >= 3 && !said.contains("at line"),
                "{line}: {said}"
            );
        }
    }

    #[test]
    fn a_later_format_is_told_from_a_wrong_line() {
        let unreadable = Records::parse("{\"mailroom\":\"x\",\"version\":2}\n").unwrap_err();
        let fault = Fault::Later(2);
        assert_eq!(unreadable, Unreadable { line: 1, fault });
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = Records::parse(&text);
            let _ = Records::parse(&format!("{{\"mailroom\":\"x\",\"version\":1}}\n{text}"));
        }
    }
}
