//! What is wrong with the environment, in one report.

use std::fmt;

use crate::secrets::{Secrets, shown};
use crate::values::words;

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

impl Mistake {
    /// The same in one line, of something whose value is no secret.
    pub fn line(&self) -> String {
        format!("{}: {}", self.variable, self.reason)
    }
}

/// Adds objections to what is wrong anyway, without those that follow from it.
pub fn add(mistakes: &mut Vec<Mistake>, objections: Vec<Mistake>) {
    let wrong: Vec<String> = mistakes.iter().map(|mistake| mistake.variable.clone()).collect();
    for objection in objections {
        if wrong.contains(&objection.variable) {
            continue;
        }
        match wrong.iter().position(|name| names(&objection.reason, name)) {
            Some(at) => {
                let said = format!("; {} is judged when this is right", objection.variable);
                let reason = &mut mistakes[at].reason;
                if !reason.contains(&said) {
                    reason.push_str(&said);
                }
            }
            None => mistakes.push(objection),
        }
    }
}

/// Whether a reason names a variable, or the one that its file stands for.
fn names(reason: &str, variable: &str) -> bool {
    let base = variable.strip_suffix("_FILE").unwrap_or(variable);
    let mut words = reason.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    !variable.is_empty() && words.any(|word| word == variable || word == base)
}

/// What is right in itself, and cannot be on this machine. In words, as a [`Mistake`]'s reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(pub String);

impl std::error::Error for Unusable {}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        let hide = |mistake: Mistake| {
            let reason = words::with_likely_cause(mistake.reason, &mistake.value);
            Mistake {
                reason: secrets.said_of(&mistake.variable, &mistake.value, &reason),
                value: secrets.shown(&mistake.variable, &mistake.value),
                variable: mistake.variable,
            }
        };
        Report(mistakes.into_iter().map(hide).collect())
    }

    /// The whole report; `outcome` says what follows from it.
    pub fn text(&self, outcome: &str) -> String {
        let in_files = self.0.iter().any(|mistake| mistake.variable.starts_with('/'));
        let (what, are) = match (in_files, self.0.len()) {
            (false, 1) => ("environment variable", "is"),
            (false, _) => ("environment variables", "are"),
            (true, 1) => ("setting", "is"),
            (true, _) => ("settings", "are"),
        };
        let mistake = |mistake: &Mistake| {
            let Mistake {
                variable,
                value,
                reason,
            } = mistake;
            let equals = if variable.starts_with('/') { ": " } else { "=" };
            // Long ones are cut when nothing is left to be hidden in them.
            let short = words::cut(value, LONGEST_VALUE);
            let reason = words::cut(&reason.replace(value, &short), LONGEST_REASON);
            let line = format!("{variable}{equals}{}", shown(variable, &short));
            format!("\n  {}\n      {reason}\n", line.trim_end())
        };
        let mistakes: String = self.0.iter().map(mistake).collect();
        format!(
            "{} {what} {are} wrong; {outcome}\n{mistakes}\ndocker run --rm metabuilder-postfix help-env lists every variable",
            self.0.len()
        )
    }
}

/// Letters of the longest value that is shown whole.
const LONGEST_VALUE: usize = 300;
/// The same of what is said of it.
const LONGEST_REASON: usize = 1500;

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("nothing has changed"))
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

    #[test]
    fn what_is_long_is_cut() {
        let value = "x".repeat(3_000_000);
        let reason = format!("{value} is wrong: leave it empty");
        let report = Report::of(vec![Mistake::new("POSTFIX_X", &value, reason)], &Secrets::default());
        let text = report.to_string();
        assert!(text.len() < 1500 && text.contains("… (3000000 characters)"), "{text}");
        assert!(text.contains(" is wrong: leave it empty"), "{text}");
    }

    #[test]
    fn what_follows_from_a_mistake_is_left_out() {
        let mut mistakes = vec![
            Mistake::new("MAILROOM_RELAYHOST_PASSWORD_FILE", "/x", "names a file that is empty"),
            Mistake::new("POSTFIX_BIFF", "maybe", "must be yes or no"),
        ];
        add(
            &mut mistakes,
            vec![
                Mistake::new("MAILROOM_RELAYHOST_USERNAME", "me", "needs MAILROOM_RELAYHOST_PASSWORD"),
                Mistake::new("POSTFIX_BIFF", "no", "is odd"),
                Mistake::new("POSTFIX_X", "1", "does not exist"),
            ],
        );
        let names: Vec<&str> = mistakes.iter().map(|mistake| &*mistake.variable).collect();
        assert_eq!(names, ["MAILROOM_RELAYHOST_PASSWORD_FILE", "POSTFIX_BIFF", "POSTFIX_X"]);
        let said = "names a file that is empty; MAILROOM_RELAYHOST_USERNAME is judged when this is right";
        assert_eq!(mistakes[0].reason, said);
    }
}
