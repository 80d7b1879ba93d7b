//! What is never shown: which values are secret, and how they are hidden. Reports, `render`, its differences and the log
//! call this module; nothing else decides what is shown.
//!
//! A value is secret because the table of variables says so, because it came from a file (`…_FILE`), or because its name
//! says so: parameters and settings of the daemons' own are in no table of ours.

use std::collections::BTreeSet;

/// Stands for a value that is never shown.
pub const HIDDEN: &str = "<hidden>";

/// The secrets of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Names of the variables that hold one.
    names: BTreeSet<String>,
    /// The values, wherever they came from.
    values: BTreeSet<String>,
}

impl Secrets {
    /// Adds a variable whose value is secret.
    pub fn add_name(&mut self, name: impl Into<String>) {
        self.names.insert(name.into());
    }

    /// Adds a value. Nothing can be hidden of an empty one.
    pub fn add_value(&mut self, value: &str) {
        if !value.is_empty() {
            self.values.insert(value.to_owned());
        }
    }

    /// The values, for tests that look at them.
    #[cfg(test)]
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Whether one of the values stands in these bytes.
    pub fn occur_in(&self, bytes: &[u8]) -> bool {
        self.values
            .iter()
            .any(|secret| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
    }

    /// A text without any of the values, the longest first: one may hold another.
    pub fn hide(&self, text: &str) -> String {
        let mut values: Vec<&String> = self.values.iter().collect();
        values.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        values
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// A variable's value as it may appear in a report or a log: hidden as a whole where the variable is secret, otherwise
    /// without any other variable's secret.
    pub fn shown(&self, variable: &str, value: &str) -> String {
        if self.names.contains(variable) {
            HIDDEN.to_owned()
        } else {
            shown(variable, &self.hide(value))
        }
    }
}

/// What the name of a secret ends with.
const SECRET: [&str; 6] = ["PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "KEY"];

/// Names that end so and are none.
const NO_SECRET: [&str; 2] = ["LOOKUP_KEY", "LAST_LOGIN_KEY"];

/// Whether the name of a variable, a parameter or a setting says that its value is secret. Of tables that is what stands in
/// the value itself: `static:me:hunter2`.
pub fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut words = name.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let last = words.next().unwrap_or_default();
    if value.is_empty() || NO_SECRET.iter().any(|no| name.ends_with(no)) {
        return false;
    }
    match last {
        "MAPS" => {
            words.any(|word| SECRET.contains(&word)) && ["static:", "inline:"].iter().any(|of| value.contains(of))
        }
        last => SECRET.contains(&last),
    }
}

/// Whether an unknown name may be meant for a secret's.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASS", "PWD", "SECRET", "TOKEN"]
        .iter()
        .any(|part| name.contains(part))
        || name.split('_').any(|word| word == "KEY")
}

/// A value as it may appear in a log: secrets by their names hidden, control characters escaped.
pub fn shown(variable: &str, value: &str) -> String {
    if is_secret(variable, value) {
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

    #[test]
    fn a_secret_within_a_secret_is_hidden() {
        let mut secrets = Secrets::default();
        for value in ["abc", "xabcx", ""] {
            secrets.add_value(value);
        }
        assert_eq!(secrets.hide("a xabcx abc"), "a <hidden> <hidden>");
        assert!(secrets.occur_in(b"1abc2") && !secrets.occur_in(b"ab"));
        secrets.add_name("POSTFIX_MYHOSTNAME");
        assert_eq!(secrets.shown("POSTFIX_MYHOSTNAME", "x"), "<hidden>");
        assert_eq!(secrets.shown("POSTFIX_OTHER", "1 abc"), "1 <hidden>");
    }

    #[test]
    fn secrets_by_name() {
        for (name, value) in [
            ("DOVECOT_DOVEADM_PASSWORD", "x"),
            ("DOVECOT_doveadm_api_key", "x"),
            ("DOVECOT_OAUTH2__x__CLIENT_SECRET", "x"),
            ("lmtp_sasl_password_maps", "inline:{a=b}"),
            ("POSTFIX_MY_PASS", "x"),
        ] {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in [
            ("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmdb:/etc/postfix/sasl_passwd"),
            ("POSTFIX_SMTP_TLS_KEY_FILE", "/key.pem"),
            ("MAILROOM_RELAYHOST_PASSWORD", ""),
            ("empty_address_relayhost_maps_lookup_key", "<>"),
            ("POSTFIX_SMTP_SASL_PASSWORD_RESULT_DELIMITER", ":"),
            ("DOVECOT_PASSDB_DEFAULT_PASSWORD_SCHEME", "SHA512-CRYPT"),
            ("POSTFIX_VIRTUAL_ALIAS_MAPS", "static:a"),
        ] {
            assert!(!is_secret(name, value), "{name}");
        }
    }
}
