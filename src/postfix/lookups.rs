//! Every table that a setting names is asked once, by postmap(1): Postfix's daemons compile rules and open tables when
//! mail comes, warn of what they cannot use, and go without it or defer all mail. Tables behind a network (`ldap:`,
//! `mysql:`, `socketmap:`) are not asked: their servers may start later.

use nix::unistd::{AccessFlags, access};

use super::parameters::table_words;
use super::rules;

/// A table to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The variable, or `file:line`, that names it.
    pub origin: String,
    /// The parameter.
    pub parameter: String,
    /// The whole value.
    pub value: String,
    /// `type:name`.
    pub table: String,
}

/// Types that are asked.
const ASKED: [&str; 9] = [
    "btree", "cdb", "cidr", "hash", "inline", "lmdb", "pcre", "regexp", "texthash",
];

/// The tables that a value names.
pub(super) fn of(origin: &str, parameter: &str, value: &str) -> Vec<Lookup> {
    let is_asked = |word: &&str| {
        let kind = word.split_once(':').map(|(kind, _)| kind);
        kind.is_some_and(|kind| ASKED.contains(&kind)) && !word.contains('$')
    };
    let words = table_words(value);
    let words = words.iter().map(|word| word.trim_start_matches('!'));
    let lookup = |table: &str| Lookup {
        origin: origin.to_owned(),
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        table: table.to_owned(),
    };
    words.filter(is_asked).map(lookup).collect()
}

impl Lookup {
    /// The path of its file, where it has one.
    pub(super) fn path(&self) -> Option<&str> {
        let (_, name) = self.table.split_once(':')?;
        name.starts_with('/').then_some(name)
    }

    /// Whether this process may read it: `check` runs as anybody.
    pub(super) fn is_readable(&self) -> bool {
        let may_read = |path: &str| access(path, AccessFlags::R_OK).is_ok();
        self.path().is_none_or(may_read)
    }

    /// What is wrong with its rules besides what postmap(1) says.
    pub(super) fn wrong_rules(&self) -> Vec<String> {
        let is_of_rules = ["regexp:", "pcre:"].iter().any(|kind| self.table.starts_with(kind));
        let Some(path) = self.path().filter(|_| is_of_rules) else {
            return Vec::new();
        };
        let text = std::fs::read(path).unwrap_or_default();
        rules::wrong(&self.parameter, &String::from_utf8_lossy(&text))
            .into_iter()
            .map(|(line, reason)| format!("{path}:{line}: {reason}"))
            .collect()
    }
}

/// What postmap(1) says, in our words: `regexp map /t/x, line 1: Unmatched (` becomes `/t/x:1: Unmatched (`.
pub(super) fn reason(said: &str) -> String {
    let said = ["fatal: ", "error: ", "warning: "]
        .iter()
        .find_map(|level| said.split_once(level).map(|(_, reason)| reason))
        .unwrap_or(said);
    let in_line = |said: &str| {
        let (_, rest) = said.split_once(" map ")?;
        let (path, rest) = rest.split_once(", line ")?;
        let (line, reason) = rest.split_once(": ")?;
        let is_number = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| format!("{path}:{line}: {reason}"))
    };
    in_line(said).unwrap_or_else(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_in_values() {
        let tables =
            |value: &str| -> Vec<String> { of("X", "y", value).into_iter().map(|found| found.table).collect() };
        assert_eq!(
            tables("regexp:/a, static:b unionmap:{lmdb:/c, inline:{d=e}} ldap:f cidr:$g/h check_x_access !pcre:/i"),
            ["regexp:/a", "pcre:/i", "lmdb:/c", "inline:{d=e}"]
        );
    }

    #[test]
    fn what_postmap_says_names_file_and_line() {
        assert_eq!(
            reason("postmap: warning: regexp map /t/r1, line 1: Unmatched ( or \\("),
            "/t/r1:1: Unmatched ( or \\("
        );
        assert_eq!(
            reason("postmap: fatal: missing '=' after attribute name"),
            "missing '=' after attribute name"
        );
    }
}
