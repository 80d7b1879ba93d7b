//! Reads what was gathered: the variables of the table by their types here, all others in the rooms of their owners. It goes
//! through all of them and keeps every mistake, instead of stopping at the first.

use std::collections::{BTreeMap, BTreeSet};

use super::gather::{Gathered, Given};
use super::table::{OURS, Table, Variable};
use super::{DropIn, Knowledge, Names, noise, owner};
use crate::report::Mistake;
use crate::secrets::{self, HIDDEN, Secrets};
use crate::values::kind::Kind;
use crate::values::{nearest, words};

/// The checked values of the table's variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, Entry>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As the daemons and the typed settings are given it.
    pub canonical: String,
    /// As the user wrote it; the default where it was not set.
    pub raw: String,
    /// The name as the user wrote it, or `file:line`.
    pub origin: String,
    /// It was set, and not to nothing.
    pub explicit: bool,
    /// The file that it came from, where its lines count.
    pub file: Option<String>,
}

impl Values {
    /// As if the value came from a file, for tests.
    #[cfg(test)]
    pub fn in_file(&mut self, name: &str, path: &str) {
        if let Some(entry) = self.0.get_mut(name) {
            entry.file = Some(path.to_owned());
        }
    }

    /// The value of a variable of the table; none where it was refused, or where unset has a meaning of its own.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// Names and canonical texts, as `envy::from_iter` takes them.
    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0
            .iter()
            .map(|(name, entry)| ((*name).to_owned(), entry.canonical.clone()))
    }
}

/// A variable that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its whole name.
    pub name: String,
    /// What stands behind the prefix.
    pub rest: String,
    /// Its value.
    pub value: String,
}

/// What was read.
#[derive(Debug)]
pub struct Checked {
    /// The table's values.
    pub values: Values,
    /// What is never shown.
    pub secrets: Secrets,
    /// What a user should know about how the environment was understood.
    pub notes: Vec<String>,
    /// What is wrong. A wrong variable of the table has its default, any other one is not there.
    pub mistakes: Vec<Mistake>,
}

/// What a shell, a compose file or a template made of a value: quotes, and a word for an absent one where a secret was meant.
/// A secret may be that all the same: what a file holds is taken as it is. The reason does not repeat the word.
fn as_meant(variable: &Variable, value: &str) -> Result<(), String> {
    let is_absent = variable.secret && words::means_none(words::tidy(value));
    let checked = match words::without_quotes(value) {
        Ok(()) if is_absent => Err("is what a template writes for an absent value: leave it empty".to_owned()),
        Ok(()) if !variable.secret && words::holds_comment(value) => {
            Err("has a # behind a blank, as a comment has, which an env file takes \
                                                      for a part of the value: leave it out"
                .to_owned())
        }
        checked => checked,
    };
    let otherwise = || format!(", or name a file by {}_FILE if it is meant so", variable.name);
    checked.map_err(|reason| if variable.secret { reason + &otherwise() } else { reason })
}

/// Goes through what was gathered.
#[derive(Debug)]
pub struct Reader {
    table: Table,
    gathered: Gathered,
    values: Values,
    /// Variables of Kubernetes and of docker links.
    ignored: BTreeSet<String>,
    /// Unknown names that may be meant for a secret's.
    hidden: BTreeSet<String>,
    secrets: Secrets,
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// For what was gathered.
    pub fn new(table: Table, mut gathered: Gathered) -> Reader {
        Reader {
            table,
            values: Values::default(),
            ignored: BTreeSet::new(),
            hidden: BTreeSet::new(),
            secrets: Secrets::default(),
            mistakes: std::mem::take(&mut gathered.mistakes),
            gathered,
        }
    }

