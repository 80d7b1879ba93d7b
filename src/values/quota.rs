//! How much an account may store: a whole number of KiB, MiB, GiB or TiB, or no limit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units and the powers of two behind them, the largest first.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

/// Dovecot counts in signed numbers of 64 bits.
const MOST: u64 = i64::MAX.cast_unsigned();

/// How much an account may store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In bytes, 0 for no limit: always a multiple of 1024.
    bytes: u64,
}

impl Quota {
    /// No limit.
    pub const UNLIMITED: Quota = Quota { bytes: 0 };

    /// The limit in bytes; `None` where there is none.
    pub fn limit(self) -> Option<u64> {
        (self.bytes > 0).then_some(self.bytes)
    }
}

impl FromStr for Quota {
    type Err = String;

    /// Reads `500M`, `5G`, or `0` and `off` for no limit. A number without a unit is refused: it could be of bytes, and of MB.
    fn from_str(text: &str) -> Result<Quota, String> {
        let wrong =
            || "must be a whole number with K, M, G or T behind it, such as 500M or 5G; 0 or off for none".to_owned();
        if text == "0" || text.eq_ignore_ascii_case("off") {
            return Ok(Quota::UNLIMITED);
        }
        let unit = text.chars().last().map(|sign| sign.to_ascii_uppercase());
        let (unit, power) = UNITS
            .into_iter()
            .find(|(sign, _)| unit == Some(*sign))
            .ok_or_else(wrong)?;
        let number = &text[..text.len() - 1];
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number = number.parse().ok();
        let bytes = number.and_then(|number: u64| number.checked_mul(1 << power));
        let bytes = bytes.filter(|bytes| *bytes <= MOST);
        let most = MOST >> power;
        let bytes = bytes.ok_or_else(|| format!("must be at most {most}{unit}"))?;
        Ok(Quota { bytes })
    }
}

impl fmt::Display for Quota {
    /// In the largest unit of which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, power): &(char, u32)| self.bytes > 0 && self.bytes.trailing_zeros() >= *power;
        match UNITS.into_iter().find(whole) {
            Some((unit, power)) => write!(f, "{}{unit}", self.bytes >> power),
            None => f.write_str("off"),
        }
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quota, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        for (text, limit, shown) in [
            ("500M", Some(500 << 20), "500M"),
            ("5g", Some(5 << 30), "5G"),
            ("1024K", Some(1 << 20), "1M"),
            ("1536M", Some(1536 << 20), "1536M"),
            ("2T", Some(2 << 40), "2T"),
            ("0", None, "off"),
            ("0G", None, "off"),
            ("Off", None, "off"),
        ] {
            let quota: Quota = text.parse().unwrap();
            assert_eq!((quota.limit(), &*quota.to_string()), (limit, shown), "{text}");
            assert_eq!(shown.parse(), Ok(quota));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "5", "G", "1.5G", "-1G", "+1G", "5GB", "5 G", "5P", "five", "5é", "G5",
        ] {
            let reason = text.parse::<Quota>().unwrap_err();
            assert!(reason.contains("500M or 5G"), "{text}: {reason}");
        }
        for text in ["8388608T", "99999999999999999999K"] {
            let reason = text.parse::<Quota>().unwrap_err();
            assert!(reason.contains("at most"), "{text}: {reason}");
        }
        assert!("8388607T".parse::<Quota>().is_ok());
    }

    #[test]
    fn stored_as_its_text() {
        let quota: Quota = "5G".parse().unwrap();
        assert_eq!(serde_json::to_string(&quota).unwrap(), "\"5G\"");
        assert_eq!(serde_json::from_str::<Quota>("\"5G\"").unwrap(), quota);
        assert!(serde_json::from_str::<Quota>("\"5\"").is_err());
    }
}
