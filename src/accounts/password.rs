//! Password hashes in the schemes of Dovecot (Dovecot docs, "Password Schemes"): how they are made and compared, and which of
//! those that a user gives are taken. Pure but for random salts.
//!
//! New hashes are BLF-CRYPT; docs/PASSWORDS.md has the measurements. A hash is written as `{SCHEME}text`, the scheme in any
//! case. Whether the text fits its scheme is seen here, at the start; Dovecot itself would say so at the first login.

use bcrypt::Version;
use password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use sha_crypt::{Params, ShaCrypt};

/// Longest password in bytes: bcrypt ignores what is behind them.
pub const LONGEST: usize = 72;

/// bcrypt computes 2 to the power of this.
const COST: u32 = 10;

/// The most that one verification may take of each: about a second, and of memory what one process of Dovecot's has.
const MOST_COST: u32 = 14;
const MOST_ROUNDS: u32 = 1_000_000;
const MOST_PASSES: u32 = 16;
/// In MiB. An auth process may have this, and what it needs besides (`vsz_limit`).
pub const MOST_MEMORY: u32 = 256;

/// crypt(3) reads at most 16 characters of salt, which is what 12 bytes become.
const PUBLIC_SALT: &[u8; 12] = b"mailroom.pub";

/// The hash of a password, in the scheme of all new ones.
pub fn hash(password: &str) -> Result<String, String> {
    check_length(password)?;
    let hash = bcrypt::hash_with_result(password, COST).map_err(cannot_be_hashed)?;
    Ok(format!("{{BLF-CRYPT}}{}", hash.format_for_version(Version::TwoY)))
}

/// The hash of a password that everybody knows: there is nothing to protect, so that it costs a fifteenth of the time, and is the
/// same each time.
pub fn hash_of_public(password: &str) -> Result<String, String> {
    let hash = ShaCrypt::SHA512
        .hash_password_customized(password.as_bytes(), PUBLIC_SALT, None, None, Params::default())
        .map_err(cannot_be_hashed)?;
    Ok(format!("{{SHA512-CRYPT}}{}", hash.as_str()))
}

/// A password of 120 bits, in letters that are read and typed without doubt.
pub fn generate() -> Result<String, String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers for a password: {error}"))?;
    let letters: Vec<char> = random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    Ok(letters.chunks(6).map(String::from_iter).collect::<Vec<_>>().join("-"))
}

fn cannot_be_hashed(error: impl std::fmt::Display) -> String {
    format!("a password cannot be hashed: {error}")
}

/// Whether a password fits a hash that was made here. It takes as long as making one.
pub fn verifies(password: &str, hash: &str) -> bool {
    match split(hash) {
        Some(("BLF-CRYPT", hash)) => check_length(password).is_ok() && bcrypt::verify(password, hash).unwrap_or(false),
        Some(("SHA512-CRYPT", hash)) => ShaCrypt::SHA512.verify_password(password.as_bytes(), hash).is_ok(),
        _ => false,
    }
}

/// Whether a password can be hashed: it is not empty, is not cut off by bcrypt, and holds no control characters.
pub fn check_length(password: &str) -> Result<(), String> {
    match password.len() {
        0 => Err("must not be empty".to_owned()),
        LONGEST.. if password.len() > LONGEST => Err(format!(
            "has {} bytes; more than {LONGEST} would be ignored (bcrypt): choose a shorter one",
            password.len()
        )),
        _ if password.contains(char::is_control) => Err("must not hold control characters".to_owned()),
        _ => Ok(()),
    }
}

/// Whether a field of an entry is a hash, and no password in clear.
pub fn is_hash(field: &str) -> bool {
    field.starts_with('{')
}

const MAKE_A_HASH: &str = "docker run --rm -it --entrypoint doveadm <image> -O pw -s BLF-CRYPT -r 10";

/// Whether a password can stand in clear in an entry, whose fields end at colons and which itself ends at white space.
pub fn check_clear(password: &str) -> Result<(), String> {
    check_length(password)?;
    if password.contains(|c: char| c == ':' || c.is_whitespace()) {
        return Err(format!(
            "holds a colon or white space, which cannot stand in an entry: give its hash instead ({MAKE_A_HASH})"
        ));
    }
    if let Some(scheme) = scheme_without_name(password) {
        return Err(format!(
            "looks like a hash without its scheme: write {{{scheme}}} before it"
        ));
    }
    Ok(())
}

