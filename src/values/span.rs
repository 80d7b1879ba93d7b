//! Spans of time, as people write and read them.

use std::time::Duration;

/// Units and their seconds, the longest first.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads `90s`, `15m`, `2h`, `3d` or `1w`. An error says what is allowed.
pub fn read(text: &str) -> Result<Duration, String> {
    let unit = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let span = unit.and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds));
    span.map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is no span of time: write a whole number and a unit, such as 30m, 2h or 3d"))
}

/// `45s`, `12m`, `3h 12m`, `2d 4h`.
pub fn text(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (written, seconds, shown) in [
            ("0s", 0, "0s"),
            ("90s", 90, "1m"),
            ("15m", 900, "15m"),
            ("2h", 7_200, "2h 0m"),
            ("3d", 259_200, "3d 0h"),
            ("1w", 604_800, "7d 0h"),
        ] {
            let span = read(written).unwrap();
            assert_eq!((span.as_secs(), text(span)), (seconds, shown.to_owned()));
        }
        for wrong in [
            "",
            "5",
            "h",
            "-1h",
            "1.5h",
            "5 h",
            "99999999999999999999w",
            "18446744073709551615w",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
