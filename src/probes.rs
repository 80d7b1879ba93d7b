//! Probes: what a client does first, with a deadline. The health check and the supervisor ask with the same ones.
//!
//! A probe connects, asks where the protocol has the client ask first, reads one line and compares it. It blocks:
//! callers run it on a thread that may. It cannot say whether a service would do more than its first answer shows.

mod processes;
mod space;
mod tls;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use self::tls::Certificate;
use crate::system::proc;

/// Time for each step of a probe.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// A greeting is one line; more than this is not a greeting.
const LONGEST_GREETING: u64 = 1024;
/// Dovecot greets with what logins may look like, a line for each.
const LONGEST_TALK: u64 = 16 << 10;
/// What a [`Probe::Login`] calls its protocol, for which Dovecot may have settings.
pub const HEALTH: &str = "health";

/// One question, and the answer that says that a service serves. Each blocks for some seconds at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A TCP port that greets.
    Greeting(Greeting),
    /// An HTTP server that answers a GET with status 200.
    Http {
        /// Where to connect.
        address: SocketAddr,
        /// What to ask for, such as `/livez`.
        path: String,
    },
    /// A unix socket that accepts connections.
    Socket {
        /// Where it is.
        path: PathBuf,
        /// What the first line begins with, where the server speaks first.
        greeting: Option<String>,
    },
    /// A unix socket whose server closes a connection on which its client has nothing to say. The kernel accepts for a
    /// process that is stopped or hangs, but it does not close.
    Farewell {
        /// Where it is.
        path: PathBuf,
    },
    /// A login of a user whom nobody knows, so that Dovecot asks wherever accounts are kept (Dovecot docs, "Authentication Protocol").
    /// A refusal is an answer. Without one logins and mail wait, and are served later.
    ///
    /// It is no look-up of a user (`USER`): where a client of those leaves before it has its answer, the auth process crashes
    /// (Dovecot 2.4.1). Whoever logs in may leave at any time.
    Login {
        /// Dovecot's socket.
        path: PathBuf,
        /// Who logs in: the response of PLAIN (RFC 4616), in base64.
        response: String,
    },
    /// A file system that can be written, and has room.
    Space {
        /// A directory on it.
        path: PathBuf,
        /// Bytes without which clients are not served.
        least: u64,
    },
    /// A main process and its children, of which none may be stopped (SIGSTOP).
    Processes {
        /// The file in which the main process keeps its id.
        pid_file: PathBuf,
        /// The main process's name (proc_pid_comm(5)).
        process: String,
    },
}

/// A TCP port and the greeting expected there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Where to connect.
    pub address: SocketAddr,
    /// The address to connect from, where its sessions are recognised by it.
    pub source: Option<IpAddr>,
    /// What the first line begins with.
    pub begins: String,
    /// What a polite client says before it leaves.
    pub goodbye: String,
    /// TLS from the first byte.
    pub tls: bool,
    /// How many sessions it can have at once, where it is known.
    pub most: Option<Most>,
}

/// The most sessions that a port can have at once. With one more the port is busy, and not dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Most {
    /// How many.
    pub sessions: usize,
    /// The variable that says so.
    pub variable: String,
}

impl Probe {
    /// Asks. An error says what was answered instead, or that nothing was.
    pub fn ask(&self) -> io::Result<()> {
        match self {
            Probe::Greeting(greeting) => greet(greeting).map(drop).map_err(|error| busy(greeting, error)),
            Probe::Http { address, path } => get(*address, path),
            Probe::Socket { path, greeting } => accepts(path, greeting.as_deref()),
            Probe::Farewell { path } => closes(path),
            Probe::Login { path, response } => logs_in(path, response),
            Probe::Space { path, least } => space::is_left(path, *least),
            Probe::Processes { pid_file, process } => processes::run_on(pid_file, process, PATIENCE),
        }
    }

    /// The same, and looks at the certificate that was shown: a port is there all the same, but its clients go away.
    pub fn examine(&self) -> io::Result<()> {
        match self {
            Probe::Greeting(greeting) => {
                let certificate = greet(greeting).map_err(|error| busy(greeting, error))?;
                certificate.map_or(Ok(()), |certificate| certificate.is_valid(SystemTime::now()))
            }
            _ => self.ask(),
        }
    }

    /// Why there is no answer yet, though there should be.
    pub fn late(&self) -> io::Error {
        let late = io::ErrorKind::TimedOut.into();
        match self {
            Probe::Greeting(greeting) => busy(greeting, late),
            _ => late,
        }
    }
}

/// The place that is asked, as messages name it.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Greeting(Greeting { address, .. }) | Probe::Http { address, .. } => {
                write!(f, "port {}", address.port())
            }
            Probe::Socket { path, .. }
            | Probe::Farewell { path }
            | Probe::Login { path, .. }
            | Probe::Space { path, .. } => {
                write!(f, "{}", path.display())
            }
            Probe::Processes { process, .. } => write!(f, "the processes of {process}"),
        }
    }
}

