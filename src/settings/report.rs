//! What is wrong with the environment, told in one go.

use std::collections::BTreeSet;
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

impl Report {
    /// Without any of these values, wherever they stand, and without those of variables that are secret by their name.
    #[must_use]
    pub fn without(self, secrets: &BTreeSet<String>) -> Report {
        let hide = |mistake: Mistake| {
            let hidden = is_secret(&mistake.variable, &mistake.value);
            let value = if hidden {
                HIDDEN.to_owned()
            } else {
                without(secrets, &mistake.value)
            };
            let reason = without(secrets, &mistake.reason);
            Mistake {
                value,
                reason,
                ..mistake
            }
        };
        Report(self.0.into_iter().map(hide).collect())
    }
}

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

/// A text without any of these values, the longest first: one may hold another.
pub fn without(secrets: &BTreeSet<String>, text: &str) -> String {
    let mut secrets: Vec<&String> = secrets.iter().collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .into_iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
}

/// What the name of a secret ends with.
const SECRET: [&str; 6] = ["PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "KEY"];

/// Names that end so and are none.
const NO_SECRET: [&str; 2] = ["LOOKUP_KEY", "LAST_LOGIN_KEY"];

/// Whether nobody may see what a variable, a parameter or a setting of this name holds. Of tables that is what stands in
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

/// Whether a name that nobody knows may be meant for a secret's.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASS", "PWD", "SECRET", "TOKEN"]
        .iter()
        .any(|part| name.contains(part))
        || name.split('_').any(|word| word == "KEY")
}

/// A value as it may appear in a log: secrets hidden, control characters escaped.
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

    #[test]
    fn a_report_without_secrets() {
        let mistake = |variable: &str, value: &str, reason: &str| Mistake {
            variable: variable.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let report = Report(vec![
            mistake("POSTFIX_X", "lmdb:/hunter22", "/hunter22 does not exist"),
            mistake("DOVECOT_DOVEADM_PASSWORD", "y", "is wrong"),
        ]);
        let secrets = ["hunter2", "hunter22"].map(str::to_owned).into();
        let told = report.without(&secrets).to_string();
        assert!(!told.contains("hunter") && !told.contains("<hidden>2"), "{told}");
        assert!(told.contains("DOVECOT_DOVEADM_PASSWORD=<hidden>"), "{told}");
    }
}
