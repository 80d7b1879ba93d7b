//! Names of hosts and domains (RFC 1123), and what is wrong with those that are none.

/// Reads a name of at least two labels, in small letters and without a dot at its end.
pub fn read(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if let Some(reason) = of_another_shape(name) {
        return Err(reason);
    }
    if let Some(reason) = name.split('.').find_map(wrong_label) {
        return Err(reason);
    }
    if name.len() > 253 {
        return Err(format!("must have at most 253 characters, and has {}", name.len()));
    }
    if !name.contains('.') {
        return Err(format!("must have at least two parts, such as {name}.example.org"));
    }
    Ok(name.to_owned())
}

/// What is no name at all, with the name that may be meant.
fn of_another_shape(name: &str) -> Option<String> {
    let must = "must be a domain name";
    if name.is_empty() {
        return Some(format!("{must}, such as mail.example.org"));
    }
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
        return Some(format!("{must}, not a URL{}", meant(host)));
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() || last_is_a_number(bare) {
        return Some(format!("{must}, not an address"));
    }
    if let Some((_, host)) = name.split_once('@') {
        return Some(format!("{must}, not a mail address{}", meant(host)));
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Some(format!("{must}, without a port{}", meant(host)));
    }
    if bare != name {
        return Some(format!("{must}, without brackets{}", meant(bare)));
    }
    if !name.is_ascii() {
        return Some(match to_ascii(name) {
            Some(ascii) => format!("{must} in the letters of DNS: write {ascii}"),
            None => format!("{must} in the letters of DNS: letters without marks, digits, hyphens and dots"),
        });
    }
    None
}

fn last_is_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())
}

fn wrong_label(label: &str) -> Option<String> {
    let must = "must be a domain name: letters, digits, hyphens and dots, such as mail.example.org";
    if label.is_empty() {
        return Some(format!(
            "{must}; there is nothing between two dots, or before the first"
        ));
    }
    if label.contains('_')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        let with_hyphens = label.trim_matches('_').replace('_', "-");
        return Some(format!(
            "{must}; {label} holds an underscore, did you mean {with_hyphens}?"
        ));
    }
    if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Some(format!("{must}; it holds {c:?}"));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some(format!("{must}; {label} begins or ends with a hyphen"));
    }
    (label.len() > 63).then(|| {
        format!(
            "must have at most 63 characters between two dots; {label} has {}",
            label.len()
        )
    })
}

fn meant(host: &str) -> String {
    match read(host) {
        Ok(name) => format!("; did you mean {name}?"),
        Err(_) => String::new(),
    }
}

/// A name with letters beyond ASCII as DNS has it: `xn--…` (IDNA as in Unicode's UTS 46).
fn to_ascii(name: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(name).ok()?;
    read(&ascii).is_ok().then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(read("Mail.Example.ORG."), Ok("mail.example.org".to_owned()));
        assert_eq!(read("xn--bcher-kva.example"), Ok("xn--bcher-kva.example".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_this_one() {
        let long = format!("{}.example.org", "a".repeat(64));
        for (given, said) in [
            ("smtp_relay.example.org", "did you mean smtp-relay?"),
            ("mail.example.org:25", "without a port; did you mean mail.example.org?"),
            (
                "https://mail.example.org/x",
                "not a URL; did you mean mail.example.org?",
            ),
            ("bücher.example", "write xn--bcher-kva.example"),
            ("почта.example", "write xn--80a1acny.example"),
            ("straße.example", "write xn--strae-oqa.example"),
            ("ＭＡＩＬ.Bücher.example", "write mail.xn--bcher-kva.example"),
            ("a\u{200d}ü.example", "letters without marks"),
            (long.as_str(), "at most 63 characters"),
            ("me@example.org", "not a mail address; did you mean example.org?"),
            ("[mail.example.org]", "without brackets; did you mean mail.example.org?"),
            ("10.0.0.1", "not an address"),
            ("[::1]", "not an address"),
            ("mail", "mail.example.org"),
            ("a..b", "nothing between two dots"),
            ("-a.b", "hyphen"),
            ("a b.c", "' '"),
            ("", "such as mail.example.org"),
        ] {
            let reason = read(given).expect_err(given);
            assert!(reason.contains(said), "{given}: {reason}");
        }
    }
}
