//! The certificate of both daemons: generated once and kept, or the user's own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::plan::File;
use crate::system::proc;

/// Days that a generated certificate is valid.
const VALID_DAYS: i32 = 365;
/// A generated certificate is replaced when fewer days than this are left.
const RENEWAL_DAYS: i64 = 30;
/// The organisation in the subject of generated certificates: how they differ from a user's own.
const ORGANISATION: &str = "MetaBuilder";

/// What becomes of the pair.
#[derive(Debug, Default)]
pub struct Kept {
    /// What has to be written: the key first, for a key alone is completed at the next start, and a certificate alone could
    /// not be.
    pub files: Vec<File>,
    /// What a user should know.
    pub news: Option<String>,
}

/// Sees to it that certificate and key are there and belong together. Writes nothing itself.
///
/// Generates a self-signed pair when there is none, renews one of our own before it expires or when the host's name has
/// changed, and never touches a pair that is anybody else's.
pub fn keep(certificate: &Path, key: &Path, hostname: &str) -> anyhow::Result<Kept> {
    match (certificate.exists(), key.exists()) {
        (false, false) => {
            let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
            let news = format!(
                "Generated a self-signed certificate for {hostname}: {}",
                certificate.display()
            );
            let mut kept = signed(certificate, &pair, hostname, news)?;
            kept.files.insert(0, file(key, pair.serialize_pem(), 0o600));
            Ok(kept)
        }
        (false, true) => {
            let news = format!("Generated a self-signed certificate for the key {}", key.display());
            signed(certificate, &read_key(key)?, hostname, news)
        }
        (true, false) => bail!(
            "{}: there is a certificate, but its key {} is missing; mount both or neither",
            certificate.display(),
            key.display()
        ),
        (true, true) => check(certificate, key, hostname),
    }
}

fn check(certificate: &Path, key: &Path, hostname: &str) -> anyhow::Result<Kept> {
    let pair = read_key(key)?;
    let found = inspect(certificate)?;
    if found.public_key != pair.subject_public_key_info() {
        bail!("{} and {} do not belong together", certificate.display(), key.display());
    }
    let left = found.expires.duration_since(Timestamp::now()).as_hours() / 24;
    let mounts = proc::mount_points();
    if found.is_ours && !mounts.contains(certificate) && !mounts.contains(key) {
        if left < RENEWAL_DAYS {
            let news = format!("Renewed the self-signed certificate, which had {left} days left");
            return signed(certificate, &pair, hostname, news);
        }
        if found.common_name != hostname {
            let news = format!("Renewed the self-signed certificate, for {hostname}");
            return signed(certificate, &pair, hostname, news);
        }
    }
    let expired = (left < 0).then(|| {
        format!(
            "The certificate {} has expired {} days ago",
            certificate.display(),
            -left
        )
    });
    Ok(Kept {
        files: Vec::new(),
        news: expired,
    })
}

fn read_key(path: &Path) -> anyhow::Result<KeyPair> {
    let pem = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    KeyPair::from_pem(&pem).map_err(|error| {
        anyhow!(
            "{}: not a private key in PEM form that can be used: {error} (it must not be encrypted)",
            path.display()
        )
    })
}

/// What we need to know of a certificate.
struct Found {
    public_key: Vec<u8>,
    expires: Timestamp,
    common_name: String,
    /// Self-signed, with the subject of those that we generate.
    is_ours: bool,
}

fn inspect(path: &Path) -> anyhow::Result<Found> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let not_a_certificate = || anyhow!("{}: not a certificate in PEM form", path.display());
    let (_, pem) = x509_parser::pem::parse_x509_pem(&bytes).map_err(|_| not_a_certificate())?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| not_a_certificate())?;
    let subject = certificate.subject();
    let organisation = subject.iter_organization().next().and_then(|name| name.as_str().ok());
    Ok(Found {
        public_key: certificate.public_key().raw.to_vec(),
        expires: Timestamp::from_second(certificate.validity().not_after.timestamp())?,
        common_name: subject
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or("")
            .to_owned(),
        is_ours: subject == certificate.issuer() && organisation == Some(ORGANISATION),
    })
}

fn signed(certificate: &Path, pair: &KeyPair, hostname: &str, news: String) -> anyhow::Result<Kept> {
    let pem = parameters(hostname)?.self_signed(pair)?.pem();
    Ok(Kept {
        files: vec![file(certificate, pem, 0o644)],
        news: Some(news),
    })
}

