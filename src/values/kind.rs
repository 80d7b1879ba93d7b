//! What a variable may hold, and how it is read.

use std::net::{IpAddr, SocketAddr};

use super::network::{self, OwnNetworks};
use super::quota::Quota;
use super::{domain, relay_host, span, words};

/// The type of a variable's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An account's name, `user` or `user@domain`, or empty for none. Whether there is such an account is another question.
    Account,
    /// `yes` or `no`, as Postfix writes it.
    Boolean,
    /// A DNS name of at least two labels (RFC 1123).
    Domain,
    /// Several of them, separated by commas or white space.
    Domains,
    /// Entries on several lines, which their owner reads.
    Entries,
    /// Host names of any number of labels, and addresses, separated by commas or white space.
    Hosts,
    /// A whole number as Postfix reads it.
    Integer,
    /// Where to listen: an address and a port, or `off`.
    Listener,
    /// A whole number from 1 on, or `off`, which is written as 0.
    Limit {
        /// Largest number.
        most: u32,
    },
    /// CIDR networks, separated by commas or white space.
    Networks,
    /// Ranges of public addresses that belong to the user alone, separated by commas or white space.
    OwnNetworks,
    /// `on` or `off`.
    OnOff,
    /// One of these words; the second of each pair is the value that it stands for.
    OneOf(&'static [(&'static str, &'static str)]),
    /// A whole number, 0 to 2^31 - 1, which is what Postfix can hold for most parameters, in this unit.
    Number {
        /// What is counted, for the error text.
        unit: &'static str,
    },
    /// How much may be stored: `500M`, `5G`, or `off`.
    Quota,
    /// A relay host: `[host]`, `[host]:port`, `domain`, `domain:port`, or empty.
    RelayHost,
    /// Whole seconds, with or without a unit (`90`, `90s`, `2m`), within these bounds.
    Seconds {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// `yes` or `no`.
    Switch,
    /// Any text on one line.
    Text,
    /// A time as Postfix reads it: a whole number and perhaps a unit, `s`, `m`, `h`, `d` or `w`.
    Time,
    /// A name of the IANA time zone database.
    TimeZone,
}

impl Kind {
    /// Reads `text` and writes it as the daemons, and the settings that are made of it, are given it: a domain in small
    /// letters, seconds as a number, `true` or `false`. An error says what is wrong with it and what is allowed, without
    /// naming the variable.
    pub fn canonical(self, text: &str) -> Result<String, String> {
        if matches!(self, Kind::Entries) {
            return Ok(text.to_owned());
        }
        let is_list = matches!(self, Kind::Domains | Kind::Networks | Kind::OwnNetworks);
        let list = is_list.then(|| words::on_one_line(text));
        let text = list.as_deref().unwrap_or(words::tidy(text));
        one_line(text)?;
        if matches!(self, Kind::Hosts | Kind::Networks | Kind::RelayHost) && words::means_none(text) {
            return Err(words::LEAVE_EMPTY.to_owned());
        }
        match self {
            Kind::Account => account(text),
            Kind::Boolean => boolean(text),
            Kind::Integer => integer(text),
            Kind::Time => time(text),
            Kind::Limit { most } => limit(most, text).map(|limit| limit.to_string()),
            Kind::Listener => listener(text),
            Kind::Domain => domain::read(text),
            Kind::Domains => domains(text),
            Kind::Hosts => hosts(text),
            Kind::Networks => network::parse_list(text).map(|_| text.to_owned()),
            Kind::OwnNetworks => OwnNetworks::try_from(text.to_owned()).map(|_| text.to_owned()),
            Kind::OnOff => on_or_off(text).map(|on| on.to_string()),
            Kind::OneOf(words) => one_of(words, text),
            Kind::Number { unit } => number(unit, text).map(|number| number.to_string()),
            Kind::Quota => text.parse::<Quota>().map(|quota| quota.to_string()),
            Kind::RelayHost => relay_host(text),
            Kind::Seconds { min, max } => seconds(min, max, text).map(|seconds| seconds.to_string()),
            Kind::Switch => switch(text).map(|switch| switch.to_string()),
            Kind::Entries | Kind::Text => Ok(text.to_owned()),
            Kind::TimeZone => time_zone(text),
        }
    }

    /// What is allowed, for the README's table.
    pub fn allowed(self) -> String {
        match self {
            Kind::Account => "an account's name".to_owned(),
            Kind::Boolean => "`yes` `no`".to_owned(),
            Kind::Switch => "`yes` `no` (or `true` `false`, `on` `off`, `1` `0`)".to_owned(),
            Kind::Time => "a time, as `30s` or `4h`".to_owned(),
            Kind::Domain => "a domain name".to_owned(),
            Kind::Domains => "domain names".to_owned(),
            Kind::Entries => "entries".to_owned(),
            Kind::Hosts => "host names and addresses".to_owned(),
            Kind::Limit { most } => format!("`1` to `{most}`, `off`"),
            Kind::Listener => "`address:port`, `off`".to_owned(),
            Kind::Networks => "networks, as `10.0.0.0/8`".to_owned(),
            Kind::OwnNetworks => "networks, as `172.80.0.0/16`".to_owned(),
            Kind::OnOff => "`on` `off`".to_owned(),
            Kind::OneOf(words) => words
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(" "),
            Kind::Integer | Kind::Number { .. } => "a whole number".to_owned(),
            Kind::Quota => "`500M`, `5G` (K, M, G, T), or `off`".to_owned(),
            Kind::RelayHost => "`[host]:port` or `domain`".to_owned(),
            Kind::Seconds { min, max } => format!("`{min}s` to `{max}s` (or `90`, `2m`, `1h`)"),
            Kind::Text => "text".to_owned(),
            Kind::TimeZone => "a time zone's name".to_owned(),
        }
    }
}

/// Refuses what would start a second line in a configuration file.
pub fn one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || *c == words::BYTE_ORDER_MARK) {
        None => Ok(()),
        Some(words::BYTE_ORDER_MARK) => {
            Err("must not hold a byte-order mark (U+FEFF): save the file as UTF-8 without one".to_owned())
        }
        Some('\r') => Err(
            "must be one line, and holds \\r, as Windows line ends do: save the file with line feeds alone".to_owned(),
        ),
        Some('\n') => Err("must be one line, without a line break".to_owned()),
        Some(c) => Err(format!(
            "must not hold control characters, such as this one ({})",
            c.escape_default()
        )),
    }
}

