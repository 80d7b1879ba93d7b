//! What is never shown: which values are secret, and how they are hidden. Reports, `render`, its differences and the log
//! call this module; nothing else decides what is shown.
//!
//! A value is secret because the table of variables says so, because it came from a file (`…_FILE`), or because its name
//! says so: parameters and settings of the daemons' own are in no table of ours.
//!
//! A secret is hidden, and the file that holds it protected, by the place where it was put: the variable's own line of a
//! report, the setting below its name in a comment. A password may be `postfix` or `no`: the same letters elsewhere are no
//! secret, and a mask there would show what is behind it. Letters that are no word are hidden wherever they stand.

use std::collections::BTreeSet;

use crate::values::words;

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

    /// Whether a secret was put into a configuration file: one has its place there, or letters that are no word.
    pub fn stand_in(&self, text: &str) -> bool {
        let are_no_word = |value: &&String| value.len() >= SHORT && !value.chars().all(char::is_alphabetic);
        let mut values = self.values.iter().filter(are_no_word);
        values.any(|value| text.contains(value.as_str())) || self.in_their_places(text).lines().ne(text.lines())
    }

    /// A program's text that could not be traced to a variable, without any of the values, the longest first: one may hold
    /// another. One of a few letters stands in every sentence: a mask there would hide the sentence and show the secret.
    pub fn hide(&self, text: &str) -> String {
        if self.values.contains(text) {
            return HIDDEN.to_owned();
        }
        self.hide_those(text, |value| value.len() >= SHORT)
    }

    /// What is said of a variable, without its own value where that is secret, and without those of others.
    pub fn said_of(&self, variable: &str, value: &str, reason: &str) -> String {
        let is_secret = self.names.contains(variable) || is_secret(variable, value);
        if is_secret && !value.is_empty() {
            // A program that was given a table repeats what stands behind its type.
            let words = value.split([',', ' ', '\t']);
            let parts = words.flat_map(|word| [Some(word), word.split_once(':').map(|(_, rest)| rest)]);
            let parts = parts.flatten().filter(|part| part.len() >= SHORT);
            let reason = parts.fold(without_word(reason, value), |reason, part| without_word(&reason, part));
            self.hide(&reason)
        } else {
            self.hide_those(reason, is_no_word)
        }
    }

    fn hide_those(&self, text: &str, which: fn(&str) -> bool) -> String {
        // A file of accounts is one of them: as a needle it takes long, in whatever is much shorter.
        let may_be_there = |value: &&String| value.len() <= text.len() && which(value);
        let mut values: Vec<&String> = self.values.iter().filter(may_be_there).collect();
        values.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        values
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// A configuration file without the secrets that were put into it.
    pub fn hide_in_file(&self, text: &str) -> String {
        let text = self.hide_those(&self.in_their_places(text), is_no_word);
        text.lines().map(|line| without_hash(line) + "\n").collect()
    }

    /// Hides them by the places where they were put: a setting whose name says so, or above which stands a variable that
    /// holds one.
    fn in_their_places(&self, text: &str) -> String {
        let (mut is_below, mut lines) = (false, String::new());
        for line in text.lines() {
            if let Some(comment) = line.trim_start().strip_prefix("# ") {
                is_below |= self.names.contains(comment);
            } else if !line.trim_start().starts_with("-o ") && !line.contains('=') {
                is_below &= line.contains(char::is_whitespace) || line.is_empty();
            }
            lines.push_str(&self.line(line, is_below));
            lines.push('\n');
            let is_setting = line.contains('=') && !line.trim_start().starts_with(['#', '-']);
            is_below &= !is_setting;
        }
        lines
    }

    /// One line of it.
    fn line(&self, line: &str, is_below: bool) -> String {
        let Some((name, value)) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#')) else {
            return line.to_owned();
        };
        let bare = value.trim().trim_end_matches('}').trim_end();
        let is_ours = is_below && (!line.trim_start().starts_with('-') || self.values.contains(bare));
        let own_name = name.trim().trim_start_matches("-o").trim_start_matches([' ', '{']);
        if bare.is_empty() || !(is_ours || is_secret(own_name, bare)) {
            return line.to_owned();
        }
        let blank = if value.starts_with(' ') { " " } else { "" };
        format!("{name}={blank}{HIDDEN}")
    }

    /// A variable's value as it may appear in a report or a log: hidden as a whole where the variable is secret, otherwise
    /// without any other variable's secret.
    pub fn shown(&self, variable: &str, value: &str) -> String {
        if self.names.contains(variable) {
            HIDDEN.to_owned()
        } else {
            shown(variable, &self.hide_those(value, is_no_word))
        }
    }
}

