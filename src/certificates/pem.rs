//! PEM as people have it (RFC 7468, section 2): text around and between the sections, a byte-order mark, line ends of other
//! systems, a missing line break between two files that were put together, lines of any length. What has no section at all
//! is looked at until it can be said what it is.

use std::fmt;

use x509_parser::prelude::{FromDer, X509Certificate};

/// Characters in a line of base64, as OpenSSL writes and reads it.
const LINE: usize = 64;

/// What stands between `-----BEGIN …-----` and `-----END …-----`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// The word or words after BEGIN.
    pub label: String,
    /// Base64 without line breaks.
    body: String,
    /// A header says that the content is encrypted (RFC 1421, as OpenSSL's older style has it).
    has_encryption_header: bool,
    /// The END line is there.
    pub is_whole: bool,
}

/// Without what it holds, which may be a key.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} characters", self.label, self.body.len())
    }
}

impl Section {
    /// Written as every program reads it, under this label.
    pub fn text(&self, label: &str) -> String {
        let characters: Vec<char> = self.body.chars().collect();
        let lines = characters.chunks(LINE).flat_map(|line| line.iter().chain(&['\n']));
        let body: String = lines.collect();
        format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
    }

    /// A certificate without anything attached to it.
    pub fn is_certificate(&self) -> bool {
        matches!(&*self.label, "CERTIFICATE" | "X509 CERTIFICATE")
    }

    /// A private key, in whatever form.
    pub fn is_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// A key that asks for a passphrase.
    pub fn is_encrypted(&self) -> bool {
        self.has_encryption_header || self.label == "ENCRYPTED PRIVATE KEY"
    }
}

/// All sections, in their order.
pub(super) fn sections(bytes: &[u8]) -> Vec<Section> {
    let text = String::from_utf8_lossy(bytes).replace("----------BEGIN ", "-----\n-----BEGIN ");
    let mut sections = Vec::<Section>::new();
    let mut is_open = false;
    for line in text.split(['\n', '\r']) {
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let label = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"));
        if let Some(label) = label {
            is_open = true;
            sections.push(Section {
                label: label.to_owned(),
                body: String::new(),
                has_encryption_header: false,
                is_whole: false,
            });
        } else if let Some(section) = sections.last_mut().filter(|_| is_open) {
            is_open = !section.take(line);
        }
    }
    sections
}

impl Section {
    /// Takes one more line; true at the end of the section.
    fn take(&mut self, line: &str) -> bool {
        if line.starts_with("-----END ") {
            self.is_whole = true;
        } else if line.contains(':') {
            self.has_encryption_header |= line.contains("ENCRYPTED");
        } else {
            self.body.extend(line.chars().filter(|c| !c.is_whitespace()));
        }
        self.is_whole
    }
}

/// What a file without a section is, and the command that converts it.
pub(super) fn what_it_is(bytes: &[u8], path: &str, is_for_the_key: bool) -> String {
    let (object, command) = match bytes {
        [] => return "is empty".to_owned(),
        _ if bytes.iter().all(u8::is_ascii_whitespace) => return "holds nothing but white space".to_owned(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (
            "text in UTF-16, as Windows writes it",
            format!("iconv -f UTF-16 -t UTF-8 {path} > new.pem"),
        ),
        _ if is_pkcs12(bytes) && is_for_the_key => (
            "a PKCS#12 file",
            format!("openssl pkcs12 -in {path} -nocerts -noenc -out new.key"),
        ),
        _ if is_pkcs12(bytes) => (
            "a PKCS#12 file",
            format!("openssl pkcs12 -in {path} -nokeys -out new.crt"),
        ),
        _ if X509Certificate::from_der(bytes).is_ok() => (
            "a certificate in DER form",
            format!("openssl x509 -inform DER -in {path} -out new.crt"),
        ),
        [0x30, ..] if has(bytes, PKCS7) => (
            "a PKCS#7 file",
            format!("openssl pkcs7 -inform DER -print_certs -in {path} -out new.crt"),
        ),
        [0x30, ..] if is_for_the_key => (
            "a key in DER form",
            format!("openssl pkey -inform DER -in {path} -out new.key"),
        ),
        [0x30, ..] => (
            "in DER form, and no certificate that can be read",
            format!("openssl asn1parse -inform DER -in {path}"),
        ),
        _ => {
            let what = if is_for_the_key {
                "a private key"
            } else {
                "a certificate"
            };
            return format!("is not {what} in PEM form: no line begins with -----BEGIN");
        }
    };
    format!("is {object}, and PEM is needed: {command}")
}

/// The object identifier of PKCS#7 signed data (RFC 2315).
const PKCS7: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// Near the beginning.
fn has(bytes: &[u8], identifier: &[u8]) -> bool {
    let beginning = bytes.get(..32).unwrap_or(bytes);
    beginning.windows(identifier.len()).any(|window| window == identifier)
}

/// A sequence whose first member is the number 3, its version (RFC 7292).
fn is_pkcs12(bytes: &[u8]) -> bool {
    let content = match bytes {
        [0x30, length, rest @ ..] if *length < 0x80 => rest,
        [0x30, 0x80, rest @ ..] => rest,
        [0x30, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..).unwrap_or_default(),
        _ => return false,
    };
    content.starts_with(&[0x02, 0x01, 0x03, 0x30])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_in_what_people_have() {
        let section = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
        let (one, two) = (section("CERTIFICATE", "QUJD"), section("EC PRIVATE KEY", "REVG"));
        for text in [
            format!("{one}\n{two}\n"),
            format!("\u{feff}{one}\r\n\u{feff}{two}").replace('\n', "\r\n"),
            format!("Bag Attributes\n  friendlyName: x\n{one}\nnoise\n{two}"),
            format!("{one}{two}"),
            format!("  {one}\n  {two}").replace("QUJD", "QU\n  JD"),
        ] {
            let found = sections(text.as_bytes());
            let texts: Vec<String> = found.iter().map(|found| found.text(&found.label)).collect();
            assert_eq!(texts, [one.clone() + "\n", two.clone() + "\n"], "{text}");
            assert!(found.iter().all(|found| found.is_whole && !found.is_encrypted()));
        }
        let encrypted = section(
            "RSA PRIVATE KEY",
            "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nQUJD",
        );
        assert!(sections(encrypted.as_bytes())[0].is_encrypted());
        assert!(!sections(b"-----BEGIN CERTIFICATE-----\nQUJD\n")[0].is_whole);
    }

    #[test]
    fn what_is_no_pem_is_named_with_its_conversion() {
        for (bytes, is_for_the_key, expected) in [
            (&b""[..], false, "is empty"),
            (b" \n", true, "white space"),
            (b"nonsense", false, "is not a certificate in PEM form"),
            (b"nonsense", true, "is not a private key in PEM form"),
            (b"\xff\xfe-\0", false, "iconv -f UTF-16"),
            (
                b"\x30\x82\x01\x00\x02\x01\x03\x30\x82",
                false,
                "openssl pkcs12 -in /x -nokeys",
            ),
            (
                b"\x30\x80\x02\x01\x03\x30\x82",
                true,
                "openssl pkcs12 -in /x -nocerts -noenc",
            ),
            (
                b"\x30\x82\x01\x00\x02\x01\x00\x30\x82",
                true,
                "openssl pkey -inform DER -in /x",
            ),
        ] {
            let said = what_it_is(bytes, "/x", is_for_the_key);
            assert!(said.contains(expected), "{said}");
        }
        assert!(what_it_is(&[&[0x30, 0x20][..], PKCS7].concat(), "/x", false).contains("pkcs7 -inform DER"));
    }
}
