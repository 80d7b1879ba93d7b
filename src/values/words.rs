//! What slips into a value on its way through a shell, a compose file or an env file: quotes, comments, the line ends of
//! Windows, a byte-order mark, words for "none". None of them is a part of the value for whom it is meant, and Postfix and
//! Dovecot take all of them as one.

/// Some editors put it before the first letter of a file.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Words that other programs take for "none". Postfix would look up a host, a table or a user of that name.
const NONE: [&str; 9] = ["none", "null", "nil", "false", "no", "off", "undefined", "-", "~"];

/// What is said of such a word.
pub const LEAVE_EMPTY: &str = "is a word here, and not the absence of one: leave it empty for none";

/// A value without the blanks, tabs and line ends around it.
pub fn tidy(value: &str) -> &str {
    value.trim()
}

/// A list that was written on several lines, on one: Postfix and Dovecot separate by blanks.
pub fn on_one_line(list: &str) -> String {
    let lines: Vec<&str> = list.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// What stands between quotes that enclose the whole value.
pub fn within_quotes(value: &str) -> Option<&str> {
    let quotes = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
    ];
    let value = tidy(value);
    quotes.iter().find_map(|(open, close)| {
        let inner = value.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inner.contains([*open, *close])).then_some(inner)
    })
}

/// Refuses a value that is enclosed in quotes, for settings whose daemon would take them as letters.
pub fn without_quotes(value: &str) -> Result<(), String> {
    match within_quotes(value) {
        Some(_) => Err("has quotes around it, which would be a part of the value: leave them out".to_owned()),
        None => Ok(()),
    }
}

/// Whether a value is a word for "none", perhaps dressed as a host: `[False]:587`.
pub fn means_none(value: &str) -> bool {
    let bare = value
        .split("]:")
        .next()
        .unwrap_or(value)
        .trim_start_matches('[')
        .trim_end_matches(']');
    NONE.iter().any(|word| word.eq_ignore_ascii_case(bare))
}

/// A text on one line: what would move a terminal's cursor is shown as an escape.
pub fn on_a_terminal(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            vec![c]
        }
    };
    text.chars().flat_map(shown).collect()
}

/// A long text, cut, with its length.
pub fn cut(text: &str, longest: usize) -> String {
    let length = text.chars().count();
    if length <= longest {
        return text.to_owned();
    }
    let begin: String = text.chars().take(longest / 2).collect();
    format!("{begin}… ({length} characters)")
}

/// Whether a part of a value looks like a comment, which an env file takes for a part of the value.
pub fn holds_comment(value: &str) -> bool {
    let value = tidy(value);
    value.starts_with("# ") || value.contains(" #") || value.contains("\t#")
}

/// The likely cause, where a value was refused.
pub fn likely_cause(value: &str) -> Option<&'static str> {
    let value = tidy(value);
    if within_quotes(value).is_some() {
        Some("the quotes are a part of the value: leave them out")
    } else if value.starts_with('#') || holds_comment(value) {
        Some("what stands behind # looks like a comment, which an env file takes for a part of the value: leave it out")
    } else if value.contains('\r') {
        Some("it holds \\r, as Windows line ends do: save the file with line feeds alone")
    } else if value.contains(BYTE_ORDER_MARK) {
        Some("it holds a byte-order mark (U+FEFF): save the file as UTF-8 without one")
    } else {
        None
    }
}

/// A reason with the likely cause, where it does not name that already.
pub fn with_likely_cause(reason: String, value: &str) -> String {
    let named = |cause: &str| {
        reason.contains(cause)
            || ["quotes", "comment", "\\r", "byte-order"]
                .iter()
                .any(|word| cause.contains(word) && reason.contains(word))
    };
    match likely_cause(value).filter(|cause| !named(cause)) {
        Some(cause) => format!("{reason}; {cause}"),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_around_a_value() {
        for (value, inner) in [
            ("\"a b\"", Some("a b")),
            (" 'a' ", Some("a")),
            ("\u{201c}a\u{201d}", Some("a")),
            ("\"a\" \"b\"", None),
            ("\"", None),
            ("it's", None),
            ("", None),
        ] {
            assert_eq!(within_quotes(value), inner, "{value}");
        }
    }

    #[test]
    fn words_for_none() {
        for word in ["False", "null", "NONE", "-", "[False]:587", "[none]"] {
            assert!(means_none(word), "{word}");
        }
        for word in ["", "none.example.org", "offline", "[sink]:25"] {
            assert!(!means_none(word), "{word}");
        }
    }

    #[test]
    fn the_likely_cause_is_named_once() {
        for (value, cause) in [
            ("'10'", "quotes"),
            ("[sink]:1025 # dev", "comment"),
            ("# later", "comment"),
            ("a\rb", "Windows"),
            ("\u{feff}a", "byte-order mark"),
        ] {
            let once = with_likely_cause("is wrong".to_owned(), value);
            assert!(once.contains(cause), "{once}");
            assert_eq!(with_likely_cause(once.clone(), value), once);
        }
        assert_eq!(with_likely_cause("is wrong".to_owned(), "a#b"), "is wrong");
    }
}