/// A secret of fewer letters stands in every sentence.
const SHORT: usize = 4;

/// Whether a secret's letters are neither a word nor a number, so that they stand nowhere but where the secret was put.
fn is_no_word(value: &str) -> bool {
    value.len() > SHORT && value.contains(char::is_alphabetic) && !value.chars().all(char::is_alphabetic)
}

/// A line of a passwd-file without its hash, `:{SCHEME}…:`.
fn without_hash(line: &str) -> String {
    let Some((name, rest)) = line.split_once(":{") else {
        return line.to_owned();
    };
    let (scheme, rest) = rest.split_once('}').unwrap_or(("", rest));
    let is_scheme = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
        return line.to_owned();
    }
    let behind = rest.find(':').map_or("", |at| &rest[at..]);
    format!("{name}:{{{scheme}}}{HIDDEN}{behind}")
}

/// A text without another one, where that is not a part of a longer word.
fn without_word(text: &str, word: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (mut kept, mut end) = (String::new(), 0);
    for (at, _) in text.match_indices(word) {
        let behind = at + word.len();
        if !is_part(text[..at].chars().next_back()) && !is_part(text[behind..].chars().next()) {
            kept.push_str(&text[end..at]);
            kept.push_str(HIDDEN);
            end = behind;
        }
    }
    kept + &text[end..]
}

/// What the name of a secret ends with.
const SECRET: [&str; 7] = ["PASSWORD", "PASSWD", "PASS", "PW", "SECRET", "TOKEN", "KEY"];

/// Names that end so and are none.
const NO_SECRET: [&str; 2] = ["LOOKUP_KEY", "LAST_LOGIN_KEY"];

/// Whether the name of a variable, a parameter or a setting says that its value is secret. Of tables that is what stands in
/// the value itself: `static:me:hunter2`.
pub fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut parts = name.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let last = parts.next().unwrap_or_default();
    if value.is_empty() || NO_SECRET.iter().any(|no| name.ends_with(no)) {
        return false;
    }
    match last {
        "MAPS" => parts.any(|word| SECRET.contains(&word)) && !names_tables_alone(value) && !words::means_none(value),
        // Misspelt, too: such a value is shown in the report of what is wrong.
        last => SECRET.contains(&last) || last.starts_with("PASSW"),
    }
}

/// Whether a value is a list of tables in files and of servers. Anything else may be a login, put there directly or by a slip.
fn names_tables_alone(value: &str) -> bool {
    let is_table = |word: &str| {
        let (kind, name) = word.trim_start_matches("proxy:").split_once(':').unwrap_or((word, ""));
        let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_kind && name.starts_with(['/', '$']) || word.starts_with('$')
    };
    let mut words = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    words::means_none(value) || words.all(is_table)
}

/// A text without the logins of its URLs: `smtp://me:hunter2@host`.
fn without_logins(variable: &str, text: &str) -> String {
    let may_hold = |word: &str| word.contains("://") || variable.to_ascii_uppercase().ends_with("RELAYHOST");
    let bare = |word: &str| match word.rsplit_once('@').filter(|_| may_hold(word)) {
        Some((before, host)) => {
            let scheme = before
                .split_once("://")
                .map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
            format!("{scheme}{HIDDEN}@{host}")
        }
        None => word.to_owned(),
    };
    text.split_inclusive([' ', ',', '\t']).map(bare).collect()
}