fn file(path: &Path, pem: String, mode: u32) -> File {
    File {
        mode,
        ..File::public(path, pem)
    }
}

/// The seed's subject; names under which clients reach the server: its own, the first label of it (the compose
/// service), localhost.
fn parameters(hostname: &str) -> anyhow::Result<CertificateParams> {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let mut parameters = CertificateParams::new([hostname.to_owned(), short.to_owned(), "localhost".to_owned()])?;
    parameters
        .subject_alt_names
        .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    parameters.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "State"),
        (DnType::LocalityName, "City"),
        (DnType::OrganizationName, ORGANISATION),
        (DnType::CommonName, hostname),
    ] {
        parameters.distinguished_name.push(kind, value);
    }
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let last = today.checked_add(SignedDuration::from_hours(24 * i64::from(VALID_DAYS)))?;
    let day = |date: jiff::civil::Date| -> anyhow::Result<_> {
        Ok(rcgen::date_time_ymd(
            date.year().into(),
            u8::try_from(date.month())?,
            u8::try_from(date.day())?,
        ))
    };
    parameters.not_before = day(today)?;
    parameters.not_after = day(last)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the pair in a directory, and writes what has to be written; returns the news.
    fn keep_in(directory: &Path, hostname: &str) -> anyhow::Result<Option<String>> {
        let kept = keep(&directory.join("dovecot.crt"), &directory.join("dovecot.key"), hostname)?;
        for file in kept.files {
            fs::write(file.path, file.bytes)?;
        }
        Ok(kept.news)
    }

    #[test]
    fn a_pair_is_generated_once_and_follows_the_hostname() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let news = |hostname: &str| keep_in(path, hostname).unwrap();
        assert!(news("mail.example.org").unwrap().starts_with("Generated"));
        assert_eq!(news("mail.example.org"), None);
        let key = fs::read(path.join("dovecot.key")).unwrap();
        assert!(news("other.example.org").unwrap().contains("for other.example.org"));
        assert_eq!(fs::read(path.join("dovecot.key")).unwrap(), key, "the key is kept");

        fs::remove_file(path.join("dovecot.crt")).unwrap();
        assert!(news("other.example.org").unwrap().contains("for the key"));
        fs::remove_file(path.join("dovecot.key")).unwrap();
        let missing = keep_in(path, "other.example.org").unwrap_err().to_string();
        assert!(missing.contains("mount both or neither"), "{missing}");
    }

    #[test]
    fn a_generated_certificate_is_renewed_in_its_last_month_and_others_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        fs::write(path.join("dovecot.key"), pair.serialize_pem()).unwrap();
        let left = |days: i64, organisation: &str| {
            let mut parameters = parameters("a.test").unwrap();
            let seconds = Timestamp::now().as_second() + days * 86_400 + 43_200;
            let last = std::time::Duration::from_secs(seconds.cast_unsigned());
            parameters.not_after = (std::time::UNIX_EPOCH + last).into();
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, organisation);
            let signed = parameters.self_signed(&pair).unwrap();
            fs::write(path.join("dovecot.crt"), signed.pem()).unwrap();
            keep_in(path, "a.test").unwrap()
        };
        assert_eq!(left(31, ORGANISATION), None);
        assert!(left(29, ORGANISATION).unwrap().ends_with("which had 29 days left"));
        assert_eq!(left(29, "Somebody else"), None);
        assert!(left(-3, "Somebody else").unwrap().contains("has expired"));
        assert_eq!(
            keep_in(path, "b.test").unwrap().map(|news| news.contains("for b.test")),
            Some(false)
        );
    }

    #[test]
    fn a_wrong_pair_is_told() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        keep_in(one.path(), "a.test").unwrap();
        keep_in(two.path(), "a.test").unwrap();
        fs::copy(two.path().join("dovecot.key"), one.path().join("dovecot.key")).unwrap();
        let told = keep_in(one.path(), "a.test").unwrap_err().to_string();
        assert!(told.ends_with("do not belong together"), "{told}");
        fs::write(one.path().join("dovecot.key"), "nonsense").unwrap();
        let told = keep_in(one.path(), "a.test").unwrap_err().to_string();
        assert!(told.contains("dovecot.key: not a private key"), "{told}");
    }
}
