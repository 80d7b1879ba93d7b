//! URLs of directories: `scheme://user:password@host:port/path?name=value` (RFC 3986), percent-encoded where a sign would
//! mean something else.

/// The parts of a URL, decoded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// Such as `ldaps`.
    pub scheme: String,
    /// Who logs in; may be empty.
    pub user: String,
    /// With which password; may be empty.
    pub password: String,
    /// A name or an address, without brackets; empty where there is none.
    pub host: String,
    /// The port, where one is named.
    pub port: Option<u16>,
    /// What stands behind the host, without the slash.
    pub path: String,
    /// `name=value` pairs.
    options: Vec<(String, String)>,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}/{}", self.scheme, self.authority(), self.path)
    }
}

impl Url {
    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut found = self.options.iter().filter(|(other, _)| other == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        self.port.map_or(host.clone(), |port| format!("{host}:{port}"))
    }
}

/// Reads one. `options` are the names that may stand behind the question mark. An error says what is wrong, without a secret.
pub fn read(text: &str, options: &[&str]) -> Result<Url, String> {
    let (scheme, rest) = text.split_once("://").ok_or("is no URL")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, place) = match rest.split_once('/').map_or(rest, |(before, _)| before).rfind('@') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = host_and_port(authority)?;
    let mut url = Url {
        scheme: scheme.to_owned(),
        user: decoded(user)?,
        password: decoded(password)?,
        host,
        port,
        path: decoded(path)?,
        options: Vec::new(),
    };
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !options.contains(&name) {
            let known = if options.is_empty() {
                "there are none".to_owned()
            } else {
                options.join(", ")
            };
            return Err(format!("{name} is no option of this URL ({known})"));
        }
        url.options.push((name.to_owned(), decoded(value)?));
    }
    Ok(url)
}

/// How the signs are written that would end a password, or a host's name.
const ESCAPED: &str = "in a password write / as %2F, @ as %40, : as %3A, ? as %3F and % as %25";

/// What is wrong where a password has a `/` or `?` in it: that ends the host's name, and an `@` stands behind.
pub fn check_login(text: &str) -> Result<(), String> {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let ends_early = rest.find(['/', '?']).is_some_and(|end| rest[end..].contains('@'));
    if ends_early {
        return Err(format!(
            "has an @ behind the / or ? that ends the host's name; {ESCAPED}"
        ));
    }
    Ok(())
}

/// What is said of another scheme.
pub fn wrong_scheme(schemes: &[&str], example: &str) -> String {
    let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    format!("must begin with {}, as in {example}", schemes.join(", "))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if let Some(sign) = host.chars().find(|c| !is_allowed(*c)) {
        return Err(format!("{sign:?} cannot stand in a host's name; {ESCAPED}"));
    }
    let port = port.map(str::parse).transpose();
    let port = port.map_err(|_| "the port must be a number from 1 to 65535".to_owned())?;
    Ok((host.to_owned(), port))
}

/// `%40` is `@`. Line breaks and quotes, which a daemon's file could take for something else, are refused.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("holds a % that begins no %XX: write it as %25")?);
        rest = &behind[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    if text.contains(|c: char| c.is_control() || c == '"') || text.trim() != text {
        return Err("holds a quotation mark, a control character, or a blank at the end of a part".to_owned());
    }
    Ok(text)
}
