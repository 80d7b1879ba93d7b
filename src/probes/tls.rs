//! The client's side of TLS, for probes. Any certificate will do: the connection stays within the container, and a
//! probe asks whether TLS works, not who answers. When the certificate ends is looked at all the same.

use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::SERVED;
use crate::values::counted;

/// A certificate should have more than this left; one that lives shortly, a third of its life.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 86_400;

/// Wraps a connection in TLS; the handshake happens with the first read or write. The certificate is known then.
pub(super) fn wrap(stream: impl Read + Write) -> io::Result<(impl Read + Write, Certificate)> {
    let certificate = Certificate::default();
    let config = config(certificate.clone()).map_err(io::Error::other)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok((StreamOwned::new(connection, stream), certificate))
}

/// No session is resumed: each probe asks anew.
fn config(seen: Certificate) -> Result<ClientConfig, rustls::Error> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let provider = Arc::clone(&PROVIDER);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider, seen }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The certificate that was shown: when it begins and ends to be valid, in seconds since 1970. All clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Certificate(Arc<OnceLock<(i64, i64)>>);

impl Certificate {
    fn show(&self, der: &[u8]) {
        if let Ok((_, found)) = X509Certificate::from_der(der) {
            let validity = found.validity();
            let _ = self
                .0
                .set((validity.not_before.timestamp(), validity.not_after.timestamp()));
        }
    }

    /// An error where clients refuse it, or will soon.
    pub(super) fn is_valid(&self, now: SystemTime) -> io::Result<()> {
        let Some((begins, ends)) = self.0.get() else {
            return Ok(());
        };
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs().cast_signed());
        let days = (ends - now).div_euclid(DAY);
        if *ends <= now {
            let days = (now - ends) / DAY;
            let text = format!(
                "the certificate has expired {} ago: clients refuse it",
                counted(days, "day", "days")
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if ends - now < SOON.min((ends - begins) / 3) {
            let text = format!("the certificate expires in {}: renew it", counted(days, "day", "days"));
            return Err(io::Error::new(SERVED, text));
        }
        Ok(())
    }
}

/// Accepts every certificate whose key signs the handshake.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    seen: Certificate,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.seen.show(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_is_watched_to_its_end() {
        let certificate = |begins: i64, ends: i64| Certificate(Arc::new(OnceLock::from((begins * DAY, ends * DAY))));
        let now = UNIX_EPOCH + Duration::from_secs(1_000 * 86_400);
        assert!(certificate(900, 1_100).is_valid(now).is_ok());
        let soon = certificate(900, 1_010).is_valid(now).unwrap_err();
        assert_eq!(
            (soon.kind(), &*soon.to_string()),
            (SERVED, "the certificate expires in 10 days: renew it")
        );
        assert!(certificate(999, 1_005).is_valid(now).is_ok(), "it lives for six days");
        let over = certificate(900, 999).is_valid(now).unwrap_err();
        assert_eq!(
            over.to_string(),
            "the certificate has expired 1 day ago: clients refuse it"
        );
        assert_ne!(over.kind(), SERVED);
        assert!(Certificate::default().is_valid(now).is_ok(), "none was shown");
    }
}
