//! What is to be known of a certificate (RFC 5280).

use std::net::IpAddr;

use jiff::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::pem::Section;

/// Bits of an RSA key below which OpenSSL, as Debian sets it up, loads no certificate (security level 2).
const LEAST_RSA_BITS: usize = 2048;

/// Signatures that it loads no certificate with: RSA with MD5 and SHA-1, ECDSA with SHA-1.
const WEAK_SIGNATURES: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// In PEM form, as every program reads it.
    pub text: String,
    /// The public key with its algorithm, in DER form.
    pub public_key: Vec<u8>,
    /// Whose it is, in DER form.
    pub subject: Vec<u8>,
    /// Who signed it, in DER form.
    pub issuer: Vec<u8>,
    /// Who signed it, as text.
    pub issuer_name: String,
    /// The first common name of the subject.
    pub common_name: String,
    /// The first organisation of the subject.
    pub organisation: String,
    /// The names and addresses for which it is; nothing where it has no subjectAltName.
    pub names: Option<Vec<String>>,
    /// When it begins to be valid.
    pub begins: Timestamp,
    /// When it ends to be valid.
    pub expires: Timestamp,
    /// Why OpenSSL does not load it.
    pub weakness: Option<String>,
}

impl Certificate {
    /// From its section; an error says what is wrong with that.
    pub fn of(section: &Section) -> Result<Certificate, String> {
        let text = section.text("CERTIFICATE");
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes())
            .map_err(|_| "holds a certificate that is damaged: its base64 cannot be decoded")?;
        let (_, found) = X509Certificate::from_der(&pem.contents)
            .map_err(|_| "holds a certificate that is damaged: what is in its base64 is no certificate")?;
        let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let (subject, validity) = (found.subject(), found.validity());
        let first = |name: Option<&x509_parser::x509::AttributeTypeAndValue>| {
            let name = name.and_then(|name| name.as_str().ok());
            name.unwrap_or("").to_owned()
        };
        Ok(Certificate {
            public_key: found.public_key().raw.to_vec(),
            subject: subject.as_raw().to_vec(),
            issuer: found.issuer().as_raw().to_vec(),
            issuer_name: found.issuer().to_string(),
            common_name: first(subject.iter_common_name().next()),
            organisation: first(subject.iter_organization().next()),
            names: names(&found),
            begins: time(validity.not_before.timestamp()),
            expires: time(validity.not_after.timestamp()),
            weakness: weakness(&found),
            text,
        })
    }

    /// Signed with its own key, as far as the names tell.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

fn names(found: &X509Certificate) -> Option<Vec<String>> {
    let extension = found.subject_alternative_name().ok()??;
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    Some(names.collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn weakness(found: &X509Certificate) -> Option<String> {
    let bits = found.public_key().parsed().map_or(0, |key| key.key_size());
    let is_rsa = found.public_key().algorithm.algorithm.to_id_string() == "1.2.840.113549.1.1.1";
    if is_rsa && (1..LEAST_RSA_BITS).contains(&bits) {
        return Some(format!(
            "has an RSA key of {bits} bits, and OpenSSL loads none below {LEAST_RSA_BITS}: make a new key with openssl \
             genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048, and have its certificate issued anew"
        ));
    }
    let signature = found.signature_algorithm.algorithm.to_id_string();
    let is_signed_by_another = found.subject() != found.issuer();
    (is_signed_by_another && WEAK_SIGNATURES.contains(&&*signature)).then(|| {
        "is signed with SHA-1 or MD5, and OpenSSL loads no such certificate: have it issued anew with SHA-256"
            .to_owned()
    })
}