/// An error of [`Probe::ask`] in words, without the place.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer within {} s", PATIENCE.as_secs_f64()),
        io::ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed without a greeting".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether clients are served in spite of an error of [`Probe::ask`]: all processes have a client each, and later ones wait; or
/// something will keep them from being served, and does not yet.
pub fn is_served(error: &io::Error) -> bool {
    error.kind() == SERVED
}

/// The kind of such an error.
const SERVED: io::ErrorKind = io::ErrorKind::ResourceBusy;

/// Whether it may be otherwise in a moment: a daemon that reads its configuration again may cut a connection, close a socket, or
/// greet with an excuse, as Dovecot does while its auth process changes. Silence is none of these, nor is a full disk.
pub fn is_momentary(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, Other, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | Other | UnexpectedEof
    )
}

/// No greeting in time: dead, unless there are as many sessions as there can be.
fn busy(port: &Greeting, error: io::Error) -> io::Error {
    let is_late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let Some(Most { sessions, variable }) = port.most.as_ref().filter(|_| is_late) else {
        return error;
    };
    if proc::accepted_connections(port.address.port()) < *sessions {
        return error;
    }
    let processes = match sessions {
        1 => "the only process has".to_owned(),
        sessions => format!("all {sessions} processes have"),
    };
    let text = format!("{processes} a client, others wait: raise {variable}");
    io::Error::new(SERVED, text)
}

/// Connects and waits for the greeting. Returns the certificate, where there is one.
fn greet(port: &Greeting) -> io::Result<Option<Certificate>> {
    let stream = open(port.address, port.source)?;
    if port.tls {
        let (stream, certificate) = tls::wrap(Acknowledging(stream))?;
        converse(stream, port)?;
        Ok(Some(certificate))
    } else {
        converse(stream, port).map(|()| None)
    }
}

fn converse(mut stream: impl Read + Write, port: &Greeting) -> io::Result<()> {
    expect(&first_line(&mut stream)?, &port.begins)?;
    // Leaving politely keeps the daemons from logging a lost connection; whether they still answer does not matter.
    let _ = write!(stream, "{}\r\n", port.goodbye).and_then(|()| stream.flush());
    let _ = first_line(&mut stream);
    Ok(())
}

/// Sends a GET and reads the status line (RFC 9112, section 4): `HTTP/1.1 200 OK`.
fn get(address: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = open(address, None)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let line = first_line(&mut stream)?;
    let mut words = line.split_whitespace();
    let version = words.next().unwrap_or_default();
    if version.starts_with("HTTP/1.") && words.next() == Some("200") {
        return Ok(());
    }
    let status = line.trim_end();
    Err(io::Error::other(format!(
        "answers {path} with {status:?}, not with status 200"
    )))
}

/// Connects to a unix socket, and reads a greeting where one is expected.
fn accepts(path: &Path, greeting: Option<&str>) -> io::Result<()> {
    let socket = socket_with_patience(AddressFamily::Unix)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    greeting.map_or(Ok(()), |greeting| {
        expect(&first_line(UnixStream::from(socket))?, greeting)
    })
}

