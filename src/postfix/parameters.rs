//! The main.cf parameters: those that the installed Postfix knows, what each may hold, and those that Mailroom decides
//! itself.

mod bounds;
mod lists;
mod owned;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::bounds::{FROM_ONE, NEVER_EMPTY, WITHIN};
use self::lists::{FREE, NETWORKS, TABLE_TYPES, WORDS};
pub use self::owned::{owned, owned_markdown};
pub use self::shapes::{is_list, may_be_set};
use super::{destinations, variables};
use crate::values::kind::{self, Kind};
use crate::values::network::{self, Networks};
use crate::values::words;

/// The parameters of the installed Postfix, and the types of tables that it can read.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// By name in lower case, for names are found without regard to case: `SMTP_TLS_CAFILE` is `smtp_tls_CAfile`.
    known: BTreeMap<String, Parameter>,
    table_types: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Parameter {
    name: String,
    default: String,
}

/// Parameters of the rendered configuration's own, to which master.cf refers (as in Postfix's own submission example).
pub const OURS: [&str; 4] = [
    "mua_client_restrictions",
    "mua_data_restrictions",
    "mua_relay_restrictions",
    "mua_sender_restrictions",
];

impl Parameters {
    /// Reads what `postconf -d` and `postconf -m` print: `name = value` lines, and a type on each line.
    pub fn parse(postconf_d: &str, postconf_m: &str) -> Parameters {
        let listed = postconf_d.lines().filter_map(|line| line.split_once(" ="));
        let ours = OURS.map(|name| (name, ""));
        let known = listed.chain(ours).map(|(name, default)| {
            let parameter = Parameter {
                name: name.to_owned(),
                default: default.trim().to_owned(),
            };
            (name.to_ascii_lowercase(), parameter)
        });
        Parameters {
            known: known.collect(),
            table_types: postconf_m.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The parameter's own name, for a name in any case.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.known
            .get(&name.to_ascii_lowercase())
            .map(|parameter| parameter.name.as_str())
    }

    /// What it is unless it is set.
    pub fn default_of(&self, name: &str) -> &str {
        self.known
            .get(&name.to_ascii_lowercase())
            .map(|parameter| parameter.default.as_str())
            .unwrap_or_default()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.values().map(|parameter| parameter.name.as_str())
    }

    /// Checks a value; returns what Postfix is to be given. An error says what is allowed, without the name.
    ///
    /// A value with `$` stands for others and is left to Postfix; so is what no type is known of.
    pub fn check(&self, name: &str, value: &str) -> Result<String, String> {
        let list = is_list(name).then(|| words::on_one_line(value));
        let value = list.as_deref().unwrap_or(words::tidy(value));
        kind::one_line(value)?;
        words::without_quotes(value)?;
        if words::means_none(value) && shapes::may_be_none(name) {
            return Err(words::LEAVE_EMPTY.to_owned());
        }
        let without_host_bits = NETWORKS.contains(&name).then(|| network::without_host_bits(value));
        let value = without_host_bits.transpose()?.unwrap_or_else(|| value.to_owned());
        let value = value.as_str();
        balanced(value)?;
        if value.split(char::is_whitespace).any(|word| word.starts_with('#')) {
            return Err("must not hold a word that begins with #: Postfix takes it for a comment".to_owned());
        }
        if value.contains('$') {
            return Ok(value.to_owned());
        }
        table_shapes(name, value)?;
        single_address(name, value)?;
        let value = &destinations::canonical(name, value)?;
        self.check_tables(name, value)?;
        let value = self.checked_by_kind(name, value)?;
        self.within_bounds(name, &value).map(|()| value)
    }

    fn checked_by_kind(&self, name: &str, value: &str) -> Result<String, String> {
        match self.kind(name) {
            // Networks stand beside names and tables: what is wrong with them is found elsewhere.
            Some(Kind::Networks) | None => Ok(value.to_owned()),
            Some(kind) => kind.canonical(value),
        }
    }

    /// Checks what the type of a variable of the table leaves open.
    pub fn check_canonical(&self, name: &str, canonical: &str) -> Result<(), String> {
        match self.kind(name) {
            Some(Kind::Number { .. }) => self.within_bounds(name, canonical),
            Some(Kind::Networks) => {
                let Networks { tables, .. } = network::parse_list(canonical)?;
                tables
                    .iter()
                    .try_for_each(|table| self.check_tables(name, table.trim_start_matches('!')))
            }
            _ => self.check(name, canonical).map(|_| ()),
        }
    }

    /// What a parameter may hold, where that is known: from the table of variables, from a list, or from the shape of its
    /// default.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        let variable = variables::of_main_cf().find(|variable| variable.parameter == Some(name));
        variable.map(|variable| variable.kind).or_else(|| self.kind_of(name))
    }

