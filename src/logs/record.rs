//! One datagram from /dev/log, as the daemons' syslog(3) writes it (RFC 3164, without a host name).

use tracing::Level;

/// A log line of a daemon or tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Tag and message, as in `postfix/smtpd[13]: connect from …`: text without control characters.
    pub text: String,
    /// How important its sender says that it is.
    pub level: Level,
}

impl Record {
    /// Reads `<22>Nov 22 14:33:32 postfix/smtpd[13]: …`. The time is left out: it has no year and no fraction, so the line is
    /// stamped when it arrives. Anything else is taken as text as it is.
    pub fn parse(datagram: &[u8]) -> Record {
        let (priority, rest) = priority(datagram);
        Record {
            text: escape(without_time(rest)),
            level: level(priority),
        }
    }

    /// The program, as in `postfix/smtpd` or `dovecot`.
    pub fn program(&self) -> &str {
        let tag = self.text.split_once(": ").map_or("", |(tag, _)| tag);
        tag.split_once('[').map_or(tag, |(program, _)| program)
    }

    /// Its process id, as in `postfix/smtpd[13]: …`.
    pub fn pid(&self) -> Option<&str> {
        let (tag, _) = self.text.split_once(": ")?;
        let (_, pid) = tag.split_once('[')?;
        pid.strip_suffix(']')
            .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// What it says, behind the tag.
    pub fn message(&self) -> &str {
        self.text.split_once(": ").map_or(&self.text, |(_, message)| message)
    }
}

/// `LOG_MAIL | LOG_INFO`, where nothing is said.
const USUAL: u8 = 2 << 3 | 6;

/// The priority, and what stands behind it.
fn priority(datagram: &[u8]) -> (u8, &[u8]) {
    let split = || {
        let rest = datagram.strip_prefix(b"<")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(digits);
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        Some((number, rest.strip_prefix(b">")?))
    };
    split().unwrap_or((USUAL, datagram))
}

/// The severity within a priority (RFC 5424, section 6.2.1).
fn level(priority: u8) -> Level {
    match priority & 7 {
        0..=3 => Level::ERROR,
        4 => Level::WARN,
        5 | 6 => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// `Nov 22 14:33:32 ` is 16 bytes of a fixed shape.
fn without_time(text: &[u8]) -> &[u8] {
    const SHAPE: &[u8; 16] = b"Aaa 00 00:00:00 ";
    let fits = |(shape, byte): (&u8, &u8)| match shape {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit() || *byte == b' ',
        other => byte == other,
    };
    if text.len() >= SHAPE.len() && SHAPE.iter().zip(text).all(fits) {
        &text[SHAPE.len()..]
    } else {
        text
    }
}

/// Log text is attacker-made: whatever could move a terminal's cursor or end the line is shown as an escape.
pub(super) fn escape(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\0']);
    // As nearly all lines are.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn postfix_and_dovecot_lines() {
        let record = Record::parse(b"<22>Nov 22 14:33:32 postfix/smtpd[13]: connect from localhost[127.0.0.1]");
        assert_eq!(record.program(), "postfix/smtpd");
        assert_eq!(record.message(), "connect from localhost[127.0.0.1]");
        let record = Record::parse(b"<22>Nov  2 14:33:46 dovecot: imap(user)<158><x>: Disconnected");
        assert_eq!(
            (record.program(), record.message()),
            ("dovecot", "imap(user)<158><x>: Disconnected")
        );
    }

    #[test]
    fn escapes_and_odd_datagrams() {
        assert_eq!(
            Record::parse(b"<22>a\x1b[2Jb\nc\xff\0").text,
            "a\\u{1b}[2Jb\\nc\u{fffd}"
        );
        assert_eq!(Record::parse(b"<9999>x").text, "<9999>x");
        assert_eq!(Record::parse(b"").text, "");
        let levels = [b"<20>x", b"<19>x", b"<22>x"].map(|datagram| Record::parse(datagram).level);
        assert_eq!(levels, [Level::WARN, Level::ERROR, Level::INFO]);
    }

    proptest! {
        #[test]
        fn any_datagram_becomes_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let record = Record::parse(&bytes);
            prop_assert!(!record.text.chars().any(char::is_control));
            prop_assert!(record.text.ends_with(record.message()) && record.text.starts_with(record.program()));
        }
    }
}
