//! main.cf: the template, with the parameters that the environment sets in place of its own.

use std::collections::BTreeMap;

use crate::settings::Given;

/// Puts the given parameters into a rendered main.cf: a line that sets one of them is replaced where it stands, what
/// is left is added at the end. A parameter set twice would make every Postfix process log a warning.
pub fn with_parameters(rendered: &str, parameters: &BTreeMap<String, Given>) -> String {
    let mut left: BTreeMap<&str, &Given> = parameters.iter().map(|(name, given)| (name.as_str(), given)).collect();
    let mut text = String::new();
    for line in rendered.lines() {
        let name = line.split_once('=').map(|(name, _)| name.trim()).unwrap_or_default();
        if let Some(given) = left.remove(name) {
            text.push_str(&setting(name, &given.value));
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !left.is_empty() {
        text.push_str("\n# More parameters from the environment\n");
        text.extend(left.iter().map(|(name, given)| setting(name, &given.value)));
    }
    text
}

fn setting(name: &str, value: &str) -> String {
    format!("{}\n", format!("{name} = {value}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_replace_and_add() {
        let given = |value: &str| Given {
            variable: "X".into(),
            value: value.into(),
        };
        let parameters = BTreeMap::from([("b".to_owned(), given("2")), ("d".to_owned(), given(""))]);
        let text = with_parameters("# b = 9\na = 1\nb = 1\nbc = 3\n", &parameters);
        assert_eq!(
            text,
            "# b = 9\na = 1\nb = 2\nbc = 3\n\n# More parameters from the environment\nd =\n"
        );
    }
}
