//! What a text file of the user's may hold that no editor shows: a byte-order mark, the two-byte letters of UTF-16, NUL bytes.
//! Postfix and Dovecot take a mark for a part of the first word, and a NUL for the end of the line.

const MARK: &[u8] = "\u{feff}".as_bytes();

/// What is wrong with such a file: the line, counted from 1, and the reason.
pub fn wrong(bytes: &[u8]) -> Option<(usize, &'static str)> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Some((1, "is UTF-16 text, as Windows writes it: save the file as UTF-8"));
    }
    (1..).zip(bytes.split(|byte| *byte == b'\n')).find_map(|(number, line)| {
        let reason = if line.starts_with(MARK) {
            "begins with a byte-order mark (U+FEFF), which would be a part of the first word: save the file as UTF-8 without one"
        } else if line.contains(&0) {
            "holds a NUL byte, which ends the line for the daemon: remove it, and save the file as text"
        } else {
            return None;
        };
        Some((number, reason))
    })
}

/// The text of a file that must be UTF-8.
pub fn utf8(bytes: Vec<u8>) -> Result<String, (usize, &'static str)> {
    if let Some(wrong) = wrong(&bytes) {
        return Err(wrong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        (line, "is not UTF-8 text: save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_editor_shows() {
        let line_of = |bytes: &[u8]| wrong(bytes).map(|(line, _)| line);
        assert_eq!(line_of("# a\r\nb \u{feff}c\n".as_bytes()), None);
        assert_eq!(line_of(b"caf\xe9 x\n"), None, "Latin-1 is text");
        assert_eq!(line_of("\u{feff}a b\n".as_bytes()), Some(1));
        assert_eq!(line_of("a b\n\u{feff}c d\n".as_bytes()), Some(2));
        assert_eq!(line_of(b"a b\nc\0d e\n"), Some(2));
        assert!(wrong(b"\xff\xfea\0").is_some_and(|(_, reason)| reason.contains("UTF-16")));
        assert_eq!(utf8(b"a\ncaf\xe9\n".to_vec()).map_err(|(line, _)| line), Err(2));
        assert_eq!(utf8(b"a\n".to_vec()), Ok("a\n".to_owned()));
    }
}
