//! main.cf: the template, with the parameters that the environment sets in place of its own.

use std::collections::BTreeMap;

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

/// Above a value that is no default stands what sets it.
fn setting(name: &str, given: &Given) -> String {
    let line = format!("{name} = {}", given.value);
    let origin = if given.explicit {
        format!("# {}\n", given.variable)
    } else {
        String::new()
    };
    format!("{origin}{}\n", line.trim_end())
}

/// Whether a value uses a name.
pub(super) fn refers(value: &str, name: &str) -> bool {
    references(value).any(|reference| reference == name)
}

/// The names to which a value refers, as `$name`, `${name}` or `$(name)`.
pub fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split('$').skip(1).map(|reference| {
        let reference = reference.trim_start_matches(['{', '(']);
        let end = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &reference[..end.unwrap_or(reference.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
