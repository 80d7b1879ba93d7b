//! Who is trusted: who may relay, log in without TLS and use the test accounts. Pure.
//!
//! Behind docker's userland proxy strangers arrive with the gateway's address, behind a rootless engine with the
//! container's own. Both are therefore taken out of whatever network they lie in, unless the user says otherwise.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::facts::Facts;
use crate::site::{Protocols, Site};

/// The decision, from which Postfix's and Dovecot's lists are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Trusted networks, loopback first when it was not named.
    pub networks: Vec<IpNet>,
    /// Those of them that may relay and nothing else: strangers have addresses there.
    pub public: Vec<IpNet>,
    /// What is taken out of them.
    pub excluded: Vec<IpNet>,
    /// `/file` and `type:table`, which Postfix alone looks up.
    pub tables: Vec<String>,
    /// Gateways that lie in a trusted network and are not trusted.
    pub gateways: Vec<IpAddr>,
    /// The container's own addresses are trusted.
    pub itself: bool,
    /// Under Kubernetes, with no network named: no other pod is trusted.
    pub pods_are_strangers: bool,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl Trust {
    /// Decides.
    pub fn decide(site: &Site, facts: &Facts) -> Trust {
        let is_public = |net: &IpNet| site.own_networks.leave_public(*net);
        let mut notes: Vec<String> = site
            .own_networks
            .nets()
            .iter()
            .map(|net| own_note(net, facts))
            .collect();
        let mut networks: Vec<IpNet> = Vec::new();
        let mut excluded: Vec<IpNet> = Vec::new();
        let mut tables: Vec<String> = Vec::new();
        let pods_are_strangers = site.networks.is_none() && facts.kubernetes;
        match &site.networks {
            Some(named) => {
                let nets = |excluded: bool| {
                    let those = named.nets.iter().filter(move |network| network.excluded == excluded);
                    those.map(|network| network.net)
                };
                networks.extend(nets(false));
                excluded.extend(nets(true));
                tables.extend(named.tables.iter().cloned());
            }
            // Under Kubernetes the pod network holds other people's pods.
            None if pods_are_strangers => notes.push(PODS_NOTE.to_owned()),
            // On the host's own network a server's neighbours are strangers.
            None => {
                let (public, private): (Vec<IpNet>, Vec<IpNet>) =
                    facts.interfaces.iter().map(IpNet::trunc).partition(is_public);
                networks.extend(private);
                notes.extend(public.iter().map(public_note));
            }
        }
        networks.dedup();
        let missing_loopback = loopback(site.protocols).into_iter().filter(|net| {
            let named = |other: &IpNet| !is_public(other) && other.contains(net);
            !networks.iter().any(named)
        });
        let mut networks: Vec<IpNet> = missing_loopback.chain(networks.iter().copied()).collect();
        networks.dedup();
        let public: Vec<IpNet> = networks.iter().copied().filter(is_public).collect();
        notes.extend(public.iter().map(relays_only_note));

        // What a table trusts only Postfix knows.
        let by_table = tables.iter().any(|table| !table.starts_with('!'));
        let inside = |address: &IpAddr| by_table || networks.iter().any(|net| net.contains(address));
        let gateways: Vec<IpAddr> = facts.gateways.iter().copied().filter(inside).collect();
        let own: Vec<IpAddr> = facts.interfaces.iter().map(IpNet::addr).filter(inside).collect();
        if site.trust_gateway {
            notes.extend(gateways.iter().map(trusted_note));
            return Trust {
                networks,
                public,
                excluded,
                tables,
                gateways: Vec::new(),
                itself: true,
                pods_are_strangers,
                notes,
            };
        }
        notes.extend(gateways.iter().map(untrusted_note));
        notes.extend(own.iter().map(|address| format!("Not trusted: {address}, this container's own address (strangers arrive with it behind a rootless engine)")));
        excluded.extend(gateways.iter().chain(&own).map(|address| IpNet::from(*address)));
        Trust {
            networks,
            public,
            excluded,
            tables,
            gateways,
            itself: false,
            pods_are_strangers,
            notes,
        }
    }

    /// The value of `mynetworks`: exclusions first, for the first match decides (postconf(5)).
    pub fn mynetworks(&self) -> String {
        let excluded = self.excluded.iter().map(|net| format!("!{}", postfix_form(net)));
        let (not, also): (Vec<&String>, Vec<&String>) = self.tables.iter().partition(|table| table.starts_with('!'));
        excluded
            .chain(not.into_iter().cloned())
            .chain(self.networks.iter().map(postfix_form))
            .chain(also.into_iter().cloned())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The same as plain networks, for Dovecot, which knows no exclusions. Ranges of public addresses may relay, where
    /// somebody wants that; known passwords and passwords in clear are never for them.
    pub fn cidrs(&self) -> Vec<IpNet> {
        let is_private = |net: &IpNet| !self.public.contains(net);
        let private: Vec<IpNet> = self.networks.iter().copied().filter(is_private).collect();
        let mut cidrs = IpNet::aggregate(&private);
        for hole in &self.excluded {
            cidrs = cidrs.into_iter().flat_map(|net| without(net, *hole)).collect();
        }
        cidrs
    }
}

const PODS_NOTE: &str = "Not trusted: the network of the pods (this is Kubernetes): no other pod may relay, or log in \
    without TLS, or use the test accounts; name the networks of those that may in POSTFIX_MYNETWORKS";

fn public_note(net: &IpNet) -> String {
    format!(
        "Not trusted: {net}, to which this container is attached, for it holds public addresses; where they are in use inside \
         your organisation alone, set MAILROOM_OWN_NETWORKS={net}"
    )
}

fn own_note(net: &IpNet, facts: &Facts) -> String {
    let is_attached = facts.interfaces.iter().any(|interface| net.contains(&interface.addr()));
    let attached = if is_attached {
        ""
    } else {
        ", to which this container is not attached"
    };
    format!("Counted as private: {net}{attached} (MAILROOM_OWN_NETWORKS)")
}

fn relays_only_note(net: &IpNet) -> String {
    format!(
        "Trusted to relay alone: {net}, for it holds public addresses; not with passwords in clear, and not with the test \
         accounts"
    )
}

fn untrusted_note(gateway: &IpAddr) -> String {
    format!(
        "Not trusted: {gateway}, the docker gateway, from which strangers may arrive at a published port; \
         where ports are published on 127.0.0.1 only, set MAILROOM_TRUST_GATEWAY=yes"
    )
}

fn trusted_note(gateway: &IpAddr) -> String {
    format!(
        "Trusted: {gateway}, the docker gateway (MAILROOM_TRUST_GATEWAY=yes); whoever reaches a published port \
         may relay: publish ports on 127.0.0.1 only"
    )
}

fn loopback(protocols: Protocols) -> Vec<IpNet> {
    let v4 = IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8));
    let v6 = IpNet::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
    // The health check and doveadm talk over IPv4 loopback whatever the protocols are.
    if protocols == Protocols::Ipv4 {
        vec![v4]
    } else {
        vec![v4, v6]
    }
}

