//! Notice of changed addresses and routes, as when a docker network is connected (rtnetlink(7)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE (rtnetlink(7)).
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
/// Changes come in bursts: a network brings an address and several routes.
const SETTLED: Duration = Duration::from_millis(200);

/// Resolves after each burst of changes.
pub struct Routes(AsyncFd<OwnedFd>);

impl Routes {
    /// Listens from here on.
    pub fn watch() -> io::Result<Routes> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        // SAFETY: an OwnedFd is open, and the same descriptor, as long as the AsyncFd that owns it.
        Ok(Routes(unsafe { AsyncFd::register(socket) }?))
    }

    /// Waits until something has changed and nothing more changes.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        sleep(SETTLED).await;
        let mut buffer = [0; 8192];
        loop {
            // What exactly has changed does not matter: all is looked at anew.
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}
