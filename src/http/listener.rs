//! The listener: strangers may reach it, so what one address can hold open is bounded, in number and in time. Whoever has more
//! connections than that is cut off; all others are served.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// Connections of one address at a time.
const MOST: usize = 64;
/// Longest life of a connection: whoever asks again opens another.
const LIFE: Duration = Duration::from_secs(60);
/// After a connection that could not be accepted, as while file descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections, not too many of one address.
pub(super) struct Bounded {
    listener: TcpListener,
    open: Counts,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        let open = Counts::default();
        Bounded { listener, open }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(counted) = self.open.add(peer.ip()) {
                        let end = Box::pin(sleep(LIFE));
                        let connection = Connection {
                            stream,
                            end,
                            _counted: counted,
                        };
                        return (connection, peer);
                    }
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Peer {
        Peer(stream.remote_addr().ip().to_canonical())
    }
}

/// How many connections each address has open. All clones are one.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Counts {
    /// Counts one more, unless that would be too many.
    fn add(&self, address: IpAddr) -> Option<Counted> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count == MOST {
            return None;
        }
        *count += 1;
        let of = self.clone();
        Some(Counted { of, address })
    }
}

/// One that is counted until it is dropped.
#[derive(Debug)]
struct Counted {
    of: Counts,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// A connection that ends after its longest life, whatever its client does.
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _counted: Counted,
}

impl Connection {
    /// An error once its time is over; whoever is asked wakes then.
    fn within_time(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.within_time(cx) {
            Ok(stream) => stream.poll_read(cx, buffer),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.within_time(cx) {
            Ok(stream) => stream.poll_write(cx, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_not_more_than_its_part() {
        let counts = Counts::default();
        let [greedy, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let mut open: Vec<Counted> = (0..MOST).map(|_| counts.add(greedy).unwrap()).collect();
        assert!(counts.add(greedy).is_none());
        assert!(counts.add(other).is_some(), "others are served");
        open.pop();
        let again = counts.add(greedy);
        assert!(again.is_some());
        drop((open, again));
        assert!(counts.0.lock().unwrap().is_empty(), "what is closed is forgotten");
    }
}
