//! A key and its chain, made of what lies in the two files: put in order, and written as every program reads it. Pure.

use std::fmt;

use rcgen::{KeyPair, PublicKeyData};

use super::inspect::Certificate;
use super::pem::{self, Section};
use crate::report::Mistake;

/// A private key in PEM form; it is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(<hidden>)")
    }
}

/// A certificate with its key, and what stands between it and its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// The file of the certificate.
    pub path: String,
    pub key: Key,
    pub leaf: Certificate,
    /// Each signed by the next, as far as they are there; what does not belong to the chain comes last.
    pub chain: Vec<Certificate>,
    /// What was put right.
    pub notes: Vec<String>,
}

impl Pair {
    /// Leaf, chain and key in one text, for both daemons.
    pub fn text(&self) -> String {
        let chain = self.chain.iter().map(|each| each.text.as_str());
        let parts = [self.leaf.text.as_str()].into_iter().chain(chain);
        parts.chain([self.key.0.as_str()]).collect()
    }
}

/// A file's path and content.
pub(super) type Content<'a> = (&'a str, &'a [u8]);

/// The pair of these two files. Where there is no file for the key, it is in that of the certificate.
pub(super) fn pair(certificate: Content, key: Option<Content>) -> Result<Pair, Mistake> {
    let certificates = certificates(certificate)?;
    let key = key.unwrap_or(certificate);
    // A key that is none comes before what does not fit.
    let keys = keys(key)?;
    if let Some(weakness) = certificates.iter().find_map(|each| each.weakness.as_ref()) {
        return Err(Mistake::new(certificate.0, "", weakness));
    }
    let keys = keys
        .iter()
        .map(|section| readable(key.0, section))
        .collect::<Result<Vec<_>, _>>()?;
    let belong = |leaf: &Certificate, pair: &KeyPair| leaf.public_key == pair.subject_public_key_info();
    let fitting = keys.into_iter().find_map(|(text, pair)| {
        let place = certificates.iter().position(|leaf| belong(leaf, &pair))?;
        Some((text, place))
    });
    let Some((text, place)) = fitting else {
        let reason = format!(
            "this certificate and the key {} do not belong together: compare openssl x509 -noout -pubkey -in {} with \
             openssl pkey -pubout -in {0}",
            key.0, certificate.0
        );
        return Err(Mistake::new(certificate.0, "", reason));
    };
    Ok(in_order(certificate.0, &certificates, place, Key(text)))
}

/// The certificates in a file; at least one.
fn certificates((path, bytes): Content) -> Result<Vec<Certificate>, Mistake> {
    let wrong = |reason: String| Mistake::new(path, "", reason);
    let sections = pem::sections(bytes);
    if sections.is_empty() {
        return Err(wrong(pem::what_it_is(bytes, path, false)));
    }
    if let Some(reason) = sections.iter().find_map(|section| unusable(section, path)) {
        return Err(wrong(reason));
    }
    let found: Vec<&Section> = sections.iter().filter(|section| section.is_certificate()).collect();
    if found.is_empty() {
        let labels: Vec<&str> = sections.iter().map(|section| section.label.as_str()).collect();
        return Err(wrong(format!("holds no certificate, but: {}", labels.join(", "))));
    }
    found
        .into_iter()
        .map(|section| Certificate::of(section).map_err(wrong))
        .collect()
}

/// What is wrong with a section of a file of certificates, and the command that converts it.
fn unusable(section: &Section, path: &str) -> Option<String> {
    if !section.is_whole {
        return Some(format!("ends within {}: it was cut off; copy it again", section.label));
    }
    match &*section.label {
        "TRUSTED CERTIFICATE" => Some(format!(
            "holds a TRUSTED CERTIFICATE, which Dovecot cannot read: openssl x509 -in {path} -out new.crt (and the rest of \
             the chain below it)"
        )),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            Some("holds a request for a certificate: mount what the authority has answered".to_owned())
        }
        "PKCS7" | "CMS" => Some(format!(
            "holds PKCS#7: openssl pkcs7 -print_certs -in {path} -out new.crt"
        )),
        _ => None,
    }
}

/// The keys in a file; at least one.
fn keys((path, bytes): Content) -> Result<Vec<Section>, Mistake> {
    let wrong = |reason: String| Err(Mistake::new(path, "", reason));
    let sections = pem::sections(bytes);
    if sections.is_empty() {
        return wrong(pem::what_it_is(bytes, path, true));
    }
    let mut labels: Vec<&str> = sections.iter().map(|section| section.label.as_str()).collect();
    labels.dedup();
    let labels = labels.join(", ");
    let keys: Vec<Section> = sections.into_iter().filter(Section::is_key).collect();
    match keys.first() {
        None => wrong(format!("holds no private key, but: {labels}")),
        Some(key) if !key.is_whole => wrong(format!("ends within {}: it was cut off; copy it again", key.label)),
        Some(key) if key.is_encrypted() => wrong(format!(
            "the key is encrypted, and at a start there is no one to type its passphrase: openssl pkey -in {path} -out \
             new.key (mode 0600)"
        )),
        Some(key) if key.label == "OPENSSH PRIVATE KEY" => wrong(format!(
            "holds a key of OpenSSH's own form: ssh-keygen -p -N '' -m PEM -f {path} rewrites a copy of it"
        )),
        Some(_) => Ok(keys),
    }
}

/// The key's text, and what can be done with it.
fn readable(path: &str, section: &Section) -> Result<(String, KeyPair), Mistake> {
    let text = section.text(&section.label);
    let pair = KeyPair::from_pem(&text).map_err(|error| {
        let reason = format!(
            "not a private key that can be used ({error}): allowed are RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, \
             and Ed25519; openssl pkey -in {path} -noout -text shows what it is"
        );
        Mistake::new(path, "", reason)
    })?;
    Ok((text, pair))
}

/// The leaf first, behind it each one's issuer, the rest last.
fn in_order(path: &str, given: &[Certificate], place: usize, key: Key) -> Pair {
    let mut rest = given.to_vec();
    let leaf = rest.remove(place);
    let mut chain = Vec::<Certificate>::new();
    let next = |last: &Certificate, rest: &[Certificate]| {
        let is_issuer = |each: &Certificate| each.subject == last.issuer && !last.is_self_signed();
        rest.iter().position(is_issuer)
    };
    while let Some(place) = next(chain.last().unwrap_or(&leaf), &rest) {
        chain.push(rest.remove(place));
    }
    chain.append(&mut rest);
    let is_in_order = given.first() == Some(&leaf) && given.get(1..) == Some(&chain);
    let note = format!(
        "Certificate: {path} is not in the order that clients need; it is served with the server's own certificate first, and \
         each one's issuer behind it"
    );
    Pair {
        path: path.to_owned(),
        key,
        leaf,
        chain,
        notes: if is_in_order { Vec::new() } else { vec![note] },
    }
}
