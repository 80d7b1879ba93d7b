//! Certificates that a client shows to servers: OpenSSL loads them as they lie there, the certificate of the key first. Pure.

use super::pair::{Content, pair};
use super::pem::{self, Section};
use crate::report::Mistake;

/// What is wrong with a certificate and its key, by their paths and contents. Where there is no file for the key, it is in
/// that of the certificate.
pub fn wrong_pair(certificate: Content, key: Option<Content>) -> Option<String> {
    let in_words = |mistake: Mistake| format!("{}: {}", mistake.variable, mistake.reason);
    match pair(certificate, key) {
        Err(mistake) => Some(in_words(mistake)),
        Ok(pair) => {
            let sections = pem::sections(certificate.1);
            let first = sections.iter().find(|section| section.is_certificate());
            let is_first = first.is_some_and(|section| section.text("CERTIFICATE") == pair.leaf.text);
            (!is_first).then(|| {
                format!(
                    "{}: the certificate that belongs to the key must be the first",
                    certificate.0
                )
            })
        }
    }
}

/// The same of one file, or of several as one, in which each key is followed by its certificate and that one's chain.
pub fn wrong_chain((path, bytes): Content) -> Option<String> {
    let sections = pem::sections(bytes);
    let parts: Vec<&Section> = sections
        .iter()
        .filter(|section| section.is_key() || section.is_certificate())
        .collect();
    if parts.is_empty() {
        return Some(format!("{path}: {}", pem::what_it_is(bytes, path, false)));
    }
    if !parts[0].is_key() {
        return Some(format!(
            "{path}: must begin with the key, with its certificate behind it"
        ));
    }
    let pairs = parts.chunk_by(|_, next| !next.is_key());
    pairs.into_iter().find_map(|parts| {
        let text: String = parts.iter().map(|section| section.text(&section.label)).collect();
        wrong_pair((path, text.as_bytes()), None)
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (
            CertificateParams::default().self_signed(&key).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    #[test]
    fn pairs_and_chains_of_clients() {
        let ((one, one_key), (other, other_key)) = (made(), made());
        let pair = |certificate: &str, key: &str| {
            wrong_pair(("/c", certificate.as_bytes()), Some(("/k", key.as_bytes()))).unwrap_or_default()
        };
        assert_eq!(pair(&one, &one_key), "");
        assert_eq!(pair(&format!("{one}{other}"), &one_key), "");
        assert!(pair(&one, &other_key).contains("do not belong together"));
        assert!(pair(&format!("{other}{one}"), &one_key).contains("must be the first"));
        assert!(pair(&one, "nonsense").starts_with("/k: "));
        let chain = |parts: &[&String]| {
            let text: String = parts.iter().map(|part| part.as_str()).collect();
            wrong_chain(("/c", text.as_bytes())).unwrap_or_default()
        };
        assert_eq!(chain(&[&one_key, &one, &other_key, &other]), "");
        assert!(chain(&[&one, &one_key]).contains("must begin with the key"));
        assert!(chain(&[&one_key, &one, &other_key, &one]).contains("do not belong together"));
        assert!(chain(&[&one_key]).contains("no certificate"));
        assert!(chain(&[]).contains("/c: "));
    }
}
