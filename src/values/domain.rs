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

/// A name with letters beyond ASCII as DNS has it: `xn--…` (RFC 3492). Letters that IDNA maps to others besides their small
/// forms are taken as they are.
fn to_ascii(name: &str) -> Option<String> {
    let label = |label: &str| {
        if label.is_ascii() {
            return Some(label.to_owned());
        }
        let lower = label.to_lowercase();
        let is_word = lower.chars().all(|c| c.is_alphanumeric() || c == '-');
        let encoded = is_word.then(|| punycode(&lower)).flatten()?;
        Some(format!("xn--{encoded}"))
    };
    let labels: Option<Vec<String>> = name.split('.').map(label).collect();
    Some(labels?.join(".")).filter(|ascii| read(ascii).is_ok())
}

/// RFC 3492, with the parameters of its section 5.
fn punycode(label: &str) -> Option<String> {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut output: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let all: Vec<u32> = label.chars().map(u32::from).collect();
    let count = u32::try_from(all.len()).ok()?;
    let (mut n, mut delta, mut bias, mut handled) = (128_u32, 0_u32, 72_u32, basic);
    while handled < count {
        let next = all.iter().copied().filter(|code| *code >= n).min()?;
        delta = (next - n).checked_mul(handled + 1)?.checked_add(delta)?;
        n = next;
        for code in &all {
            if *code < n {
                delta = delta.checked_add(1)?;
            }
            if *code == n {
                let (mut q, mut k) = (delta, 36);
                loop {
                    let t = k_threshold(k, bias);
                    if q < t {
                        break;
                    }
                    output.push(char::from(*DIGITS.get((t + (q - t) % (36 - t)) as usize)?));
                    q = (q - t) / (36 - t);
                    k += 36;
                }
                output.push(char::from(*DIGITS.get(q as usize)?));
                bias = adapted(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        n += 1;
    }
    Some(output)
}

fn k_threshold(k: u32, bias: u32) -> u32 {
    k.saturating_sub(bias).clamp(1, 26)
}

fn adapted(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
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
            ("почта.example", "write xn--"),
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

    #[test]
    fn punycode_as_in_rfc_3492() {
        for (label, encoded) in [
            ("bücher", "bcher-kva"),
            ("почта", "80a1acny"),
            ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
            ("münchen-ost", "mnchen-ost-9db"),
        ] {
            assert_eq!(punycode(label).as_deref(), Some(encoded), "{label}");
        }
    }
}