fn account(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let is_name =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "@,;<>\"'".contains(c));
    match lower.split_once('@') {
        _ if lower.is_empty() => Ok(lower),
        _ if words::means_none(text) => Err("is no account: leave it empty for none".to_owned()),
        _ if matches!(lower.as_str(), "yes" | "true" | "on" | "1") => {
            Err("must name the account, such as user".to_owned())
        }
        None if is_name(&lower) => Ok(lower),
        Some((name, domain)) if is_name(name) && is_name(domain) => Ok(lower),
        _ => Err("must be one account, such as user or user@example.org".to_owned()),
    }
}

fn domains(text: &str) -> Result<String, String> {
    let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let domains = words.map(|word| domain::read(word).map_err(|reason| format!("{word}: {reason}")));
    let domains: Vec<String> = domains.collect::<Result<_, _>>()?;
    Ok(domains.join(", "))
}

fn boolean(text: &str) -> Result<String, String> {
    let nearest = match text.to_ascii_lowercase().as_str() {
        "yes" => return Ok("yes".to_owned()),
        "no" => return Ok("no".to_owned()),
        "true" | "on" | "1" | "y" => "; did you mean yes?",
        "false" | "off" | "0" | "n" => "; did you mean no?",
        _ => "",
    };
    Err(format!("must be yes or no{nearest}"))
}

fn integer(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && text.parse::<i64>().is_ok() {
        return Ok(text.to_owned());
    }
    match bytes_with_suffix(text) {
        Some(bytes) => Err(format!("must be a whole number, without a unit; did you mean {bytes}?")),
        None => Err("must be a whole number, written in digits".to_owned()),
    }
}

fn time(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<i32>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("must be a time: a whole number and a unit of s, m, h, d or w, such as 30s or 4h".to_owned())
}

/// A host name's form (RFC 1123).
fn is_host_name(lower: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    lower.split('.').all(label) && lower.len() <= 253
}

fn hosts(text: &str) -> Result<String, String> {
    let is_between = |c: char| c == ',' || c.is_whitespace();
    let names = text.split(is_between).filter(|name| !name.is_empty()).map(|name| {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(address.to_string());
        }
        let lower = name.to_ascii_lowercase();
        if is_host_name(lower.strip_prefix("*.").unwrap_or(&lower)) {
            return Ok(lower);
        }
        Err(format!(
            "must be host names and addresses, such as smtp, mail.example.org, 10.0.0.5; {name:?} is neither"
        ))
    });
    Ok(names.collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn one_of(words: &[(&str, &str)], text: &str) -> Result<String, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        return Ok((*value).to_owned());
    }
    let allowed = words.iter().map(|(word, _)| *word);
    // In quotes, for one may be empty or hold a comma.
    let quoted: Vec<String> = allowed.clone().map(|word| format!("{word:?}")).collect();
    Err(format!(
        "must be one of {}{}",
        quoted.join(" "),
        suggestion(text, allowed)
    ))
}