/// The scheme of a hash that stands without one, as in shadow(5): crypt(5) and Argon2 begin with an identifier.
pub fn scheme_without_name(text: &str) -> Option<&'static str> {
    let (id, _) = text.strip_prefix('$')?.split_once('$')?;
    scheme_of(id)
}

/// What is to be said of a scheme.
#[derive(Debug, Clone, Copy)]
enum Scheme {
    /// `$id$…`, with one of these ids.
    Crypt(&'static [&'static str]),
    /// Digest and salt as base64 or hexadecimal digits; so many bytes of digest.
    Salted(usize),
    /// `iterations,salt,key,key`; so many bytes in a key (RFC 5802).
    Scram(usize),
    /// Not taken, because it …
    Weak(&'static str),
}

use Scheme::{Crypt, Salted, Scram, Weak};

const CLEAR: Scheme = Weak("is the password in clear: write it without the scheme, and it is hashed");
const AS_GOOD: Scheme = Weak("is worth as much as the password to all who can read it");
const NO_SALT: Scheme = Weak("has no salt: equal passwords have equal hashes, which can be looked up");
const REFUSED: Scheme = Weak("is weak, and Dovecot refuses logins with it");

/// The schemes of `doveadm pw -l` (Dovecot 2.4.1, with libsodium).
const SCHEMES: [(&str, Scheme); 32] = [
    ("ARGON2", Crypt(&["argon2id", "argon2i"])),
    ("ARGON2I", Crypt(&["argon2i"])),
    ("ARGON2ID", Crypt(&["argon2id"])),
    ("BLF-CRYPT", Crypt(&["2y", "2b", "2a"])),
    ("CLEAR", CLEAR),
    ("CLEARTEXT", CLEAR),
    ("CRAM-MD5", AS_GOOD),
    ("CRYPT", Crypt(&["2y", "2b", "2a", "6", "5", "y"])),
    ("DES-CRYPT", REFUSED),
    ("DIGEST-MD5", AS_GOOD),
    ("HMAC-MD5", REFUSED),
    ("LDAP-MD5", REFUSED),
    ("MD5", REFUSED),
    ("MD5-CRYPT", REFUSED),
    ("OTP", AS_GOOD),
    ("PBKDF2", Crypt(&["1"])),
    ("PLAIN", CLEAR),
    ("PLAIN-MD4", REFUSED),
    ("PLAIN-MD5", REFUSED),
    ("PLAIN-TRUNC", CLEAR),
    ("SCRAM-SHA-1", Scram(20)),
    ("SCRAM-SHA-256", Scram(32)),
    ("SHA", NO_SALT),
    ("SHA1", NO_SALT),
    ("SHA256", NO_SALT),
    ("SHA256-CRYPT", Crypt(&["5"])),
    ("SHA512", NO_SALT),
    ("SHA512-CRYPT", Crypt(&["6"])),
    ("SMD5", REFUSED),
    ("SSHA", Salted(20)),
    ("SSHA256", Salted(32)),
    ("SSHA512", Salted(64)),
];

/// Whether the installed Dovecot takes a hash: a scheme that it has and that is not weak, and a text of that scheme's form.
pub fn check_scheme(hash: &str) -> Result<(), String> {
    let (named, text) = split(hash).ok_or("must begin with its scheme, such as {BLF-CRYPT}")?;
    if hash.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
        return Err("holds a colon, white space or a control character, which no hash has".to_owned());
    }
    let name = named.to_ascii_uppercase();
    let (name, encoding) = name.split_once('.').unwrap_or((&name, ""));
    let scheme = SCHEMES
        .iter()
        .find(|(scheme, _)| *scheme == name)
        .map(|(_, scheme)| *scheme);
    match scheme.filter(|_| ["", "B64", "BASE64", "HEX"].contains(&encoding)) {
        None => Err(format!(
            "has the scheme {{{named}}}, which the installed Dovecot does not know; it knows {}",
            accepted().join(", ")
        )),
        Some(Weak(reason)) => Err(format!(
            "has the scheme {{{name}}}, which {reason}; {} are taken",
            accepted().join(", ")
        )),
        Some(Crypt(ids)) => crypt(name, ids, text),
        Some(Salted(digest)) => salted(name, digest, encoding == "HEX", text),
        Some(Scram(key)) => scram(name, key, text),
    }
}

