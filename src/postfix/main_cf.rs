//! main.cf: the template, with the parameters that the environment sets in place of its own.

use std::collections::BTreeMap;

use crate::values::PREFIXES;

/// A main.cf parameter that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The variable, or the file and line, that set it; the variable that would, where it is a default.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// It was set, and is not a default.
    pub explicit: bool,
}

/// The template, before anything is filled in.
pub const TEMPLATE: &str = include_str!("../../templates/main.cf");

/// What the template says of a parameter.
pub fn in_template(parameter: &str) -> Option<&'static str> {
    let mut settings = TEMPLATE.lines().filter_map(|line| line.split_once('='));
    settings.find_map(|(name, value)| (name.trim() == parameter).then(|| value.trim()))
}

/// Puts the given parameters into a rendered main.cf: a line that sets one of them is replaced where it stands, what
/// is left is added at the end. A parameter set twice would make every Postfix process log a warning.
pub fn with_parameters(rendered: &str, parameters: &BTreeMap<String, Given>) -> String {
    let mut left: BTreeMap<&str, &Given> = parameters.iter().map(|(name, given)| (name.as_str(), given)).collect();
    let mut text = String::new();
    for line in rendered.lines() {
        let name = line.split_once('=').map(|(name, _)| name.trim()).unwrap_or_default();
        if let Some(given) = left.remove(name) {
            text.push_str(&setting(name, given));
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !left.is_empty() {
        text.push_str("\n# More parameters that are set\n");
        text.extend(left.iter().map(|(name, given)| setting(name, given)));
    }
    text
}

/// Above a value that somebody set stands who did.
fn setting(name: &str, given: &Given) -> String {
    let line = format!("{name} = {}", given.value);
    let origin = if given.explicit {
        format!("# {}\n", given.variable)
    } else {
        String::new()
    };
    format!("{origin}{}\n", line.trim_end())
}

/// What postconf(1) has against a parameter: its name, or that of one to which a value refers, and what it says.
pub(super) enum Objection {
    /// To a parameter.
    Parameter(String, String),
    /// To `$name`.
    Reference(String, String),
}

/// Reads one warning of `postconf -n`.
pub(super) fn objection(warning: &str) -> Option<Objection> {
    let after = |text: &str| warning.split_once(text).map(|(_, rest)| rest);
    let name = |rest: &str| rest.split(['=', '"']).next().unwrap_or_default().trim().to_owned();
    if let Some(rest) = after("read-only parameter assignment: ") {
        return Some(Objection::Parameter(name(rest), "is read-only in Postfix".to_owned()));
    }
    if let Some(rest) = after("support for parameter \"") {
        let instead = rest
            .split_once("instead, specify ")
            .map_or("something else", |(_, instead)| instead);
        let said = format!("is on its way out of Postfix: set {} instead", instead.replace('"', ""));
        return Some(Objection::Parameter(name(rest), said));
    }
    if let Some(rest) = after("unused parameter: ") {
        return Some(Objection::Parameter(name(rest), "is not used by anything".to_owned()));
    }
    let undefined = name(after("undefined parameter: ")?);
    let said = format!("refers to ${undefined}, which is not a parameter");
    Some(Objection::Reference(undefined, said))
}

/// Traces what one of Postfix's programs says to who set the parameter: variable, value and what is wrong. The comment
/// above its line says who; a line without one is ours.
pub fn trace(main_cf: &str, said: &str) -> Option<(String, String, String)> {
    let lines: Vec<&str> = main_cf.lines().collect();
    let set: Vec<(&str, &str, &str)> = lines
        .windows(2)
        .filter_map(|pair| {
            let (name, value) = pair[1].split_once('=')?;
            let by = pair[0].strip_prefix("# ").filter(|by| is_origin(by))?;
            Some((by, name.trim(), value.trim()))
        })
        .collect();
    let (found, reason) = match objection(said) {
        Some(Objection::Parameter(wanted, reason)) => (set.iter().find(|(_, name, _)| *name == wanted), reason),
        Some(Objection::Reference(wanted, reason)) => (set.iter().find(|(.., value)| refers(value, &wanted)), reason),
        None => {
            let by_name = set.iter().find(|(_, name, _)| holds_word(said, name));
            // Shorter ones, such as yes or 10, may stand in any sentence.
            let by_value = || {
                set.iter()
                    .find(|(.., value)| value.len() > 3 && holds_word(said, value))
            };
            let reason = said
                .split_once("fatal: ")
                .or_else(|| said.split_once("warning: "))
                .map_or(said, |(_, reason)| reason);
            (by_name.or_else(by_value), reason.to_owned())
        }
    };
    let (variable, _, value) = found?;
    Some(((*variable).to_owned(), (*value).to_owned(), reason))
}

/// Whether a value uses a name.
pub(super) fn refers(value: &str, name: &str) -> bool {
    references(value).any(|reference| reference == name)
}

/// Whether a text holds another one that is not a part of a longer word.
fn holds_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

/// The names to which a value refers, as `$name`, `${name}` or `$(name)`.
pub fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split('$').skip(1).map(|reference| {
        let reference = reference.trim_start_matches(['{', '(']);
        let end = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &reference[..end.unwrap_or(reference.len())]
    })
}

/// Who set something, and not any other comment.
pub(super) fn is_origin(text: &str) -> bool {
    text.starts_with("/etc/mailroom/")
        || (PREFIXES.iter().any(|prefix| text.starts_with(prefix)) && !text.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_traced_to_who_set_what() {
        let main_cf = "biff = no\n# POSTFIX_X\nsmtpd_use_tls = yes\n# POSTFIX_Y\nmaps = ${nosuch}/x\n";
        let traced = |said: &str| trace(main_cf, said).map(|(variable, value, _)| (variable, value));
        let warning = "postconf: warning: /x: support for parameter \"smtpd_use_tls\" will be removed; instead, specify \"level\"";
        assert_eq!(traced(warning), Some(("POSTFIX_X".into(), "yes".into())));
        assert_eq!(
            traced("postconf: warning: /x: undefined parameter: nosuch"),
            Some(("POSTFIX_Y".into(), "${nosuch}/x".into()))
        );
        assert_eq!(
            traced("postconf: warning: /x: unused parameter: biff=no"),
            None,
            "nobody set it"
        );
        assert_eq!(traced("postconf: fatal: something"), None);
        let main_cf =
            "# POSTFIX_BIFF\nbiff = no\n# POSTFIX_A\na = $foobar\n# POSTFIX_B\nb = $(foo)\n# POSTFIX_C\nc = cidr:/n\n";
        let traced = |said: &str| trace(main_cf, said).map(|(variable, ..)| variable);
        assert_eq!(traced("postmap: fatal: cannot open x"), None);
        assert_eq!(
            traced("postconf: warning: undefined parameter: foo"),
            Some("POSTFIX_B".into())
        );
        assert_eq!(
            traced("postmap: fatal: open cidr:/n: no such file"),
            Some("POSTFIX_C".into())
        );
        assert_eq!(traced("postmap: fatal: open cidr:/no"), None);
        let main_cf = "# POSTFIX_X\nsmtpd_use_tls = yes\n";
        assert_eq!(
            trace(main_cf, "postmap: fatal: invalid smtpd_use_tls parameter value yes")
                .unwrap()
                .2,
            "invalid smtpd_use_tls parameter value yes"
        );
    }

    #[test]
    fn parameters_replace_and_add() {
        let given = |value: &str| Given {
            variable: "X".into(),
            value: value.into(),
            explicit: value == "2",
        };
        let parameters = BTreeMap::from([("b".to_owned(), given("2")), ("d".to_owned(), given(""))]);
        let text = with_parameters("# b = 9\na = 1\nb = 1\nbc = 3\n", &parameters);
        assert_eq!(
            text,
            "# b = 9\na = 1\n# X\nb = 2\nbc = 3\n\n# More parameters that are set\nd =\n"
        );
    }
}