fn number(unit: &str, text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if i32::try_from(number).is_ok() => Ok(number),
        Ok(_) => Err(format!("must be at most {} {unit}", i32::MAX)),
        Err(_) => match bytes_with_suffix(text) {
            Some(bytes) if unit == "bytes" => Err(format!(
                "must be a whole number of bytes, without a unit; did you mean {bytes}?"
            )),
            _ => Err(format!(
                "must be a whole number of {unit}, written in digits, such as {}",
                example(unit)
            )),
        },
    }
}

fn example(unit: &str) -> &'static str {
    if unit == "bytes" { "52428800 (50 MiB)" } else { "100" }
}

/// `25M`, `25MB`, `25 MiB` in bytes.
fn bytes_with_suffix(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let shift = match text.get(digits..)?.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| i32::try_from(*bytes).is_ok())
}

fn relay_host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    relay_host::canonical(text)
}

fn limit(most: u32, text: &str) -> Result<u32, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" | "no" | "false" => Ok(0),
        text => match text.parse() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(format!("must be a whole number of 1 to {most}, or off")),
        },
    }
}

/// `*` and no address at all are what other programs call all addresses.
fn listener(text: &str) -> Result<String, String> {
    if matches!(text.to_ascii_lowercase().as_str(), "off" | "no" | "false") {
        return Ok("off".to_owned());
    }
    let port = text.strip_prefix('*').unwrap_or(text).strip_prefix(':');
    let full = port.map_or(text.to_owned(), |port| format!("0.0.0.0:{port}"));
    match full.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address.to_string()),
        _ => Err("must be an address and a port, such as 127.0.0.1:8025 or 0.0.0.0:8025, or off".to_owned()),
    }
}

fn seconds(min: u64, max: u64, text: &str) -> Result<u64, String> {
    match span::seconds(text) {
        Some(seconds) if (min..=max).contains(&seconds) => Ok(seconds),
        _ => Err(format!("must be a time of {min}s to {max}s, such as 30s or 2m")),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" | "" => Ok(false),
        _ => Err("must be yes or no".to_owned()),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "" => None,
        text => switch(text).ok(),
    }
    .ok_or_else(|| "must be on or off".to_owned())
}

/// Other names of UTC, links to Etc/UTC. A zone file that docker mounts at /etc/localtime lies where that link leads: at
/// Etc/UTC. Nothing reads a file for UTC itself.
const UTC: [&str; 8] = [
    "UTC",
    "Etc/UTC",
    "Etc/UCT",
    "Etc/Universal",
    "Etc/Zulu",
    "UCT",
    "Universal",
    "Zulu",
];

fn time_zone(text: &str) -> Result<String, String> {
    if text.is_empty() || UTC.iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Ok("UTC".to_owned());
    }
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    // The C library, whose names these become, goes by case.
    if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(name.clone());
    }
    let nearest = suggestion(text, names.iter().map(String::as_str));
    let posix = if text.starts_with(':') {
        ", not a file"
    } else if text.contains(|c: char| c.is_ascii_digit()) && nearest.is_empty() {
        ", not a rule of its own"
    } else {
        ""
    };
    Err(format!(
        "must be the name of a time zone{posix}, such as Europe/Berlin{nearest}"
    ))
}