fn accepted() -> Vec<&'static str> {
    let is_accepted = |(_, scheme): &&(&str, Scheme)| !matches!(scheme, Weak(_));
    SCHEMES.iter().filter(is_accepted).map(|(name, _)| *name).collect()
}

/// A hash's scheme and its text.
fn split(hash: &str) -> Option<(&str, &str)> {
    hash.strip_prefix('{')?.split_once('}')
}

/// Compose and shells take `$` for the begin of a variable's name: what they leave is no hash.
const EATEN: &str = "write $$ for each $ in a compose file, and single quotes around the hash in a shell";

/// What decides how long a check of this hash takes: its scheme, and the numbers in it.
pub fn cost(hash: &str) -> (&str, &str) {
    let (scheme, text) = split(hash).unwrap_or(("", hash));
    let mut fields = text.split('$').skip(1);
    let mut field = || fields.next().unwrap_or_default();
    let numbers = match (field(), field(), field()) {
        ("2y" | "2b" | "2a" | "y", cost, _) => cost,
        ("5" | "6", rounds, _) if rounds.starts_with("rounds=") => rounds,
        ("argon2i" | "argon2id", _, costs) => costs,
        ("1", _, rounds) => rounds,
        _ => text.split_once(',').map_or("", |(iterations, _)| iterations),
    };
    (scheme, numbers)
}

/// Stands for a hash that is not made yet.
pub const SOME_HASH: &str = "{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

/// A hash of the same scheme and cost that no password fits: its last letters are others, in every alphabet a right one.
pub fn fits_no_password(hash: &str) -> String {
    const OTHER: &str = "AAAAAAAAAAAAAAAA";
    let letters = hash.trim_end_matches('=');
    let kept = letters.len().saturating_sub(OTHER.len());
    format!("{}{OTHER}{}", &letters[..kept], &hash[letters.len()..])
}

/// `$id$…` (crypt(5)).
fn crypt(scheme: &str, ids: &[&str], text: &str) -> Result<(), String> {
    let form = ids.iter().map(|id| format!("${id}$…")).collect::<Vec<_>>().join(" or ");
    if text.starts_with("$$") {
        return Err(format!(
            "is no {scheme}, which is {form}: $$ stands for $ in a compose file alone, write $ here"
        ));
    }
    let fields: Vec<&str> = text.split('$').collect();
    let is_named = |id: &&&str| ids.contains(id);
    let Some(id) = fields.get(1).filter(is_named).filter(|_| fields[0].is_empty()) else {
        let other = fields
            .get(1)
            .and_then(|id| scheme_of(id))
            .filter(|_| text.starts_with('$'));
        let advice = match other {
            Some(other) => format!("this one is {{{other}}}"),
            None if text.starts_with('$') => format!("this one begins with {}", shown_id(text)),
            None => format!("a $ is missing; {EATEN}"),
        };
        return Err(format!("is no {scheme}, which is {form}: {advice}"));
    };
    let rest = &fields[2..];
    match *id {
        "5" => sha_crypt(rest, 43),
        "6" => sha_crypt(rest, 86),
        "argon2i" | "argon2id" => argon2(rest),
        "1" => pbkdf2(rest),
        "y" => yescrypt(rest),
        _ => blowfish(rest),
    }
    .map_err(|reason| format!("is no whole {scheme}: {reason}"))
}

/// The scheme of a text with this id.
fn scheme_of(id: &str) -> Option<&'static str> {
    let of = |(name, scheme): &(&'static str, Scheme)| matches!(scheme, Crypt([only]) if *only == id).then_some(*name);
    match id {
        "2y" | "2b" | "2a" => Some("BLF-CRYPT"),
        "1" => Some("MD5-CRYPT"),
        "y" => Some("CRYPT"),
        _ => SCHEMES.iter().find_map(of),
    }
}