/// Whether an unknown name may be meant for a secret's.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace("PASSDB", "");
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
    words::on_a_terminal(&without_logins(variable, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_passwords_are_not_shown() {
        let users =
            "a@b.test:{BLF-CRYPT}$2y$10$x:5000:5000::/home::\n0:{SHA512-CRYPT}$6$y$z\nmaps = unionmap:{lmdb:/x}\n";
        let shown =
            "a@b.test:{BLF-CRYPT}<hidden>:5000:5000::/home::\n0:{SHA512-CRYPT}<hidden>\nmaps = unionmap:{lmdb:/x}\n";
        assert_eq!(Secrets::default().hide_in_file(users), shown);
    }

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        for slip in [
            "statc:me:hunter2",
            "[brk-c]:587 me:hunter2",
            "texthash:me:hunter2",
            "me hunter2",
        ] {
            assert_eq!(shown("POSTFIX_SMTP_SASL_PASSWORD_MAPS", slip), "<hidden>");
        }
        for tables in ["lmdb:/etc/postfix/sasl_passwd", "proxy:pgsql:/x.cf, $y"] {
            assert_eq!(shown("POSTFIX_SMTP_SASL_PASSWORD_MAPS", tables), tables);
        }
        assert_eq!(
            shown("POSTFIX_RELAYHOST", "smtp://me:hunter2@a:25"),
            "smtp://<hidden>@a:25"
        );
        assert_eq!(shown("POSTFIX_RELAYHOST", "me:hunter2@a:25"), "<hidden>@a:25");
        assert_eq!(shown("POSTFIX_ALWAYS_BCC", "a@b.test"), "a@b.test");
        assert_eq!(shown("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "static:a:b"), "<hidden>");
        assert_eq!(shown("POSTFIX_X", "a\x1b[1mb\n"), "a\\u{1b}[1mb\\n");
    }

    #[test]
    fn a_secret_within_a_secret_is_hidden() {
        let mut secrets = Secrets::default();
        for value in ["ab-cd", "xab-cdx", ""] {
            secrets.add_value(value);
        }
        assert_eq!(secrets.hide("a xab-cdx ab-cd"), "a <hidden> <hidden>");
        assert!(secrets.stand_in("1ab-cd2") && !secrets.stand_in("ab\n"));
        secrets.add_name("POSTFIX_MYHOSTNAME");
        assert_eq!(secrets.shown("POSTFIX_MYHOSTNAME", "x"), "<hidden>");
        assert_eq!(secrets.shown("POSTFIX_OTHER", "1 ab-cd"), "1 <hidden>");
    }

    #[test]
    fn a_word_is_a_secret_where_it_was_put() {
        let mut secrets = Secrets::default();
        secrets.add_name("MAILROOM_RELAYHOST_PASSWORD");
        secrets.add_name("POSTFIX_SYSLOG_NAME");
        for value in ["postfix", "no"] {
            secrets.add_value(value);
        }
        assert!(!secrets.stand_in("mail_owner = postfix\nbiff = no\n"));
        assert!(secrets.stand_in("a = b\n# POSTFIX_SYSLOG_NAME\nsyslog_name = no\n"));
        assert!(secrets.stand_in("x_password = postfix"));
        assert_eq!(secrets.shown("MAILROOM_RELAYHOST_USERNAME", "postfix"), "postfix");
        let said = "no is nothing that postfix knows";
        assert_eq!(secrets.said_of("MAILROOM_RELAYHOST_USERNAME", "no", said), said);
        let hidden = "<hidden> is nothing that <hidden> knows";
        assert_eq!(secrets.said_of("MAILROOM_RELAYHOST_PASSWORD", "no", said), hidden);
    }

    #[test]
    fn a_mask_does_not_show_what_is_behind_it() {
        let mut secrets = Secrets::default();
        for value in ["postfix", "a", "static:me:hunter2-x", "pw-of-1-line"] {
            secrets.add_value(value);
        }
        secrets.add_name("POSTFIX_SYSLOG_NAME");
        secrets.add_name("MAILROOM_MASTER_SMTP_UNIX_SYSLOG_NAME");
        let text = "myhostname = postfix.example.org\n# POSTFIX_SYSLOG_NAME\nsyslog_name = postfix\nmail_name = \
                    postfix\nx_password = postfix\n# MAILROOM_MASTER_SMTP_UNIX_SYSLOG_NAME\nsmtp unix - - n - - \
                    smtp\n    -o a=b\n    -o { syslog_name = postfix }\n# c\nz = pw-of-1-line\n";
        let shown = "myhostname = postfix.example.org\n# POSTFIX_SYSLOG_NAME\nsyslog_name = <hidden>\nmail_name = \
                     postfix\nx_password = <hidden>\n# MAILROOM_MASTER_SMTP_UNIX_SYSLOG_NAME\nsmtp unix - - n - - \
                     smtp\n    -o a=b\n    -o { syslog_name = <hidden>\n# c\nz = <hidden>\n";
        assert_eq!(secrets.hide_in_file(text), shown);
        assert_eq!(secrets.hide("must be a name"), "must be a name", "a short one");
        assert_eq!(secrets.hide("a"), HIDDEN);
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