fn suggestion<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    super::nearest(text, candidates)
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, text: &str) -> String {
        kind.canonical(text).expect_err(text)
    }

    #[test]
    fn domains() {
        assert_eq!(
            Kind::Domain.canonical("Mail.Example.ORG"),
            Ok("mail.example.org".into())
        );
        assert!(refused(Kind::Domain, "mail").contains("mail.example.org"));
        assert!(refused(Kind::Domain, "10.0.0.1").contains("not an address"));
        for wrong in ["", "a..b", "-a.b", "a_b.c", "a b.c", "ä.org"] {
            refused(Kind::Domain, wrong);
        }
    }

    #[test]
    fn host_names_and_addresses() {
        assert_eq!(
            Kind::Hosts.canonical("SMTP mail.Example.org,,*.example.net, ::0001"),
            Ok("smtp, mail.example.org, *.example.net, ::1".into())
        );
        assert_eq!(Kind::Hosts.canonical(" "), Ok(String::new()));
        assert_eq!(refused(Kind::Hosts, "null"), words::LEAVE_EMPTY);
        assert_eq!(refused(Kind::Networks, "none"), words::LEAVE_EMPTY);
        assert!(refused(Kind::Hosts, "a, b_c").contains(r#""b_c" is neither"#));
    }

    #[test]
    fn accounts() {
        for (text, canonical) in [("User", "user"), ("user@Example.ORG", "user@example.org"), (" ", "")] {
            assert_eq!(Kind::Account.canonical(text), Ok(canonical.into()));
        }
        for word in ["none", "off", "No", "false"] {
            assert!(refused(Kind::Account, word).contains("leave it empty"), "{word}");
        }
        assert!(refused(Kind::Account, "yes").contains("such as user"));
        for wrong in ["a, b", "a@b@c", "@b", "a@", "<a@b>", "\"a\""] {
            assert!(refused(Kind::Account, wrong).contains("one account"), "{wrong}");
        }
    }

    #[test]
    fn numbers_with_a_unit_are_told_the_bytes() {
        let kind = Kind::Number { unit: "bytes" };
        assert_eq!(kind.canonical("0"), Ok("0".into()));
        assert!(refused(kind, "25M").contains("did you mean 26214400?"));
        assert!(refused(kind, "ten").contains("whole number of bytes"));
        assert!(refused(kind, "99999999999").contains("2147483647"));
        refused(kind, "-1");
    }

    #[test]
    fn on_and_off() {
        assert_eq!(Kind::OnOff.canonical("Off"), Ok("false".into()));
        assert_eq!(Kind::OnOff.canonical("yes"), Ok("true".into()));
        for wrong in ["", "none"] {
            assert_eq!(refused(Kind::OnOff, wrong), "must be on or off");
        }
    }

    #[test]
    fn relay_hosts() {
        for right in [
            "",
            "[smtp.example.org]:587",
            "[10.0.0.1]",
            "example.org",
            "example.org:submission",
            "[::1]:25",
        ] {
            assert_eq!(Kind::RelayHost.canonical(right), Ok(right.into()));
        }
        for wrong in ["[smtp.example.org", "[a]587", "a:0", "a:70000", "::1", "[]:25"] {
            refused(Kind::RelayHost, wrong);
        }
    }

    #[test]
    fn a_second_line_is_refused() {
        assert!(refused(Kind::Text, "a\nb = c").contains("one line"));
        refused(Kind::Text, "a\0b");
    }

    #[test]
    fn time_zones_are_called_by_their_own_names() {
        for (given, own) in [
            ("europe/berlin", "Europe/Berlin"),
            ("utc", "UTC"),
            ("", "UTC"),
            ("Etc/UTC", "UTC"),
            ("etc/zulu", "UTC"),
        ] {
            assert_eq!(Kind::TimeZone.canonical(given), Ok(own.into()));
        }
        assert!(refused(Kind::TimeZone, "Europe/Berln").ends_with("did you mean Europe/Berlin?"));
    }

    #[test]
    fn limits_may_be_off() {
        let kind = Kind::Limit { most: 100 };
        for (text, canonical) in [("1", "1"), ("100", "100"), ("Off", "0"), ("no", "0")] {
            assert_eq!(kind.canonical(text), Ok(canonical.into()));
        }
        for wrong in ["0", "101", "-1", "10/h", "", "none"] {
            assert_eq!(refused(kind, wrong), "must be a whole number of 1 to 100, or off");
        }
    }

    #[test]
    fn seconds_have_bounds() {
        let kind = Kind::Seconds { min: 1, max: 3600 };
        assert_eq!(kind.canonical("2m"), Ok("120".into()));
        assert_eq!(kind.canonical("9"), kind.canonical("9s"));
        for wrong in ["0", "2h", "x", "", "s", "99999999999999999999h"] {
            refused(kind, wrong);
        }
    }

    #[test]
    fn words_get_a_suggestion() {
        let kind = Kind::OneOf(&[("may", "may"), ("encrypt", "encrypt"), ("require", "encrypt")]);
        assert_eq!(kind.canonical("require"), Ok("encrypt".into()));
        assert!(refused(kind, "encrypted").ends_with("did you mean encrypt?"));
    }
}
