//! Names of accounts: which local parts may have a mailbox here (RFC 5321, and what files, tables and daemons can carry).

use crate::values::domain;

/// Longest local part (RFC 5321, 4.5.3.1.1).
const LONGEST: usize = 64;

/// Signs that a local part may hold beside letters and digits. Of the others that RFC 5322 allows, most mean something else to a
/// path, to a table, or to Dovecot. (auth_username_chars in dovecot.conf has the same.)
const SIGNS: &str = ".-_+='&";

/// An account's address, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The local part.
    pub name: String,
    /// The domain.
    pub domain: String,
}

impl Address {
    /// Reads `user` or `user@domain`; a short name belongs to the primary domain. An error says what is wrong.
    pub fn read(text: &str, primary_domain: &str) -> Result<Address, String> {
        let (name, domain) = match text.rsplit_once('@') {
            Some((name, domain)) => (
                name,
                domain::read(domain).map_err(|reason| format!("the domain {domain} {reason}"))?,
            ),
            None => (text, primary_domain.to_owned()),
        };
        Ok(Address {
            name: local_part(name)?,
            domain,
        })
    }

    /// As it stands in tables.
    pub fn text(&self) -> String {
        format!("{}@{}", self.name, self.domain)
    }
}

fn local_part(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("has no name before the @".to_owned());
    }
    if let Some(wrong) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !SIGNS.contains(*c)) {
        return Err(format!(
            "a name has letters, digits and the signs {SIGNS}, not {wrong:?}"
        ));
    }
    if text.len() > LONGEST {
        return Err(format!("a name has at most {LONGEST} letters"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err("a name begins with a letter, a digit or _".to_owned());
    }
    if text.ends_with('.') || text.contains("..") {
        return Err("a name has no dot at its end, and no two in a row".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_have() {
        for (text, address) in [
            ("user", "user@a.test"),
            ("User@B.Test", "user@b.test"),
            ("o'neil", "o'neil@a.test"),
            ("007", "007@a.test"),
            ("a.b+c", "a.b+c@a.test"),
            ("_x-1", "_x-1@a.test"),
        ] {
            assert_eq!(
                Address::read(text, "a.test").map(|address| address.text()),
                Ok(address.to_owned())
            );
        }
        assert!(Address::read(&"x".repeat(64), "a.test").is_ok());
    }

    #[test]
    fn names_that_lead_elsewhere() {
        for (text, reason) in [
            ("", "no name"),
            ("@b.test", "no name"),
            ("..", "begins with"),
            (".x", "begins with"),
            ("../x", "not '/'"),
            ("a/b", "not '/'"),
            ("a..b", "two in a row"),
            ("a.", "at its end"),
            ("%u", "not '%'"),
            ("a*", "not '*'"),
            ("a b", "not ' '"),
            ("ü", "not 'ü'"),
            ("a@b@c.test", "not '@'"),
            ("a@b", "the domain b"),
            (&"x".repeat(65), "at most 64"),
        ] {
            let said = Address::read(text, "a.test").unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }
}