fn logs_in(path: &Path, response: &str) -> io::Result<()> {
    let socket = socket_with_patience(AddressFamily::Unix)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    let id = process::id();
    let request = format!("VERSION\t1\t2\nCPID\t{id}\nAUTH\t1\tPLAIN\tservice={HEALTH}\tsecured\tresp={response}\n");
    stream.write_all(request.as_bytes())?;
    for line in BufReader::new(stream.take(LONGEST_TALK)).lines() {
        let line = line?;
        let mut words = line.split('\t');
        match words.next() {
            Some("FAIL") if words.any(|word| word == "code=temp_fail") => {
                return Err(io::Error::other(
                    "does not answer: logins fail for a while, and mail waits",
                ));
            }
            Some("OK" | "FAIL") => return Ok(()),
            _ => {}
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Connects to a unix socket, says nothing, and waits until the server closes; what it says before does not matter.
fn closes(path: &Path) -> io::Result<()> {
    let socket = socket_with_patience(AddressFamily::Unix)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream.take(LONGEST_GREETING), &mut io::sink()).map(drop)
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
    let to = SockaddrStorage::from(to);
    let socket = socket_with_patience(to.family().unwrap_or(AddressFamily::Inet))?;
    if let Some(from) = from {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    }
    connect(socket.as_raw_fd(), &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection whose data is acknowledged at once. smtpd(8) writes its side of a TLS handshake in pieces, and waits for the
/// acknowledgement of each: by default that comes 40 ms later. The kernel forgets the option now and then (tcp(7)), so it is set
/// again before each read.
struct Acknowledging(TcpStream);

impl Read for Acknowledging {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::net::sockopt::set_tcp_quickack(&self.0, true)?;
        self.0.read(buffer)
    }
}

impl Write for Acknowledging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A socket on which each call, connect(2) included, ends after [`PATIENCE`].
fn socket_with_patience(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), PATIENCE.subsec_micros().into());
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    /// A server on a free port that answers one connection and closes it.
    fn serve(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            // Closing with unread input would reset the connection, and the client might lose the answer.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    fn greeting(address: SocketAddr, source: Option<&str>) -> Probe {
        Probe::Greeting(Greeting {
            address,
            source: source.map(|source| source.parse().unwrap()),
            begins: "220".into(),
            goodbye: "QUIT".into(),
            tls: false,
            most: None,
        })
    }

    fn trouble(probe: &Probe) -> String {
        reason(&probe.ask().unwrap_err())
    }

    #[test]
    fn greetings_are_told_apart() {
        let source = Some("127.0.0.9");
        assert!(greeting(serve(b"220 mail ESMTP\r\n"), source).ask().is_ok());
        let wrong = greeting(serve(b"421 busy\r\n"), source);
        assert_eq!(trouble(&wrong), "greets with \"421 busy\", not with \"220\"");
        assert_eq!(trouble(&greeting(serve(b""), None)), "closed without a greeting");
        assert_eq!(
            trouble(&greeting("127.0.0.1:1".parse().unwrap(), None)),
            "nobody listens"
        );
    }

    #[test]
    fn http_must_answer_with_status_200() {
        let http = |address: SocketAddr| Probe::Http {
            address,
            path: "/livez".into(),
        };
        assert!(http(serve(b"HTTP/1.1 200 OK\r\n\r\nok")).ask().is_ok());
        assert_eq!(
            trouble(&http(serve(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))),
            "answers /livez with \"HTTP/1.1 503 Service Unavailable\", not with status 200"
        );
        assert!(http(serve(b"220 mail 200\r\n")).ask().is_err());
        assert_eq!(trouble(&http("127.0.0.1:1".parse().unwrap())), "nobody listens");
        assert_eq!(http("127.0.0.1:8080".parse().unwrap()).to_string(), "port 8080");
    }

    #[test]
    fn a_server_that_does_not_close_is_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rewrite");
        let probe = Probe::Farewell { path: path.clone() };
        assert_eq!(trouble(&probe), "does not exist");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(trouble(&probe), "no answer within 1.5 s", "the kernel alone accepts");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(b"protocol\0x\0\0");
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        assert!(probe.ask().is_ok());
    }

    #[test]
    fn a_refused_login_is_an_answer_and_a_temporary_failure_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let probe = Probe::Login {
            path: path.clone(),
            response: "AGEAYg==".to_owned(),
        };
        let listener = UnixListener::bind(&path).unwrap();
        let answers = ["FAIL\t1\tuser=a\n", "FAIL\t1\tuser=a\tcode=temp_fail\n", ""];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let mut stream = listener.accept().unwrap().0;
                stream
                    .write_all(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n")
                    .unwrap();
                let asked = BufReader::new(&stream).lines().map(Result::unwrap).nth(2).unwrap();
                assert_eq!(asked, "AUTH\t1\tPLAIN\tservice=health\tsecured\tresp=AGEAYg==");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert!(probe.ask().is_ok());
        assert_eq!(
            trouble(&probe),
            "does not answer: logins fail for a while, and mail waits"
        );
        assert_eq!(trouble(&probe), "closed without a greeting");
        server.join().unwrap();
    }

    #[test]
    fn a_port_with_as_many_sessions_as_it_can_have_is_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let probe = |sessions| {
            let Probe::Greeting(port) = greeting(address, None) else {
                unreachable!()
            };
            let variable = "LIMIT".to_owned();
            let most = Some(Most { sessions, variable });
            Probe::Greeting(Greeting { most, ..port })
        };
        let _client = TcpStream::connect(address).unwrap();
        let _served = listener.accept().unwrap();
        assert!(!is_served(&probe(2).ask().unwrap_err()), "one of two is free");
        let error = probe(1).ask().unwrap_err();
        assert!(is_served(&error));
        assert_eq!(
            reason(&error),
            "the only process has a client, others wait: raise LIMIT"
        );
    }

    #[test]
    fn a_socket_must_accept_and_greet_where_it_greets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let socket = |greeting: Option<&str>| Probe::Socket {
            path: path.clone(),
            greeting: greeting.map(str::to_owned),
        };
        assert_eq!(trouble(&socket(None)), "does not exist");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(socket(None).ask().is_ok(), "not even accepted yet");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The first client does not wait for it.
                let _ = stream.unwrap().write_all(b"VERSION\t1\t2\n");
            }
        });
        assert!(socket(Some("VERSION\t")).ask().is_ok());
        assert_eq!(
            trouble(&socket(Some("+OK"))),
            "greets with \"VERSION\\t1\\t2\", not with \"+OK\""
        );
    }
}