    /// One that follows another (`$name`) holds what that holds.
    fn kind_of(&self, name: &str) -> Option<Kind> {
        if let Some((_, words)) = WORDS.iter().find(|(names, _)| names.contains(&name)) {
            return Some(Kind::OneOf(words));
        }
        if FREE.contains(&name) {
            return None;
        }
        let default = &self.known.get(&name.to_ascii_lowercase())?.default;
        if let Some(other) = default
            .strip_prefix('$')
            .filter(|other| is_name(other) && *other != name)
        {
            return self.kind_of(other);
        }
        kind_of_default(default)
    }

    /// A value beyond what Postfix's programs accept is fatal to them.
    fn within_bounds(&self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() && NEVER_EMPTY.contains(&name) {
            return Err("must not be empty".to_owned());
        }
        let default = self.default_of(name);
        let is_number = matches!(self.kind(name), Some(Kind::Integer | Kind::Number { .. } | Kind::Time));
        let within = WITHIN.iter().find(|(bound, ..)| *bound == name);
        let (min, max) = match within {
            Some((_, min, max)) => (*min, *max),
            None if FROM_ONE.contains(&name) => (1, i64::MAX),
            None => match default
                .strip_prefix('$')
                .filter(|other| is_name(other) && *other != name)
            {
                Some(other) => return self.within_bounds(other, value),
                None => (0, i64::MAX),
            },
        };
        match whole(value, default).filter(|_| is_number) {
            Some(number) if number < min => Err(format!("must be at least {min}")),
            Some(number) if number > max => Err(format!("must be at most {max}")),
            _ => Ok(()),
        }
    }

    /// Tables of a type that is not installed are fatal to whatever process looks them up.
    fn check_tables(&self, name: &str, value: &str) -> Result<(), String> {
        if self.table_types.is_empty() {
            return Ok(());
        }
        for word in table_words(value)
            .iter()
            .filter_map(|word| word.split_once(':'))
            .map(|(word, _)| word)
        {
            let known_elsewhere = TABLE_TYPES.contains(&word) || takes_tables(name);
            if known_elsewhere && is_name(word) {
                self.check_table(word)?;
            }
        }
        Ok(())
    }

    /// Whether tables of that type, the part before the first colon, are installed; all are where Postfix was not asked.
    pub(super) fn check_table(&self, table: &str) -> Result<(), String> {
        let kind = table.split(':').next().unwrap_or(table);
        if self.table_types.is_empty() || self.table_types.contains(kind) {
            return Ok(());
        }
        let types: Vec<&str> = self.table_types.iter().map(String::as_str).collect();
        let nearest = crate::values::nearest(kind, types.iter().copied())
            .map(|nearest| format!("; did you mean {nearest}:?"))
            .unwrap_or_default();
        Err(format!(
            "{kind}: is not a type of tables that is installed (there are {}){nearest}",
            types.join(", ")
        ))
    }
}

/// Whether words with a colon in it are tables.
fn takes_tables(name: &str) -> bool {
    const ENDS: [&str; 6] = [
        "_maps",
        "_map",
        "_checks",
        "_session_cache_database",
        "_cache_map",
        "alias_database",
    ];
    name == "mynetworks" || ENDS.iter().any(|end| name.ends_with(end))
}

