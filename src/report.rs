//! What is wrong with the environment, in one report.

use std::fmt;

use crate::secrets::{Secrets, shown};

/// One wrong variable, or one wrong line of a drop-in file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable's name, or `file:line`.
    pub variable: String,
    /// Its value as given.
    pub value: String,
    /// What is wrong, what is allowed, what to do; lower case, without a full stop.
    pub reason: String,
}

impl Mistake {
    /// A mistake from its three parts.
    pub fn new(variable: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Mistake {
        Mistake {
            variable: variable.into(),
            value: value.into(),
            reason: reason.into(),
        }
    }
}

/// All mistakes of an environment; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(pub Vec<Mistake>);

impl Report {
    /// A report of these mistakes, each once, by name.
    pub fn of(mut mistakes: Vec<Mistake>, secrets: &Secrets) -> Report {
        mistakes.sort_by(|one, other| one.variable.cmp(&other.variable));
        // Several programs of a daemon warn of the same.
        mistakes.dedup();
        let hide = |mistake: Mistake| Mistake {
            value: secrets.shown(&mistake.variable, &mistake.value),
            reason: secrets.hide(&mistake.reason),
            variable: mistake.variable,
        };
        Report(mistakes.into_iter().map(hide).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sorted_and_without_secrets() {
        let mut secrets = Secrets::default();
        for value in ["hunter2", "hunter22"] {
            secrets.add_value(value);
        }
        secrets.add_name("MAILROOM_GATE");
        let report = Report::of(
            vec![
                Mistake::new("POSTFIX_X", "lmdb:/hunter22", "/hunter22 does not exist"),
                Mistake::new("DOVECOT_DOVEADM_PASSWORD", "y", "is wrong"),
                Mistake::new("MAILROOM_GATE", "z", "is wrong"),
                Mistake::new("MAILROOM_GATE", "z", "is wrong"),
            ],
            &secrets,
        );
        let named: Vec<&str> = report.0.iter().map(|mistake| &*mistake.variable).collect();
        assert_eq!(named, ["DOVECOT_DOVEADM_PASSWORD", "MAILROOM_GATE", "POSTFIX_X"]);
        let text = report.to_string();
        assert!(!text.contains("hunter") && !text.contains("<hidden>2"), "{text}");
        assert!(text.contains("DOVECOT_DOVEADM_PASSWORD=<hidden>"), "{text}");
        assert!(text.contains("MAILROOM_GATE=<hidden>"), "the table says so: {text}");
    }
}
