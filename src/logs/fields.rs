//! What a line says, as names and values: Postfix's and Dovecot's own names where they have one. Each daemon's folder finds them in its
//! lines; they borrow from the line.

use std::borrow::Cow;

/// Names and values, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    /// Adds one.
    pub fn add(&mut self, name: &'static str, value: impl Into<Cow<'a, str>>) {
        self.0.push((name, value.into()));
    }

    /// Adds one where there is one.
    pub fn add_some(&mut self, name: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| &**value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

/// Reads `<…>` at the beginning of a text: what is between the brackets, and what stands behind them. A bracket within quotes, as in the
/// local part `"a>b"@example.org`, ends nothing (RFC 5321, section 4.1.2).
pub fn bracketed(text: &str) -> Option<(&str, &str)> {
    let within = text.strip_prefix('<')?;
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, sign) in within.char_indices() {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return Some((&within[..at], &within[at + 1..])),
            _ => {}
        }
    }
    // A quote that never ends is no quote.
    within.split_once('>')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_within_quotes_end_nothing() {
        assert_eq!(bracketed("<a@b.test>, x"), Some(("a@b.test", ", x")));
        assert_eq!(
            bracketed("<\"a>, relay=x\"@b.test>, y"),
            Some(("\"a>, relay=x\"@b.test", ", y"))
        );
        assert_eq!(bracketed("<\"a\\\">\"@b>z"), Some(("\"a\\\">\"@b", "z")));
        assert_eq!(bracketed("<\"a>b"), Some(("\"a", "b")));
        assert_eq!(bracketed("<>"), Some(("", "")));
        assert_eq!(bracketed("a"), None);
    }
}