/// Postfix wants `[2001:db8::]/32`, and an address without its length.
fn postfix_form(net: &IpNet) -> String {
    let full = net.prefix_len() == net.max_prefix_len();
    match (net.addr(), full) {
        (IpAddr::V4(v4), true) => v4.to_string(),
        (IpAddr::V4(_), false) => net.to_string(),
        (IpAddr::V6(v6), true) => format!("[{v6}]"),
        (IpAddr::V6(v6), false) => format!("[{v6}]/{}", net.prefix_len()),
    }
}

/// `net` without `hole`, as the fewest networks: halve it until the hole stands alone.
fn without(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&net) {
        return Vec::new();
    }
    if !net.contains(&hole) {
        return vec![net];
    }
    match net.subnets(net.prefix_len() + 1) {
        Ok(halves) => halves.flat_map(|half| without(half, hole)).collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::read::tests::site;
    use proptest::prelude::*;

    fn decide(pairs: &[(&str, &str)], facts: &Facts) -> Trust {
        Trust::decide(&site(pairs), facts)
    }

    fn docker() -> Facts {
        Facts {
            interfaces: vec!["172.20.0.2/16".parse().unwrap()],
            gateways: ["172.20.0.1".parse().unwrap()].into(),
            ..Facts::default()
        }
    }

    const SEED: (&str, &str) = (
        "POSTFIX_MYNETWORKS",
        "127.0.0.1/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
    );

    #[test]
    fn unset_means_the_attached_network_without_gateway_and_self() {
        let trust = decide(&[], &docker());
        assert_eq!(
            trust.mynetworks(),
            "!172.20.0.1, !172.20.0.2, 127.0.0.0/8, 172.20.0.0/16"
        );
        assert_eq!(trust.notes.len(), 2);
    }

    #[test]
    fn the_seeds_list_loses_the_gateway_and_gets_it_back_on_request() {
        assert!(
            decide(&[SEED], &docker())
                .mynetworks()
                .starts_with("!172.20.0.1, !172.20.0.2, 127.0.0.0/8, 10.0.0.0/8")
        );
        let trusting = decide(&[SEED, ("MAILROOM_TRUST_GATEWAY", "yes")], &docker());
        assert_eq!(
            trusting.mynetworks(),
            "127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"
        );
    }

    #[test]
    fn kubernetes_trusts_loopback_alone_and_named_networks_keep_loopback() {
        let kubernetes = Facts {
            kubernetes: true,
            ..docker()
        };
        let trust = decide(&[], &kubernetes);
        assert_eq!(trust.mynetworks(), "127.0.0.0/8");
        assert!(
            trust.pods_are_strangers && trust.notes == [PODS_NOTE],
            "{:?}",
            trust.notes
        );
        let named = decide(&[("POSTFIX_MYNETWORKS", "10.0.0.0/8")], &kubernetes);
        assert!(!named.pods_are_strangers && !named.notes.contains(&PODS_NOTE.to_owned()));
        let named = decide(&[("POSTFIX_MYNETWORKS", "!10.1.0.0/16 10.0.0.0/8")], &docker());
        assert_eq!(named.mynetworks(), "!10.1.0.0/16, 127.0.0.0/8, 10.0.0.0/8");
    }

    #[test]
    fn tables_may_trust_the_gateway_so_it_is_taken_out_of_them() {
        let table = ("POSTFIX_MYNETWORKS", "cidr:/dev/null");
        let trust = decide(&[table], &docker());
        let expected = "!172.20.0.1, !172.20.0.2, 127.0.0.0/8, cidr:/dev/null";
        assert_eq!(trust.mynetworks(), expected);
        assert_eq!(trust.gateways.len(), 1);
        let refusing = decide(&[("POSTFIX_MYNETWORKS", "!cidr:/dev/null")], &docker());
        assert_eq!(refusing.mynetworks(), "!cidr:/dev/null, 127.0.0.0/8");
    }

    #[test]
    fn public_networks_are_trusted_only_when_named_and_never_by_dovecot() {
        let host = Facts {
            interfaces: vec!["9.9.9.9/24".parse().unwrap(), "10.0.0.5/24".parse().unwrap()],
            ..Facts::default()
        };
        let trust = decide(&[], &host);
        assert_eq!(trust.mynetworks(), "!10.0.0.5, 127.0.0.0/8, 10.0.0.0/24");
        assert!(
            trust.notes[0].starts_with("Not trusted: 9.9.9.0/24"),
            "{:?}",
            trust.notes
        );
        let open = [
            ("POSTFIX_MYNETWORKS", "0.0.0.0/0"),
            ("MAILROOM_ALLOW_OPEN_RELAY", "yes"),
        ];
        let trust = decide(&open, &Facts::default());
        assert_eq!(trust.mynetworks(), "127.0.0.0/8, 0.0.0.0/0");
        assert_eq!(trust.cidrs(), ["127.0.0.0/8".parse().unwrap()]);
        assert!(
            trust.notes[0].starts_with("Trusted to relay alone: 0.0.0.0/0"),
            "{:?}",
            trust.notes
        );
    }

    #[test]
    fn public_networks_of_ones_own_are_private() {
        let facts = Facts {
            interfaces: vec!["172.80.3.2/24".parse().unwrap()],
            ..Facts::default()
        };
        let own = ("MAILROOM_OWN_NETWORKS", "172.80.0.0/16 30.0.0.0/8");
        let attached = decide(&[own], &facts);
        assert_eq!(attached.mynetworks(), "!172.80.3.2, 127.0.0.0/8, 172.80.3.0/24");
        assert!(attached.cidrs().contains(&"172.80.3.128/25".parse().unwrap()));
        assert_eq!(
            attached.notes[0],
            "Counted as private: 172.80.0.0/16 (MAILROOM_OWN_NETWORKS)"
        );
        assert!(attached.notes[1].contains("30.0.0.0/8, to which this container is not attached"));
        let named = decide(&[own, ("POSTFIX_MYNETWORKS", "30.1.0.0/16")], &facts);
        assert_eq!(named.mynetworks(), "127.0.0.0/8, 30.1.0.0/16");
        assert!(named.public.is_empty() && named.cidrs().contains(&"30.1.0.0/16".parse().unwrap()));
    }

    #[test]
    fn ipv6_is_written_as_postfix_wants_it() {
        let trust = decide(
            &[
                ("POSTFIX_MYNETWORKS", "2001:db8::/32"),
                ("POSTFIX_INET_PROTOCOLS", "all"),
            ],
            &Facts::default(),
        );
        assert_eq!(trust.mynetworks(), "127.0.0.0/8, [::1], [2001:db8::]/32");
    }

    proptest! {
        /// Dovecot's list trusts exactly the addresses that Postfix's trusts.
        #[test]
        fn both_lists_agree(a in any::<u32>(), b in 8u8..=32, hole in any::<u32>(), probe in any::<u32>()) {
            let net = IpNet::from(Ipv4Net::new((a & 0x00ff_ffff | 0x0a00_0000).into(), b).unwrap()).trunc();
            // A hole and a probe that often lie inside.
            let host = u32::MAX.checked_shr(b.into()).unwrap_or(0);
            let inside = |x: u32| IpAddr::V4((0x0a00_0000 | (a & 0x00ff_ffff & !host) | (x & host)).into());
            let trust = Trust { networks: vec![net], public: vec![], excluded: vec![inside(hole).into()], tables: vec![], gateways: vec![], itself: false, pods_are_strangers: false, notes: vec![] };
            let probe = inside(probe);
            let trusted = trust.cidrs().iter().any(|net| net.contains(&probe));
            prop_assert_eq!(trusted, probe != inside(hole));
        }
    }
}