/// The first signs, which are no secret.
fn shown_id(text: &str) -> String {
    text.chars().take(4).collect()
}

/// A part has another length where something was eaten, or where the end is missing.
fn part(
    what: &str,
    text: &str,
    lengths: impl std::ops::RangeBounds<usize>,
    is_right: fn(u8) -> bool,
) -> Result<(), String> {
    if lengths.contains(&text.len()) && text.bytes().all(is_right) {
        return Ok(());
    }
    Err(format!(
        "its {what} is missing, cut off, or has a sign that cannot be there ({EATEN})"
    ))
}

/// The letters of crypt(3).
fn is_crypt64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./".contains(&byte)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/".contains(&byte)
}

/// A number in a hash, in these bounds.
fn number(what: &str, text: &str, least: u32, most: u32) -> Result<(), String> {
    match text.parse::<u32>() {
        Ok(number) if number > most => Err(format!(
            "its {what} {number} is above {most}: each login would take too long, or too much memory"
        )),
        Ok(number) if number >= least => Ok(()),
        _ => Err(format!("its {what} must be a number from {least} to {most} ({EATEN})")),
    }
}

/// `$2y$10$` and 53 letters.
fn blowfish(fields: &[&str]) -> Result<(), String> {
    let [cost, digest] = fields else {
        return Err(format!("behind its id stand the cost and 53 letters ({EATEN})"));
    };
    number("cost", cost, 4, MOST_COST)?;
    part("cost", cost, 2..=2, |byte| byte.is_ascii_digit())?;
    part("salt or digest", digest, 53..=53, is_crypt64)
}

/// `$6$[rounds=5000$]salt$digest`.
fn sha_crypt(fields: &[&str], length: usize) -> Result<(), String> {
    let fields = match fields {
        [first, rest @ ..] if first.starts_with("rounds=") => {
            number("rounds", &first["rounds=".len()..], 1000, MOST_ROUNDS)?;
            rest
        }
        fields => fields,
    };
    let [salt, digest] = fields else {
        return Err(format!(
            "behind its id stand salt and digest, or rounds=…, salt and digest ({EATEN})"
        ));
    };
    part("salt", salt, 1..=16, |byte| byte.is_ascii_graphic())?;
    part("digest", digest, length..=length, is_crypt64)
}

/// `$argon2id$v=19$m=65536,t=3,p=1$salt$digest`.
fn argon2(fields: &[&str]) -> Result<(), String> {
    let ["v=19", costs, salt, digest] = fields else {
        return Err(format!(
            "behind its id stand v=19, m=…,t=…,p=…, salt and digest ({EATEN})"
        ));
    };
    let costs: Vec<&str> = costs.split(',').collect();
    let cost = |at: usize, name: &str| costs.get(at).and_then(|cost| cost.strip_prefix(name)).unwrap_or("");
    number("memory m in KiB", cost(0, "m="), 8, MOST_MEMORY * 1024)?;
    number("passes t", cost(1, "t="), 1, MOST_PASSES)?;
    number("lanes p", cost(2, "p="), 1, 64)?;
    part("salt", salt, 11..=86, is_base64)?;
    part("digest", digest, 22..=86, is_base64)
}

/// `$y$j9T$salt$digest` (crypt(5)).
fn yescrypt(fields: &[&str]) -> Result<(), String> {
    let [costs, salt, digest] = fields else {
        return Err(format!("behind its id stand cost, salt and digest ({EATEN})"));
    };
    // j9T, of 16 MiB, is Debian's own. The next letter doubles that: A, B, C, and D for 256 MiB.
    part("cost", costs, 3..=3, is_crypt64)?;
    if costs.as_bytes()[1] > b'D' {
        return Err(format!("its cost {costs} takes more memory than a login may"));
    }
    part("salt", salt, 1..=86, is_crypt64)?;
    part("digest", digest, 43..=43, is_crypt64)
}

