//! A mail client in Rust, with rustls, for the system tests: sends a message on each port for mail, and reads them all by IMAP. It
//! trusts the server's certificate and no other.
//!
//! usage: client HOST CERTIFICATE ADDRESS PASSWORD

use std::error::Error;
use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longest wait for the messages.
const DEADLINE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const PORTS: [u16; 3] = [25, 465, 587];

struct Client {
    host: String,
    certificate: String,
    address: String,
    password: String,
}

impl Client {
    /// Sends a message whose subject names the port. Port 25 takes mail without a login.
    fn send(&self, port: u16, password: Option<&str>) -> Outcome<()> {
        let parameters = TlsParameters::builder(self.host.clone())
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_pem(&fs::read(&self.certificate)?)?)
            .build()?;
        let tls = match port {
            465 => Tls::Wrapper(parameters),
            _ => Tls::Required(parameters),
        };
        let mut transport = SmtpTransport::builder_dangerous(&self.host).port(port).tls(tls);
        if let Some(password) = password {
            transport = transport.credentials(Credentials::new(self.address.clone(), password.to_owned()));
        }
        let message = Message::builder()
            .from(self.address.parse()?)
            .to(self.address.parse()?)
            .subject(format!("port-{port}"))
            .body("Grüße\r\n".to_owned())?;
        transport.build().send(&message)?;
        Ok(())
    }

    fn read(&self) -> Outcome<Vec<String>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(self.host.clone())?)?;
        let stream = StreamOwned::new(connection, TcpStream::connect((self.host.as_str(), 993))?);
        let mut client = imap::Client::new(stream);
        client.read_greeting()?;
        let mut session = client
            .login(&self.address, &self.password)
            .map_err(|(error, _)| error)?;
        let begun = Instant::now();
        loop {
            let subjects = subjects(&mut session)?;
            if subjects.len() >= PORTS.len() || begun.elapsed() > DEADLINE {
                session.logout()?;
                return Ok(subjects);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// The subjects of all messages in the inbox.
fn subjects(session: &mut imap::Session<StreamOwned<ClientConnection, TcpStream>>) -> Outcome<Vec<String>> {
    session.select("INBOX")?;
    let mut subjects = Vec::new();
    for number in session.search("ALL")? {
        for fetched in session.fetch(number.to_string(), "ENVELOPE")?.iter() {
            let subject = fetched.envelope().and_then(|envelope| envelope.subject.as_deref());
            subjects.push(String::from_utf8_lossy(subject.unwrap_or_default()).into_owned());
        }
    }
    subjects.sort();
    Ok(subjects)
}

#[allow(clippy::print_stdout)]
fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, certificate, address, password] = arguments.try_into().map_err(|_| "four arguments are needed")?;
    let client = Client {
        host,
        certificate,
        address,
        password,
    };
    for port in PORTS {
        client.send(port, (port != 25).then_some(&*client.password))?;
    }
    for port in [465, 587] {
        match client.send(port, Some("not-it")) {
            Err(refused) if refused.to_string().contains("535") => println!("{port}: a wrong password is refused"),
            other => return Err(format!("{port}: a wrong password: {other:?}").into()),
        }
    }
    println!("{}", client.read()?.join(" "));
    Ok(())
}
