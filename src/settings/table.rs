//! The table of variables: parsing, error texts, `mailroom help-env` and the README's table come from it. Each room states
//! its own variables (`site`, every daemon's folder); here is what an entry says, and the table that they make together.

use crate::values::kind::Kind;

/// One environment variable that Mailroom knows by name.
#[derive(Debug)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The value used when it is not set, written as a user would write it.
    pub default: &'static str,
    /// What the default means in words, where the value alone does not say it.
    pub default_note: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Its value is never shown.
    pub secret: bool,
    /// The version that had it first.
    pub since: &'static str,
    /// The daemon's parameter that takes its value, where there is exactly one.
    pub parameter: Option<&'static str>,
}

impl Variable {
    /// What an entry says where it does not say otherwise.
    pub const NEW: Variable = Variable {
        name: "",
        kind: Kind::Text,
        default: "",
        default_note: "",
        help: "",
        secret: false,
        since: "0.1.0",
        parameter: None,
    };

    /// Networks that are not set are decided by where the container is; anything else has its default.
    pub fn value_when_unset(&self) -> Option<&'static str> {
        (!matches!(self.kind, Kind::Networks)).then_some(self.default)
    }
}

/// What the names of Mailroom's own variables begin with. They are written in capitals only.
pub const OURS: &str = "MAILROOM_";

/// All variables, in the order in which they are documented.
#[derive(Debug, Clone)]
pub struct Table(Vec<&'static Variable>);

impl Table {
    /// The variables of these rooms.
    pub fn of(rooms: impl IntoIterator<Item = &'static [Variable]>) -> Table {
        Table(rooms.into_iter().flatten().collect())
    }

    /// Every one of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Variable> {
        self.0.iter().copied()
    }

    /// The variable of that name.
    pub fn variable(&self, name: &str) -> Option<&'static Variable> {
        self.iter().find(|variable| variable.name == name)
    }

    /// The variable that sets a daemon's parameter; both are named by what a variable that sets it would be called, as
    /// `POSTFIX_relayhost`, in any case behind the prefix.
    pub fn of_parameter(&self, name: &str) -> Option<&'static Variable> {
        let (prefix, parameter) = split(name);
        let sets = |own: &str| own.eq_ignore_ascii_case(parameter);
        self.iter()
            .filter(|variable| split(variable.name).0 == prefix)
            .find(|variable| variable.parameter.is_some_and(sets))
    }

    /// The table's own name for one that names a daemon's parameter in another case (`POSTFIX_relayhost`); any other name
    /// is its own.
    pub fn own_name<'a>(&self, name: &'a str) -> &'a str {
        let (prefix, _) = split(name);
        self.iter()
            .map(|variable| variable.name)
            .filter(|own| split(own).0 == prefix && prefix != OURS)
            .find(|own| own.eq_ignore_ascii_case(name))
            .unwrap_or(name)
    }

    /// A JSON schema (json-schema.org, 2020-12) of the environment: every variable, and the shapes of all others.
    pub fn json_schema(&self, patterns: &[(&str, &str)]) -> serde_json::Value {
        let with_files = self.iter().filter(|variable| variable.name != "TZ");
        let properties: serde_json::Map<String, serde_json::Value> = self
            .iter()
            .map(property)
            .chain(with_files.map(property_of_file))
            .collect();
        let pattern = |(prefix, help): &(&str, &str)| {
            let property = serde_json::json!({ "type": "string", "description": help });
            (format!("^{prefix}"), property)
        };
        let patterns: serde_json::Map<String, serde_json::Value> = patterns.iter().map(pattern).collect();
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Environment of Mailroom",
            "type": "object",
            "properties": properties,
            "patternProperties": patterns,
        })
    }

    /// The table as Markdown, as it stands in the README.
    pub fn markdown(&self) -> String {
        let row = |variable: &Variable| {
            let default = match (variable.default, variable.default_note) {
                ("", note) => format!("_({note})_"),
                (value, "") => format!("`{value}`"),
                (value, note) => format!("`{value}` ({note})"),
            };
            let (name, allowed, help) = (variable.name, variable.kind.allowed(), variable.help);
            format!("| `{name}` | {default} | {allowed} | {help} |\n")
        };
        let header = "| Variable | Default | Allowed | Purpose |\n|---|---|---|---|\n";
        std::iter::once(header.to_owned()).chain(self.iter().map(row)).collect()
    }
}

/// The prefix of a variable's name, up to its first underscore, and the rest.
fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find('_').map_or(0, |at| at + 1))
}

fn property(variable: &Variable) -> (String, serde_json::Value) {
    let mut property = serde_json::json!({
        "type": "string",
        "description": variable.help,
        "x-allowed": variable.kind.allowed(),
        "x-since": variable.since,
    });
    if !variable.default.is_empty() {
        property["default"] = variable.default.into();
    }
    if let Kind::OneOf(words) = variable.kind {
        property["enum"] = words.iter().map(|(word, _)| *word).collect();
    }
    if variable.secret {
        property["writeOnly"] = true.into();
    }
    (variable.name.to_owned(), property)
}

fn property_of_file(variable: &Variable) -> (String, serde_json::Value) {
    let property = serde_json::json!({
        "type": "string",
        "description": format!("Path of a file that holds {}.", variable.name),
    });
    (format!("{}_FILE", variable.name), property)
}