    /// Reads every variable of the table, given or not. One that must not be empty keeps its default when it is: compose
    /// files pass `${UNSET}` on as nothing. `also` is what a value's owner has against it besides its type.
    pub fn read_table(&mut self, also: impl Fn(&'static Variable, &str) -> Result<(), String>) {
        for variable in self.table.clone().iter() {
            let given = self.gathered.variables.get(variable.name);
            let is_value = |given: &&Given| !given.value.trim().is_empty() || variable.kind.canonical("").is_ok();
            let Some(raw) = given
                .filter(is_value)
                .map(|given| given.value.clone())
                .or_else(|| variable.value_when_unset().map(str::to_owned))
            else {
                continue;
            };
            let entry = |canonical: String| Entry {
                canonical,
                raw: raw.clone(),
                origin: self.origin(variable.name),
                explicit: given.is_some_and(|given| !given.value.trim().is_empty()),
                file: given.and_then(|given| given.file.clone()),
            };
            let is_taken_as_it_is = |given: &&Given| given.secret || !matches!(variable.kind, Kind::Text);
            let checked = given
                .filter(|given| !is_taken_as_it_is(given))
                .map_or(Ok(()), |given| as_meant(variable, &given.value))
                .and_then(|()| variable.kind.canonical(&raw))
                .and_then(|canonical| also(variable, &canonical).map(|()| entry(canonical)));
            match checked {
                Ok(entry) => {
                    self.values.0.insert(variable.name, entry);
                }
                Err(reason) => {
                    self.mistake(variable.name, reason);
                    self.assume_default(variable);
                }
            }
        }
    }

    /// The rest is judged as if a wrong variable were not set.
    fn assume_default(&mut self, variable: &'static Variable) {
        let default = variable.value_when_unset();
        let canonical = default.and_then(|default| variable.kind.canonical(default).ok());
        let entry = canonical.map(|canonical| Entry {
            raw: canonical.clone(),
            canonical,
            origin: self.origin(variable.name),
            explicit: false,
            file: None,
        });
        self.values.0.extend(entry.map(|entry| (variable.name, entry)));
    }

    /// A password may hold any sign, and what looks like a comment may be a slip.
    fn doubtful_secrets(&self) -> impl Iterator<Item = String> {
        let is_text = |variable: &Variable| matches!(variable.kind, Kind::Text);
        let secrets = self
            .table
            .iter()
            .filter(move |variable| variable.secret && is_text(variable));
        let is_doubtful = |name: &str| {
            let given = self.gathered.variables.get(name);
            given.is_some_and(|given| !given.secret && words::holds_comment(&given.value))
        };
        let doubtful = secrets.filter(move |variable| is_doubtful(variable.name));
        doubtful.map(|variable| format!("{}: # and what stands behind it are a part of the value", variable.name))
    }

    /// Sets aside what Kubernetes and docker links have left in the environment, and refuses unknown names of Mailroom's
    /// own.
    pub fn sort_out(&mut self, owners: &[&dyn Names]) {
        for (name, given) in self.gathered.variables.clone() {
            if self.table.variable(&name).is_some() {
                continue;
            }
            if self.needs_capitals(&name, &given.value, owners) {
                let capitals = name.to_ascii_uppercase();
                let right = owner(owners, &capitals).map(|_| capitals.clone());
                let reason = self.unknown(&name, "is not a variable of mailroom", right.as_slice());
                self.mistake(&name, reason);
                continue;
            }
            let owned = owner(owners, &name);
            let Some(rest) = owned.map(|(.., rest)| rest).or_else(|| name.strip_prefix(OURS)) else {
                continue;
            };
            let is_setting = owned.is_some_and(|(owner, prefix, rest)| owner.knows(prefix, rest) == Knowledge::Yes);
            if !is_setting && noise::is_noise(rest, &given.value) {
                self.ignored.insert(name);
            } else if owned.is_none() {
                let meant = owners.iter().find_map(|owner| owner.meant_by(rest));
                let reason = match meant {
                    Some(meant) => self.instead(&name, &meant),
                    None => self.unknown(&name, "is not a variable of mailroom", &[]),
                };
                self.mistake(&name, reason);
            }
        }
    }

    /// Whether a name would be one of ours if its prefix were in capitals. `postfix_` and `dovecot_` begin the names of other
    /// programs' variables, too: only those of settings are meant.
    fn needs_capitals(&self, name: &str, value: &str, owners: &[&dyn Names]) -> bool {
        let capitals = name.to_ascii_uppercase();
        let owned = owner(owners, &capitals);
        let Some((prefix, rest)) = owned
            .map(|(_, prefix, rest)| (prefix, rest))
            .or_else(|| Some((OURS, capitals.strip_prefix(OURS)?)))
        else {
            return false;
        };
        let is_setting = self.table.variable(&capitals).is_some()
            || owned.is_some_and(|(owner, prefix, rest)| owner.knows(prefix, rest) == Knowledge::Yes);
        !name.starts_with(prefix) && !noise::is_noise(rest, value) && (is_setting || capitals.starts_with(OURS))
    }

    /// The variables with this prefix that are not in the table.
    pub fn others(&self, prefix: &str) -> Vec<Other> {
        let is_other = |name: &str| self.table.variable(name).is_none() && !self.ignored.contains(name);
        self.gathered
            .variables
            .iter()
            .filter(|(name, _)| is_other(name))
            .filter_map(|(name, given)| {
                Some(Other {
                    name: name.clone(),
                    rest: name.strip_prefix(prefix)?.to_owned(),
                    value: given.value.clone(),
                })
            })
            .collect()
    }

    /// All that is given, by the table's own names.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.gathered.variables.iter();
        variables.map(|(name, given)| (name.as_str(), given.value.as_str()))
    }

