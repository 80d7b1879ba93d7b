//! What is wrong with the environment, told in one go.

use std::fmt;

/// One wrong variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable's name.
    pub variable: String,
    /// Its value as given.
    pub value: String,
    /// What is wrong, what is allowed, what to do; lower case, without a full stop.
    pub reason: String,
}

/// All mistakes of an environment; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(pub Vec<Mistake>);

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_files = self.0.iter().any(|mistake| mistake.variable.starts_with('/'));
        let (what, are) = match (in_files, self.0.len()) {
            (false, 1) => ("environment variable", "is"),
            (false, _) => ("environment variables", "are"),
            (true, 1) => ("setting", "is"),
            (true, _) => ("settings", "are"),
        };
        writeln!(
            f,
            "{} {what} {are} wrong; nothing was started and nothing changed",
            self.0.len()
        )?;
        for Mistake {
            variable,
            value,
            reason,
        } in &self.0
        {
            let equals = if variable.starts_with('/') { ": " } else { "=" };
            write!(f, "\n  {variable}{equals}{}\n      {reason}\n", shown(variable, value))?;
        }
        write!(f, "\nmailroom help-env lists every variable")
    }
}

/// Stands for a value that nobody may see.
pub const HIDDEN: &str = "<hidden>";

/// A value as it may appear in a log: secrets hidden, control characters escaped.
pub fn shown(variable: &str, value: &str) -> String {
    const SECRET: [&str; 4] = ["PASSWORD", "SECRET", "TOKEN", "PASSWD"];
    if SECRET.iter().any(|word| variable.to_ascii_uppercase().contains(word)) && !value.is_empty() {
        return HIDDEN.to_owned();
    }
    value
        .chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        assert_eq!(shown("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "static:a:b"), "<hidden>");
        assert_eq!(shown("POSTFIX_X", "a\x1b[1mb\n"), "a\\u{1b}[1mb\\n");
    }
}
