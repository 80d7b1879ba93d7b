//! The certificate that is made where no one has mounted one.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize,
};

use super::inspect::Certificate;
use super::pair::Key;
use crate::values::counted;

/// Days that a generated certificate is valid.
const VALID_DAYS: i32 = 365;
/// A generated certificate is replaced when fewer days than this are left.
const RENEWAL_DAYS: i64 = 30;
/// The organisation in the subject of generated certificates: how they differ from a user's own.
pub(super) const ORGANISATION: &str = "MetaBuilder";

/// For whom a certificate is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The server's own name.
    pub hostname: String,
    /// More names and addresses under which clients reach it.
    pub more: Vec<String>,
}

/// Self-signed, with the subject of those that are made here.
pub(super) fn is_ours(certificate: &Certificate) -> bool {
    certificate.is_self_signed() && certificate.organisation == ORGANISATION
}

/// Why one of ours is to be made anew, as the log says it.
pub(super) fn renewal(certificate: &Certificate, names: &Names, now: Timestamp) -> Option<String> {
    let left = certificate.expires.duration_since(now).as_hours() / 24;
    if left < RENEWAL_DAYS {
        return Some(format!(
            "Renewed the self-signed certificate, which had {} left",
            counted(left, "day", "days")
        ));
    }
    if certificate.common_name != names.hostname {
        return Some(format!("Renewed the self-signed certificate, for {}", names.hostname));
    }
    let has = |name: &String| certificate.names.as_ref().is_some_and(|names| names.contains(name));
    let missing: Vec<&str> = names
        .more
        .iter()
        .filter(|name| !has(name))
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("Renewed the self-signed certificate, for {} too", missing.join(", ")))
}

/// A new key.
pub(super) fn key() -> anyhow::Result<Key> {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    Ok(Key(pair.serialize_pem()))
}

/// A certificate for this key, in PEM form.
pub(super) fn certificate(key: &Key, names: &Names) -> anyhow::Result<String> {
    let pair = KeyPair::from_pem(&key.0)?;
    Ok(parameters(names)?.self_signed(&pair)?.pem())
}

/// The seed's subject; names under which clients reach the server: its own, the first label of it (the compose
/// service), localhost, and those that were asked for.
fn parameters(names: &Names) -> anyhow::Result<CertificateParams> {
    let hostname = names.hostname.as_str();
    let short = hostname.split('.').next().unwrap_or(hostname);
    let mut all: Vec<&str> = vec![hostname, short, "localhost", "127.0.0.1"];
    for name in &names.more {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    let mut parameters = CertificateParams::new(all.into_iter().map(str::to_owned).collect::<Vec<_>>())?;
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