    /// The files of a drop-in directory.
    pub fn files(&self, directory: &str) -> &[DropIn] {
        self.gathered.files.get(directory).map_or(&[], Vec::as_slice)
    }

    /// The table of variables.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table's values that were read so far.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// How a variable is called in messages.
    pub fn origin(&self, name: &str) -> String {
        let given = self.gathered.variables.get(name);
        given.map_or_else(|| name.to_owned(), |given| given.origin.clone())
    }

    /// Keeps a mistake about a variable. A reason may repeat a part of the value: not for secrets.
    pub fn mistake(&mut self, name: &str, reason: String) {
        let value = self.gathered.variables.get(name).map(|given| given.value.clone());
        let value = value.unwrap_or_default();
        let reason = words::with_likely_cause(reason, &value);
        let repeats = value
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| !word.is_empty() && reason.contains(word));
        let is_about_the_value = (repeats || reason.contains("did you mean")) && !self.hidden.contains(name);
        let (value, reason) = match self.table.variable(name) {
            _ if !self.is_secret(name) => (value, reason),
            _ if !is_about_the_value => (HIDDEN.to_owned(), reason),
            Some(variable) => (
                HIDDEN.to_owned(),
                format!("is not allowed: must be {}", variable.kind.allowed()),
            ),
            None => (HIDDEN.to_owned(), "is not allowed".to_owned()),
        };
        let origin = self.origin(name);
        // A line of a file has no variable's name before it.
        let parameter = self.table.variable(name).and_then(|variable| variable.parameter);
        let setting = parameter.or_else(|| name.split_once('_').map(|(_, setting)| setting));
        let value = match setting.filter(|_| origin.starts_with('/')) {
            Some(setting) => format!("{setting} = {value}"),
            None => value,
        };
        self.mistakes.push(Mistake::new(origin, value, reason));
    }

    /// Keeps a mistake in a drop-in file.
    pub fn mistake_in_file(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Adds a secret that does not stand in a variable of its own.
    pub fn add_secret(&mut self, value: &str) {
        self.secrets.add_value(value);
    }

    /// Whether a variable's value is never shown: because the table says so, because it came from a file, or because of its
    /// name.
    pub fn is_secret(&self, name: &str) -> bool {
        let Some(given) = self.gathered.variables.get(name) else {
            return false;
        };
        given.secret
            || self.hidden.contains(name)
            || self.table.variable(name).is_some_and(|variable| variable.secret)
            || secrets::is_secret(name, &given.value)
    }

    /// The words for an unknown name, with the nearest right one of the table and of `others`.
    pub fn unknown(&mut self, name: &str, what: &str, others: &[String]) -> String {
        let wanted = name.to_ascii_uppercase();
        let mut names: Vec<String> = self.table.iter().map(|variable| variable.name.to_owned()).collect();
        names.extend_from_slice(others);
        if wanted.ends_with("_FILE") {
            let files: Vec<String> = names.iter().map(|name| format!("{name}_FILE")).collect();
            names.extend(files);
        }
        let nearest = nearest(&wanted, names.iter().map(String::as_str));
        if secrets::looks_secret(&wanted) || nearest.is_some_and(secrets::looks_secret) {
            self.hidden.insert(name.to_owned());
        }
        // A line of a file has the parameter's own name.
        let prefix = name.split_once('_').map_or("", |(prefix, _)| prefix);
        let in_file = self.origin(name).starts_with('/');
        match nearest {
            Some(nearest) if in_file && nearest.starts_with(&format!("{prefix}_")) => {
                let parameter = nearest[prefix.len() + 1..].to_ascii_lowercase();
                format!("{what}; did you mean {parameter}?")
            }
            Some(nearest) => format!("{what}; did you mean {nearest}?"),
            None => what.to_owned(),
        }
    }

    /// The words for a name of ours that does not exist, where another variable is meant.
    fn instead(&mut self, name: &str, meant: &str) -> String {
        if secrets::looks_secret(name) || secrets::looks_secret(meant) {
            self.hidden.insert(name.to_owned());
        }
        if meant.contains([' ', '=']) {
            format!("is not a variable of mailroom; here it is {meant}")
        } else {
            format!("is not a variable of mailroom; did you mean {meant}?")
        }
    }

    /// The words for a name that another image has, and ours for it.
    pub fn another_images(&mut self, name: &str, ours: &str) -> String {
        if secrets::looks_secret(name) || secrets::looks_secret(ours) {
            self.hidden.insert(name.to_owned());
        }
        if ours.contains([' ', '=']) {
            format!("is the name that another image has; here it is {ours}")
        } else {
            format!("is the name that another image has; did you mean {ours}?")
        }
    }

    /// The values, and what is wrong. `prefixes` are those of all owners: other programs' secrets are none of ours.
    pub fn finish(mut self, prefixes: &[&'static str]) -> Checked {
        let is_ours = |name: &str| {
            let has_prefix = prefixes.iter().chain([&OURS]).any(|prefix| name.starts_with(prefix));
            has_prefix || self.table.variable(name).is_some()
        };
        let names = self.gathered.variables.keys();
        let secrets: Vec<String> = names
            .filter(|name| is_ours(name) && self.is_secret(name))
            .cloned()
            .collect();
        for name in &secrets {
            self.take_secret(name);
        }
        let ignored = self.ignored.iter();
        let ignored = ignored.map(|name| format!("Ignored: {name}, of Kubernetes or a docker link"));
        let is_debugged = self.values.entry("MAILROOM_LOG_LEVEL");
        let is_debugged = is_debugged.is_some_and(|level| ["debug", "trace"].contains(&level.canonical.as_str()));
        let skipped = self.gathered.skipped.iter();
        let skipped = skipped.map(|path| {
            format!(
                "Not read: {}, whose name ends in none of .cf, .conf and .sieve",
                path.display()
            )
        });
        Checked {
            notes: ignored
                .filter(|_| is_debugged)
                .chain(skipped)
                .chain(self.doubtful_secrets())
                .collect(),
            values: self.values,
            secrets: self.secrets,
            mistakes: self.mistakes,
        }
    }

    /// A secret is hidden as it was given and as it is rendered. Neither main.cf nor a table nor dovecot.conf holds blanks at
    /// the ends of a value: a secret with them would be another one.
    fn take_secret(&mut self, name: &str) {
        let Some(given) = self.gathered.variables.get(name).cloned() else {
            return;
        };
        let variable = self.table.variable(name);
        let has_lines = variable.is_some_and(|variable| matches!(variable.kind, Kind::Entries));
        if given.value.trim() != given.value && !has_lines {
            let reason = "must not begin or end with a blank";
            self.mistakes.push(Mistake::new(given.origin.clone(), HIDDEN, reason));
        }
        self.secrets.add_name(given.origin);
        self.secrets.add_value(&given.value);
        if let Some(entry) = self.values.entry(name) {
            let canonical = entry.canonical.clone();
            self.secrets.add_value(&canonical);
        }
    }
}