/// `$1$salt$5000$` and 40 hexadecimal digits.
fn pbkdf2(fields: &[&str]) -> Result<(), String> {
    let [salt, rounds, digest] = fields else {
        return Err(format!("behind its id stand salt, rounds and digest ({EATEN})"));
    };
    part("salt", salt, 1..=64, |byte| byte.is_ascii_graphic())?;
    number("rounds", rounds, 1000, MOST_ROUNDS)?;
    part("digest", digest, 40..=40, |byte| byte.is_ascii_hexdigit())
}

/// Digest and salt behind each other.
fn salted(scheme: &str, digest: usize, is_hex: bool, text: &str) -> Result<(), String> {
    let bytes = if is_hex { hex(text) } else { base64(text) };
    match bytes {
        Some(bytes) if bytes > digest => Ok(()),
        Some(bytes) => Err(format!(
            "is no whole {scheme}: it has {bytes} bytes, and {digest} of digest with a salt behind them are right"
        )),
        None => Err(format!(
            "is no whole {scheme}: its text must be {}",
            if is_hex { "hexadecimal digits" } else { "base64" }
        )),
    }
}

/// `4096,salt,key,key`.
fn scram(scheme: &str, key: usize, text: &str) -> Result<(), String> {
    let wrong = |reason: String| format!("is no whole {scheme}: {reason}");
    let fields: Vec<&str> = text.split(',').collect();
    let [iterations, salt, stored, server] = fields[..] else {
        return Err(wrong(
            "it must be iterations, salt and two keys, with commas between them".to_owned(),
        ));
    };
    number("iterations", iterations, 4096, MOST_ROUNDS).map_err(wrong)?;
    let keys_fit = [stored, server].iter().all(|text| base64(text) == Some(key));
    if !keys_fit || base64(salt).is_none_or(|bytes| bytes == 0) {
        return Err(wrong(format!(
            "its salt and keys must be base64, the keys of {key} bytes"
        )));
    }
    Ok(())
}

/// How many bytes a text is in hexadecimal digits.
fn hex(text: &str) -> Option<usize> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    is_hex.then_some(text.len() / 2)
}