/// What can be wrong with the words of lists that hold tables alone: quotes that a shell or a compose file left, a path
/// without a type. Each would defer all mail.
fn table_shapes(name: &str, value: &str) -> Result<(), String> {
    if !takes_tables(name) || name == "mynetworks" {
        return Ok(());
    }
    if let Some(quote) = ['"', '\''].into_iter().find(|quote| value.starts_with(*quote)) {
        return Err(format!(
            "begins with a quote ({quote}), which is part of the value: leave the quotes off"
        ));
    }
    let path = split_words(value).into_iter().find(|word| word.starts_with('/'));
    match path {
        Some(path) => Err(format!(
            "{path} has no type: write lmdb:{path}, or another type of tables"
        )),
        None => Ok(()),
    }
}

/// The words of a list: separated by commas and white space outside braces.
pub fn split_words(value: &str) -> Vec<String> {
    let (mut words, mut depth) = (vec![String::new()], 0_usize);
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ' ' | '\t' if depth == 0 => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        words.last_mut().into_iter().for_each(|word| word.push(c));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of a list of tables; what `proxy:`, `unionmap:` and `pipemap:` read is among them.
pub(super) fn table_words(value: &str) -> Vec<String> {
    let inner = |word: &String| {
        let (of, inner) = word.split_once(':')?;
        match of {
            "proxy" => Some(inner.to_owned()),
            "unionmap" | "pipemap" => Some(inner.strip_prefix('{')?.strip_suffix('}')?.to_owned()),
            _ => None,
        }
    };
    let words = split_words(value);
    let inner: Vec<String> = words
        .iter()
        .filter_map(inner)
        .flat_map(|inner| table_words(&inner))
        .collect();
    words.into_iter().chain(inner).collect()
}

/// Parameters that hold one address; with more than one, or a table, the copies are dropped with a line in the log.
const SINGLE: [&str; 8] = [
    "2bounce_notice_recipient",
    "address_verify_sender",
    "always_bcc",
    "bounce_notice_recipient",
    "delay_notice_recipient",
    "double_bounce_sender",
    "empty_address_recipient",
    "error_notice_recipient",
];

fn single_address(name: &str, value: &str) -> Result<(), String> {
    let is_list = value.contains([',', ' ', '\t']) && !value.contains('"');
    let is_table = value
        .split_once(':')
        .is_some_and(|(kind, _)| TABLE_TYPES.contains(&kind));
    if !SINGLE.contains(&name) || !(is_list || is_table) {
        return Ok(());
    }
    let instead = if name == "always_bcc" {
        "; for a table there is POSTFIX_RECIPIENT_BCC_MAPS, for several addresses name an alias of POSTFIX_VIRTUAL_ALIAS_MAPS"
    } else {
        ""
    };
    Err(format!("must be one address{instead}"))
}

/// An open brace would swallow what comes behind it.
fn balanced(value: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or("has a } without a {")?,
            _ => {}
        }
    }
    if depth == 0 {
        Ok(())
    } else {
        Err("has a { without a }".to_owned())
    }
}

/// A number, or a time in seconds; one without a unit has that of the default (postconf(5)).
fn whole(value: &str, default: &str) -> Option<i64> {
    let units = ['s', 'm', 'h', 'd', 'w'];
    let digits = value.trim_end_matches(units);
    let unit = if digits.len() < value.len() { value } else { default };
    let seconds = match unit.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => 1,
    };
    digits.parse::<i64>().ok()?.checked_mul(seconds)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `yes`, `20`, `4h`, and the two shapes of defaults that depend on stress.
fn kind_of_default(default: &str) -> Option<Kind> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if default == "yes" || default == "no" {
        return Some(Kind::Boolean);
    }
    if digits(default) || (default.starts_with("${stress?") && default.ends_with('}')) {
        return Some(Kind::Integer);
    }
    let time = default.strip_suffix(['s', 'm', 'h', 'd', 'w'])?;
    (digits(time) || time.starts_with("${stress?")).then_some(Kind::Time)
}
