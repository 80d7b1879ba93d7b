//! The probes: what a client does first, with a deadline, all at once.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::{Port, Targets};
use crate::supervise::status;

/// Time for each step of a probe. docker gives the whole check 10 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// A greeting is one line; more than this is not a greeting.
const LONGEST_GREETING: u64 = 1024;

/// The outcome of all probes.
#[derive(Debug)]
pub struct Health {
    /// What does not work, in words.
    pub troubles: Vec<String>,
    /// Ports that greeted.
    pub served: Vec<u16>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.troubles.is_empty() {
            let ports: Vec<_> = self.served.iter().map(u16::to_string).collect();
            write!(
                f,
                "healthy: ports {} and logins answer ({} ms)",
                ports.join(" "),
                self.took.as_millis()
            )
        } else {
            write!(f, "unhealthy: {}", self.troubles.join("; "))
        }
    }
}

/// Probes everything, in parallel.
pub fn check(targets: &Targets) -> Health {
    let begun = Instant::now();
    // What PID 1 holds of its daemons says more than their ports: why one is down, and until when.
    let mut troubles: Vec<String> = status::read()
        .into_iter()
        .filter(|(_, word)| word != "running")
        .map(|(name, word)| format!("{name}: {word}"))
        .collect();
    let mut served = Vec::new();
    let source = targets.source;
    std::thread::scope(|scope| {
        let ports: Vec<_> = targets
            .ports
            .iter()
            .map(|port| (port, scope.spawn(move || greet(port, source))))
            .collect();
        if let Err(error) = logins_answer(&targets.auth_socket) {
            troubles.push(format!("logins: {}: {}", targets.auth_socket.display(), reason(&error)));
        }
        for (port, probe) in ports {
            let number = port.address.port();
            match probe.join() {
                Ok(Ok(())) => served.push(number),
                Ok(Err(error)) => troubles.push(format!("port {number}: {}", reason(&error))),
                Err(_) => troubles.push(format!("port {number}: the probe itself failed")),
            }
        }
    });
    Health {
        troubles,
        served,
        took: begun.elapsed(),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer within {} s", PATIENCE.as_secs()),
        io::ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed without a greeting".to_owned(),
        _ => error.to_string(),
    }
}

/// Dovecot's auth server speaks first: `VERSION\t…` (Dovecot docs, "Authentication Protocol").
fn logins_answer(path: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    expect(&first_line(stream)?, "VERSION\t")
}

/// Connects and waits for the greeting.
pub fn greet(port: &Port, source: Option<IpAddr>) -> io::Result<()> {
    let stream = open(port.address, source)?;
    if port.tls {
        converse(tls(stream)?, port)
    } else {
        converse(stream, port)
    }
}

fn converse(mut stream: impl Read + Write, port: &Port) -> io::Result<()> {
    expect(&first_line(&mut stream)?, &port.greeting)?;
    // Leaving politely keeps the daemons from logging a lost connection; whether they still answer does not matter.
    let _ = write!(stream, "{}\r\n", port.goodbye).and_then(|()| stream.flush());
    let _ = first_line(&mut stream);
    Ok(())
}

fn first_line(stream: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_GREETING)).read_line(&mut line)?;
    if line.is_empty() {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(line)
    }
}

fn expect(line: &str, greeting: &str) -> io::Result<()> {
    if line.starts_with(greeting) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "greets with {:?}, not with {:?}",
        line.trim_end(),
        greeting.trim_end()
    )))
}

/// A TCP connection from a source address of our choice, with a deadline for each step.
fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = nix::sys::time::TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    if let Some(from) = from {
        bind(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            &SockaddrStorage::from(SocketAddr::new(from, 0)),
        )?;
    }
    connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(to))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tls(stream: TcpStream) -> io::Result<impl Read + Write> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// The probe asks whether TLS works, over loopback; whose certificate it is, is not its question.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Reads the list that PID 1 wrote.
pub fn read_targets() -> Result<Targets, String> {
    let path = super::targets_file();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("not started yet".to_owned()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn serve(answer: &'static [u8]) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
        });
        Port {
            address,
            greeting: "220".into(),
            goodbye: "QUIT".into(),
            tls: false,
        }
    }

    #[test]
    fn greetings_are_told_apart() {
        let source = Some("127.0.0.9".parse().unwrap());
        assert!(greet(&serve(b"220 mail ESMTP\r\n"), source).is_ok());
        let wrong = greet(&serve(b"421 busy\r\n"), source).unwrap_err();
        assert_eq!(reason(&wrong), "greets with \"421 busy\", not with \"220\"");
        assert_eq!(
            reason(&greet(&serve(b""), None).unwrap_err()),
            "closed without a greeting"
        );
        let nobody = Port {
            address: "127.0.0.1:1".parse().unwrap(),
            ..serve(b"")
        };
        assert_eq!(reason(&greet(&nobody, None).unwrap_err()), "nobody listens");
    }
}
