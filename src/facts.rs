//! What this machine is: its addresses and gateways, the orchestrator, the state found on the volumes. Reads only.

pub mod maildirs;
pub mod rights;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use self::maildirs::Maildirs;
use self::rights::Rights;
use crate::certificates;
use crate::layout::{
    HOSTS_FILE, LOG_MASK_KEY, LOGIN_POLICY_SECRET, MAIL_DIRECTORY, PROBE_ADDRESS, QUEUE_DIRECTORY, VOLUMES,
};
use crate::settings::Environment;
use crate::system::proc;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Addresses of this container with their networks, loopback and link-local ones left out.
    pub interfaces: Vec<IpNet>,
    /// Gateways of all routes.
    pub gateways: BTreeSet<IpAddr>,
    /// This container runs under Kubernetes.
    pub kubernetes: bool,
    /// The health probe's address has a name in /etc/hosts.
    pub probe_is_named: bool,
    /// It could be given one.
    pub hosts_can_be_written: bool,
    /// What Dovecot and the daemon that limits logins share: that of an earlier start, or a new one.
    pub login_policy_secret: String,
    /// What local parts of addresses are hashed with in the logs.
    pub log_mask_key: String,
    /// Paths at which something is mounted.
    pub mounts: BTreeSet<PathBuf>,
    /// Those of them that are volumes without a name.
    pub anonymous: BTreeSet<PathBuf>,
    /// Where mail lies.
    pub maildirs: Maildirs,
    /// What lies where a certificate is looked for.
    pub certificate: certificates::Found,
    /// Volumes that cannot be written.
    pub read_only: BTreeSet<PathBuf>,
    /// Bytes that are free for the queue.
    pub queue_space: Option<u64>,
    /// Why there is no IPv6 here, where there is none.
    pub no_ipv6: Option<String>,
    /// What this process may do.
    pub rights: Rights,
}

impl Facts {
    /// Looks around.
    pub fn gather(environment: &Environment) -> Facts {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut gateways = ipv4_gateways(&read("/proc/net/route"));
        gateways.extend(ipv6_gateways(&read("/proc/net/ipv6_route")));
        let interfaces = interfaces();
        gateways.extend(presumed_gateways(&interfaces, &gateways));
        Facts {
            no_ipv6: no_ipv6(&interfaces),
            rights: Rights::gather(),
            interfaces,
            gateways,
            kubernetes: environment.contains_key("KUBERNETES_SERVICE_HOST"),
            probe_is_named: hosts_file_has(PROBE_ADDRESS),
            hosts_can_be_written: access(HOSTS_FILE, AccessFlags::W_OK).is_ok(),
            login_policy_secret: kept_secret(LOGIN_POLICY_SECRET),
            log_mask_key: kept_secret(LOG_MASK_KEY),
            mounts: proc::mount_points(),
            anonymous: proc::anonymous_volumes(),
            maildirs: Maildirs::below(Path::new(MAIL_DIRECTORY)),
            certificate: certificates::look(),
            read_only: VOLUMES
                .iter()
                .filter(|path| is_read_only(path))
                .map(PathBuf::from)
                .collect(),
            queue_space: statvfs(QUEUE_DIRECTORY)
                .ok()
                .map(|found| found.blocks_available() * found.fragment_size()),
        }
    }
}

/// What is hashed with it nobody may foresee: which two passwords, or two addresses, are alike.
fn kept_secret(path: &str) -> String {
    let kept = fs::read_to_string(path).ok();
    kept.filter(|secret| !secret.is_empty()).unwrap_or_else(|| {
        let mut random = [0; 16];
        // A kernel without random numbers makes no hash of a password either, and that is said.
        let _ = getrandom::fill(&mut random);
        random.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

fn is_read_only(path: &str) -> bool {
    statvfs(path).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether an address has a line in /etc/hosts, which is looked up before DNS.
fn hosts_file_has(address: &str) -> bool {
    let hosts = fs::read_to_string(HOSTS_FILE).unwrap_or_default();
    hosts
        .lines()
        .any(|line| line.split_whitespace().next() == Some(address))
}

fn interfaces() -> Vec<IpNet> {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let ip = |storage: Option<nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
        let storage = storage?;
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    addresses
        .filter_map(|interface| {
            let (address, mask) = (ip(interface.address)?, ip(interface.netmask)?);
            IpNet::with_netmask(address, mask).ok()
        })
        .filter(|net| !net.addr().is_loopback() && !is_link_local(net.addr()))
        .collect()
}

/// A kernel may have no IPv6 at all; with `disable_ipv6=1` it has sockets, and no address for them.
fn no_ipv6(interfaces: &[IpNet]) -> Option<String> {
    let error = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).err()?;
    let has_address = interfaces.iter().any(|net| net.addr().is_ipv6());
    let is_off = fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|word| word.trim() == "1");
    let why = || {
        if is_off {
            "net.ipv6.conf.all.disable_ipv6 is 1".to_owned()
        } else {
            error.to_string()
        }
    };
    (!has_address).then(why)
}

/// Of several docker networks only one has a default route, and each a gateway: its first address, unless configured otherwise.
fn presumed_gateways(interfaces: &[IpNet], known: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    interfaces
        .iter()
        .filter(|net| !known.iter().any(|gateway| net.contains(gateway)))
        .filter_map(|net| net.trunc().hosts().find(|address| *address != net.network()))
        .filter(|first| !interfaces.iter().any(|net| net.addr() == *first))
        .collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The gateways in /proc/net/route (proc_net(5)): the third field, hexadecimal in host byte order.
fn ipv4_gateways(table: &str) -> BTreeSet<IpAddr> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok())
        .map(|raw| Ipv4Addr::from(raw.to_ne_bytes()))
        .filter(|address| !address.is_unspecified())
        .map(IpAddr::V4)
        .collect()
}

/// The gateways in /proc/net/ipv6_route: the fifth field, 32 hexadecimal digits.
fn ipv6_gateways(table: &str) -> BTreeSet<IpAddr> {
    table
        .lines()
        .filter_map(|line| u128::from_str_radix(line.split_whitespace().nth(4)?, 16).ok())
        .map(Ipv6Addr::from_bits)
        .filter(|address| !address.is_unspecified())
        .map(IpAddr::V6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_both_families() {
        let v4 = "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t010014AC\t0003\neth0\t000014AC\t00000000\t0001\n";
        assert_eq!(ipv4_gateways(v4), BTreeSet::from(["172.20.0.1".parse().unwrap()]));
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        assert_eq!(ipv6_gateways(v6), BTreeSet::from(["fd00::1".parse().unwrap()]));
        let interfaces =
            ["172.20.0.2/16", "172.21.0.2/16", "172.22.0.1/16", "fd00::5/64"].map(|net| net.parse().unwrap());
        let known = BTreeSet::from(["172.20.0.254".parse().unwrap()]);
        let presumed: Vec<IpAddr> = ["172.21.0.1", "fd00::1"].map(|address| address.parse().unwrap()).into();
        assert_eq!(presumed_gateways(&interfaces, &known), presumed);
        assert!(ipv4_gateways("").is_empty() && ipv6_gateways("x y\n").is_empty());
    }
}
