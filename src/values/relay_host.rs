//! Relay hosts, as smtp(8) takes them: it dies at each delivery of one that it does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services that Postfix knows by name (services(5)).
const SERVICES: [(&str, u16); 5] = [
    ("lmtp", 24),
    ("smtp", 25),
    ("submission", 587),
    ("smtps", 465),
    ("submissions", 465),
];

/// One relay host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHost {
    /// Its name or address, without brackets.
    pub name: String,
    /// The host itself is meant, not the hosts of its MX records.
    pub in_brackets: bool,
    /// The port as it was given.
    pub port: Option<String>,
}

impl RelayHost {
    /// The port's number.
    pub fn port_number(&self) -> u16 {
        let Some(port) = &self.port else { return 25 };
        let service = SERVICES.iter().find(|(name, _)| name == port);
        service.map_or_else(|| port.parse().unwrap_or_default(), |(_, number)| *number)
    }

    /// As Postfix is given it.
    pub fn text(&self) -> String {
        let host = if self.in_brackets {
            format!("[{}]", self.name)
        } else {
            self.name.clone()
        };
        match &self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

/// Reads a list of them: Postfix tries the next when one does not answer.
pub fn parse_list(text: &str) -> Result<Vec<RelayHost>, String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(parse)
        .collect()
}

/// A list as Postfix is given it.
pub fn canonical(text: &str) -> Result<String, String> {
    let hosts: Vec<String> = parse_list(text)?.iter().map(RelayHost::text).collect();
    Ok(hosts.join(", "))
}

fn parse(text: &str) -> Result<RelayHost, String> {
    if let Some((_, host)) = text.rsplit_once('@') {
        let host = host.trim_end_matches('/');
        let (name, port) = host.split_once(':').unwrap_or((host, "587"));
        let name = name.trim_matches(['[', ']']);
        return Err(format!(
            "must not hold a login, which belongs in MAILROOM_RELAYHOST_USERNAME and MAILROOM_RELAYHOST_PASSWORD; did you mean \
             [{name}]:{port}?"
        ));
    }
    let wrong = || Err("must be [host]:port, [host], domain:port or domain, such as [smtp.example.org]:587".to_owned());
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        let (name, port) = host.split_once(':').unwrap_or((host, "587"));
        return Err(format!("must not be a URL; did you mean [{name}]:{port}?"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets; did you mean [{text}]?"));
    }
    let (host, port, in_brackets) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None, true),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port), true),
                None => return wrong(),
            },
            None => return wrong(),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port), false),
            None => (text, None, false),
        },
    };
    if host.is_empty() || host.contains(['[', ']']) {
        return wrong();
    }
    Ok(RelayHost {
        name: name(host, in_brackets)?,
        in_brackets,
        port: port.map(self::port).transpose()?,
    })
}

fn port(port: &str) -> Result<String, String> {
    let lower = port.to_ascii_lowercase();
    let is_service = SERVICES.iter().any(|(name, _)| *name == lower);
    let is_number = !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_service || is_number {
        return Ok(lower);
    }
    let names: Vec<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
    Err(format!(
        "the port must be 1 to 65535, or one of {}, not {port:?}",
        names.join(", ")
    ))
}

/// What valid_hostname() of Postfix accepts, and addresses.
fn name(host: &str, in_brackets: bool) -> Result<String, String> {
    let ipv6 = host
        .get(..5)
        .filter(|prefix| prefix.eq_ignore_ascii_case("ipv6:"))
        .map_or(host, |_| &host[5..]);
    if host.contains(':') {
        let is_address = in_brackets && ipv6.parse::<Ipv6Addr>().is_ok();
        return if is_address {
            Ok(host.to_owned())
        } else {
            Err(format!("{host} is neither a host name nor an address"))
        };
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err(format!("{host} is neither a host name nor an IPv4 address"));
    }
    let letter = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._".contains(*c));
    if let Some(letter) = letter {
        return Err(format!(
            "a host name has letters, digits, hyphens and dots, not {letter:?}"
        ));
    }
    let wrong_label = name
        .split('.')
        .find(|label| label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-'));
    match wrong_label {
        Some("") => Err(format!("{host} has a dot with nothing on one side of it")),
        Some(label) if label.len() > 63 => Err(format!("{label} is longer than 63 letters")),
        Some(label) => Err(format!("{label} must not begin or end with a hyphen")),
        None => Ok(name.to_owned()),
    }
}

impl RelayHost {
    /// The address that it is, where it is no name.
    pub fn address(&self) -> Option<IpAddr> {
        let prefix = self.name.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("ipv6:"));
        self.name[prefix.map_or(0, str::len)..].parse().ok()
    }

    /// Whether it is an address of this machine's loopback.
    pub fn is_loopback(&self) -> bool {
        self.name.eq_ignore_ascii_case("localhost") || self.address().is_some_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smtp_takes() {
        for right in [
            "",
            "sink:1025",
            "[sink]:1025",
            "sink",
            "[SINK]",
            "[fd77::5]",
            "[ipv6:fd77::5]:25",
            "10.0.0.1",
            "[10.0.0.1]:25",
            "[a]:25, [b]:25",
            "_smtp.a_b.test:submission",
        ] {
            assert_eq!(canonical(right), Ok(right.to_owned()));
        }
        assert_eq!(
            canonical("[smtp.example.org.]:587"),
            Ok("[smtp.example.org]:587".to_owned())
        );
        assert_eq!(canonical("[sink]:SMTP"), Ok("[sink]:smtp".to_owned()));
        assert_eq!(canonical("[a]:25 [b]"), Ok("[a]:25, [b]".to_owned()));
    }

    #[test]
    fn what_smtp_dies_of() {
        for (text, reason) in [
            ("[300.1.1.1]:25", "IPv4"),
            ("[12345]:25", "IPv4"),
            (".example.org", "dot"),
            ("[a..b]:25", "dot"),
            ("[-a]:25", "hyphen"),
            ("[sink]:nosuch", "submissions"),
            ("[sink]:0", "65535"),
            ("[sink", "must be [host]"),
            ("[]:25", "must be [host]"),
            ("[a]587", "must be [host]"),
            ("fd77::5", "did you mean [fd77::5]?"),
            ("smtp://sink:25", "did you mean [sink]:25?"),
            ("[smtp/x]", "'/'"),
            ("smtp://me:hunter2@sink:25/", "did you mean [sink]:25?"),
            ("me:hunter2@sink", "did you mean [sink]:587?"),
        ] {
            let said = canonical(text).expect_err(text);
            assert!(said.contains(reason), "{text}: {said}");
        }
    }

    #[test]
    fn ports_and_places() {
        let host = |text: &str| parse(text).unwrap();
        assert_eq!(
            ["a", "a:smtps", "a:465", "a:587"].map(|text| host(text).port_number()),
            [25, 465, 465, 587]
        );
        assert!(host("[127.0.0.1]").is_loopback() && host("[::1]").is_loopback() && !host("10.0.0.1").is_loopback());
    }
}