/// How many bytes a text is in base64, with the padding that Dovecot wants.
fn base64(text: &str) -> Option<usize> {
    let letters = text.trim_end_matches('=');
    let padding = text.len() - letters.len();
    let is_base64 = letters.bytes().all(is_base64) && padding <= 2 && text.len().is_multiple_of(4);
    is_base64.then_some(text.len() / 4 * 3 - padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_hashes() {
        let made = hash("päss wörd").unwrap();
        assert!(made.starts_with("{BLF-CRYPT}$2y$10$"), "{made}");
        assert_eq!(check_scheme(&made), Ok(()));
        assert!(verifies("päss wörd", &made) && !verifies("pass word", &made));
        assert_ne!(made, hash("päss wörd").unwrap(), "another salt");
    }

    #[test]
    fn a_hash_that_stands_for_others_is_taken() {
        assert_eq!(check_scheme(SOME_HASH), Ok(()));
    }

    #[test]
    fn hashes_of_public_passwords() {
        let made = hash_of_public("userpass123").unwrap();
        assert_eq!(check_scheme(&made), Ok(()));
        assert!(verifies("userpass123", &made) && !verifies("userpass124", &made));
        assert_eq!(made.split('$').nth_back(1).map(str::len), Some(16), "{made}");
        assert!(!verifies("x", "x") && !verifies("x", "{PLAIN}x"));
    }

    #[test]
    fn what_bcrypt_would_ignore_is_refused() {
        let longest = "é".repeat(LONGEST / 2);
        let made = hash(&longest).unwrap();
        assert!(verifies(&longest, &made) && !verifies(&longest[2..], &made));
        let longer = format!("{longest}x");
        assert!(hash(&longer).unwrap_err().contains("73 bytes"));
        assert!(!verifies(&longer, &made));
        assert!(hash("").is_err() && hash("a\0b").is_err() && hash("a\nb").is_err());
    }

    #[test]
    fn passwords_in_clear() {
        for password in ["x", "päss$1{}", "a{PLAIN}", "$ecret", "#x,y=z"] {
            assert_eq!(check_clear(password), Ok(()), "{password}");
        }
        for (password, said) in [
            ("", "empty"),
            ("a:b", "give its hash instead"),
            ("a b", "give its hash instead"),
            ("a\u{a0}b", "give its hash instead"),
            ("$2b$10$abc", "write {BLF-CRYPT} before it"),
            ("$6$abc", "write {SHA512-CRYPT} before it"),
            ("$argon2id$v=19$", "write {ARGON2ID} before it"),
        ] {
            assert!(
                check_clear(password).is_err_and(|reason| reason.contains(said)),
                "{password}"
            );
        }
        assert!(is_hash("{PLAIN}x") && !is_hash("x{y}"));
    }

    #[test]
    fn hashes_that_no_password_fits() {
        for made in [
            hash("x").unwrap(),
            hash_of_public("x").unwrap(),
            format!("{{SSHA}}{}==", "x".repeat(34)),
        ] {
            let other = fits_no_password(&made);
            assert_eq!((check_scheme(&other), cost(&other)), (Ok(()), cost(&made)), "{other}");
            assert!(other.len() == made.len() && !verifies("x", &other));
        }
        for (hash, numbers) in [
            ("{SHA512-CRYPT}$6$salt$digest", ""),
            ("{SHA512-CRYPT}$6$rounds=9$salt$digest", "rounds=9"),
            ("{BLF-CRYPT}$2y$10$x", "10"),
            ("{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$salt$digest", "m=8,t=1,p=1"),
            ("{PBKDF2}$1$salt$5000$digest", "5000"),
            ("{SCRAM-SHA-1}4096,salt,key,key", "4096"),
        ] {
            assert_eq!(cost(hash).1, numbers, "{hash}");
        }
    }

    const DIGEST: &str = "8YAO3KreylUHXityc1F1iSDHpkCl5jTqMU7nvdbw8O7C.ftu6ksGuXcW7xche7RC8gtzYB.n1pnGbKQIJEXr8/";
    const BLOWFISH: &str = "yaBZ5SVonHH1oay9R89hPersNABkqbCKd2jyV4YoTvRkBTEJsXrPa";
    const ARGON2: &str = "Gnll5xcoaY2pJXlfqg70UQ$tFvY3UmPM92yBdwlFJrNhMxl7/r8gxp6sUmXQZyNLuw";
    const SHA256: &str = "zfo3EKYkPm0XpZZLKWgr7VDUJ0RT9WW9DReOFMvYuy4";

    #[test]
    fn hashes_that_are_taken() {
        for hash in [
            format!("{{SHA512-CRYPT}}$6$nRGk59qgSyASxJrQ${DIGEST}"),
            format!("{{sha512-crypt}}$6$rounds=6000$x${DIGEST}"),
            format!("{{SHA256-CRYPT}}$5$salt${SHA256}"),
            format!("{{CRYPT}}$6$salt${DIGEST}"),
            format!("{{CRYPT}}$y$j9T$saltsaltsaltsaltsa${SHA256}"),
            format!("{{BLF-CRYPT}}$2y$05${BLOWFISH}"),
            format!("{{BLF-CRYPT}}$2b$12${BLOWFISH}"),
            format!("{{CRYPT}}$2a$10${BLOWFISH}"),
            format!("{{ARGON2ID}}$argon2id$v=19$m=65536,t=3,p=1${ARGON2}"),
            format!("{{ARGON2}}$argon2i$v=19$m=262144,t=4,p=4${ARGON2}"),
            "{SSHA}MZXr3dPcq8KEtpyKxcRRVXdrFsx399ka".to_owned(),
            "{SSHA256}P0FwhaKPQXuOs8aUqA0RIXzSgWYaDkwUWVAE8+w2rAnpNQ+t".to_owned(),
            "{SSHA512.B64}DV8mjb0SBJjUZ12z6w2NlaGNSXk25KorHQiLeARDOK7npkMI9btxC+g/VoZB6TFxnd1aa1ih+SthnkuB2oqmc0ITnWI="
                .to_owned(),
            format!("{{SSHA.hex}}{}", "ab".repeat(24)),
            format!("{{PBKDF2}}$1$xCSbYjJ7gVCa/EeE$5000${}", "af".repeat(20)),
            "{SCRAM-SHA-1}4096,UVFQ8q+VdaUXU+3SQKewcg==,Jx+gEbvULopgxW9j8c1A4iwNu3U=,bBUWF+h4FvPazLlTfC29LJYkFwc="
                .to_owned(),
        ] {
            assert_eq!(check_scheme(&hash), Ok(()), "{hash}");
        }
    }

    #[test]
    fn hashes_that_are_refused() {
        for (hash, said) in [
            ("secret".to_owned(), "must begin with its scheme"),
            ("{BLF-CRYPT".to_owned(), "must begin with its scheme"),
            ("{NOSUCH}x".to_owned(), "does not know; it knows ARGON2, "),
            ("{SHA256.BIN}x".to_owned(), "does not know"),
            ("{PLAIN}x".to_owned(), "write it without the scheme"),
            ("{md5-crypt}$1$a$b".to_owned(), "Dovecot refuses"),
            ("{SHA256}x".to_owned(), "has no salt"),
            ("{CRAM-MD5}x".to_owned(), "as much as the password"),
            // "$6$salt$…" in double quotes, and in a compose file of those versions that do not refuse it.
            (format!("{{SHA512-CRYPT}}{DIGEST}"), "write $$ for each $"),
            ("{SHA512-CRYPT}".to_owned(), "write $$ for each $"),
            ("{BLF-CRYPT}y0".to_owned(), "write $$ for each $"),
            (
                format!("{{SHA512-CRYPT}}$6${DIGEST}"),
                "behind its id stand salt and digest",
            ),
            (format!("{{SHA512-CRYPT}}$6$${DIGEST}"), "its salt is missing"),
            (format!("{{SHA512-CRYPT}}$$6$$salt$${DIGEST}"), "write $ here"),
            (
                format!("{{SHA512-CRYPT}}$6$salt${}", &DIGEST[1..]),
                "its digest is missing, cut off",
            ),
            (
                format!("{{SHA512-CRYPT}}$5$salt${SHA256}"),
                "this one is {SHA256-CRYPT}",
            ),
            (format!("{{SHA512-CRYPT}}$2y$10${BLOWFISH}"), "this one is {BLF-CRYPT}"),
            (format!("{{CRYPT}}$1$salt${SHA256}"), "this one is {MD5-CRYPT}"),
            ("{CRYPT}ZpHN41/eupooc".to_owned(), "a $ is missing"),
            (format!("{{SHA512-CRYPT}}$6$rounds=9000000$x${DIGEST}"), "above 1000000"),
            (format!("{{BLF-CRYPT}}$2y$15${BLOWFISH}"), "above 14"),
            (format!("{{BLF-CRYPT}}$2y$5${BLOWFISH}"), "its cost"),
            (format!("{{BLF-CRYPT}}$2y$10${}", &BLOWFISH[1..]), "its salt or digest"),
            (
                format!("{{ARGON2ID}}$argon2i$v=19$m=65536,t=3,p=1${ARGON2}"),
                "this one is {ARGON2I}",
            ),
            (
                format!("{{ARGON2ID}}$argon2id$v=19$m=1048576,t=3,p=1${ARGON2}"),
                "above 262144",
            ),
            (
                "{ARGON2ID}$argon2id$v=19$m=65536".to_owned(),
                "behind its id stand v=19",
            ),
            (
                "{SSHA512}MZXr3dPcq8KEtpyKxcRRVXdrFsx399ka".to_owned(),
                "it has 24 bytes",
            ),
            ("{SSHA}MZXr3dPcq8KEtpyKxcRRVXdrFsx399k".to_owned(), "must be base64"),
            (
                "{SCRAM-SHA-256}4096,UVFQ8q+VdaUXU+3SQKewcg==,Jx+g,bBUW".to_owned(),
                "keys of 32 bytes",
            ),
            (format!("{{SHA512-CRYPT}}$6$a:b${DIGEST}"), "holds a colon"),
        ] {
            let reason = check_scheme(&hash).expect_err(&hash);
            assert!(reason.contains(said), "{hash}: {reason}");
            assert!(!reason.contains(DIGEST) && !reason.contains(BLOWFISH), "{reason}");
        }
    }
}
