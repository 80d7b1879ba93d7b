//! Spans of time as people write them: `90s`, `15m`, `1h`, `2d`; and ages as people read them: `3h 12m`.

use std::time::Duration;

/// Units and their seconds, the largest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// The seconds in a text such as `90s`, `15m`, `1h` or `2d`; a number alone is of seconds. `None` where it is no span.
pub fn seconds(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find(|(sign, _)| text.ends_with(*sign));
    let (digits, factor) = unit.map_or((text, 1), |(_, factor)| (&text[..text.len() - 1], *factor));
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(factor)
}

/// The same, of an argument of a command; the error says what is allowed.
pub fn read(text: &str) -> Result<Duration, String> {
    let read = seconds(text).map(Duration::from_secs);
    read.ok_or_else(|| "must be a time, such as 90s, 15m, 1h or 2d".to_owned())
}

/// A span in its two largest units: `3h 12m`, `2d 0h`, `45s`.
pub fn shown(span: Duration) -> String {
    let seconds = span.as_secs();
    let first = UNITS.iter().position(|(_, unit)| seconds >= *unit);
    let first = first.unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let parts = UNITS[first..].iter().take(2).map(|(sign, unit)| {
        let count = rest / unit;
        rest %= unit;
        format!("{count}{sign}")
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h", Some(3_600)),
            ("2d", Some(172_800)),
            ("7", Some(7)),
            ("0s", Some(0)),
            ("", None),
            ("h", None),
            ("5ss", None),
            ("+5s", None),
            ("1.5h", None),
            ("1h 5m", None),
            ("2w", None),
            ("99999999999999999999d", None),
            ("9999999999999999999d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert!(read("soon").unwrap_err().contains("90s, 15m, 1h or 2d"));
    }

    #[test]
    fn ages_are_shown_in_two_units() {
        for (span, expected) in [
            (0, "0s"),
            (45, "45s"),
            (60, "1m 0s"),
            (11_520, "3h 12m"),
            (172_800, "2d 0h"),
            (200_000, "2d 7h"),
        ] {
            assert_eq!(shown(Duration::from_secs(span)), expected);
        }
    }
}
