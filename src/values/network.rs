//! The networks of `POSTFIX_MYNETWORKS`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// One entry of a list of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The network, without host bits: Postfix refuses every recipient while one has them.
    pub net: IpNet,
    /// Written with a leading `!`: addresses in it are not trusted.
    pub excluded: bool,
    /// The text as it was given, where its host bits had to be cleared.
    pub given: Option<String>,
}

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Networks {
    /// Those that are written as such.
    pub nets: Vec<Network>,
    /// `/file` and `type:table`, which Postfix looks up itself.
    pub tables: Vec<String>,
}

impl TryFrom<String> for Networks {
    type Error = String;

    fn try_from(text: String) -> Result<Networks, String> {
        parse_list(&text)
    }
}

impl Networks {
    /// Those that may not be trusted in a list: ranges that hold addresses of strangers.
    pub fn public(&self, own: &OwnNetworks) -> impl Iterator<Item = IpNet> {
        let named = self.nets.iter().filter(|network| !network.excluded);
        named.map(|network| network.net).filter(|net| own.leave_public(*net))
    }

    /// What a user should know about how the list was understood.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let normalised = self.nets.iter().filter_map(|network| {
            let sign = if network.excluded { "!" } else { "" };
            let given = network.given.as_ref()?;
            Some(format!(
                "POSTFIX_MYNETWORKS: {given} has host bits, using {sign}{}",
                network.net
            ))
        });
        let tables = self.tables.iter().map(|table| {
            format!("POSTFIX_MYNETWORKS: {table} is looked up by Postfix alone: Dovecot trusts nobody for it")
        });
        normalised.chain(tables)
    }
}

/// Ranges of public addresses that nobody but the user has: in use inside an organisation as if they were private.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OwnNetworks(Vec<IpNet>);

impl TryFrom<String> for OwnNetworks {
    type Error = String;

    fn try_from(text: String) -> Result<OwnNetworks, String> {
        let Networks { nets, tables } = parse_list(&text)?;
        if let Some(table) = tables.first() {
            return Err(format!("{table}: must be networks, written as such"));
        }
        let own = nets.into_iter().map(|Network { net, excluded, .. }| {
            if excluded {
                return Err(format!("!{net}: must name what is yours, not what is not"));
            }
            match net {
                net if net.prefix_len() >= shortest_own_prefix(net) => Ok(net),
                net => Err(format!(
                    "{net} is more than one organisation has: name the range that is yours, of a prefix length of {} or more",
                    shortest_own_prefix(net)
                )),
            }
        });
        own.collect::<Result<_, _>>().map(OwnNetworks)
    }
}

/// The largest blocks that one organisation has: a /8 of IPv4, a /16 of IPv6.
fn shortest_own_prefix(net: IpNet) -> u8 {
    if net.addr().is_ipv4() { 8 } else { 16 }
}

impl OwnNetworks {
    /// The ranges.
    pub fn nets(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether addresses of strangers lie in a network: it is a range of public ones, and not of these.
    pub fn leave_public(&self, net: IpNet) -> bool {
        is_public(net) && !self.0.iter().any(|own| own.contains(&net))
    }
}

/// Private, loopback and link-local ranges, and those for documentation and tests (RFC 6890).
const NOT_PUBLIC: [&str; 15] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "::1/128",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "0.0.0.0/32",
];

/// Why a range of public addresses is not trusted, and what to do. `found` names it, and the file where it stands.
pub fn why_public(found: &str) -> String {
    format!(
        "{found} holds public addresses, whose owners could relay through this server: name private networks or single \
         addresses; set MAILROOM_OWN_NETWORKS where it is in use inside your organisation alone; or set \
         MAILROOM_ALLOW_OPEN_RELAY=yes"
    )
}

/// Whether it is a range of public addresses. A single one may be a server of one's own.
fn is_public(net: IpNet) -> bool {
    let single = net.prefix_len() == net.max_prefix_len() && net.addr() != IpAddr::from([0, 0, 0, 0]);
    let private = NOT_PUBLIC
        .iter()
        .filter_map(|range| range.parse::<IpNet>().ok())
        .any(|range| range.contains(&net));
    !single && !private
}

/// Reads networks separated by commas or white space: `10.0.0.0/8`, `192.0.2.1`, `[2001:db8::]/32`, `!10.0.0.1`,
/// `/file`, `type:table`.
pub fn parse_list(text: &str) -> Result<Networks, String> {
    let mut networks = Networks::default();
    for entry in text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
    {
        if is_table(entry) {
            networks.tables.push(entry.to_owned());
        } else {
            let network = parse(entry)?;
            let is_same = |other: &Network| (other.net, other.excluded) == (network.net, network.excluded);
            if !networks.nets.iter().any(is_same) {
                networks.nets.push(network);
            }
        }
    }
    Ok(networks)
}

/// A list in which networks stand beside names, patterns and tables, its networks as Postfix wants them: while one has
/// host bits the whole list does nothing.
pub fn without_host_bits(list: &str) -> Result<String, String> {
    let is_network = |word: &str| {
        let address = word
            .trim_start_matches(['!', '['])
            .split(['/', ']'])
            .next()
            .unwrap_or_default();
        word.contains('/') && address.parse::<IpAddr>().is_ok()
    };
    let normal = |word: &str| {
        let Network { net, excluded, .. } = parse(word)?;
        let sign = if excluded { "!" } else { "" };
        Ok::<_, String>(match net.addr() {
            IpAddr::V4(_) => format!("{sign}{net}"),
            IpAddr::V6(v6) => format!("{sign}[{v6}]/{}", net.prefix_len()),
        })
    };
    let separates = |c: char| c == ',' || c.is_whitespace();
    let words = list.split_inclusive(separates).map(|part| {
        let word = part.trim_end_matches(separates);
        let text = if is_network(word) {
            normal(word)?
        } else {
            word.to_owned()
        };
        Ok(text + &part[word.len()..])
    });
    words.collect()
}

/// `/file`, or the name of a type (behind `proxy:` perhaps), a colon and a path.
fn is_table(entry: &str) -> bool {
    let entry = entry.strip_prefix('!').unwrap_or(entry);
    let is_type = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    entry.starts_with('/')
        || entry
            .split_once(":/")
            .is_some_and(|(kind, _)| kind.split(':').all(is_type))
}

fn parse(entry: &str) -> Result<Network, String> {
    let (excluded, rest) = match entry.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, entry),
    };
    let (address, length) = match rest.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (rest, None),
    };
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{entry}: {address} is not an IP address; write a network as 10.0.0.0/8"))?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match length {
        None => widest,
        Some(length) => match length.parse::<u8>() {
            Ok(prefix) if prefix <= widest => prefix,
            _ => {
                return Err(format!(
                    "{entry}: the prefix length must be 0 to {widest}{}",
                    natural(address)
                ));
            }
        },
    };
    let net = IpNet::new(address, prefix).map_err(|error| format!("{entry}: {error}"))?;
    let net = unmapped(net);
    let given = (net.trunc() != net).then(|| entry.to_owned());
    Ok(Network {
        net: net.trunc(),
        excluded,
        given,
    })
}

/// The IPv4 part of an IPv4-mapped range, `::ffff:0:0/96` and below: clients with such addresses are IPv4 clients, and the
/// daemons show them as that.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok())
        .unwrap_or(net)
}

/// A suggestion: the private range (RFC 1918) that the address belongs to.
fn natural(address: IpAddr) -> String {
    let IpAddr::V4(v4) = address else { return String::new() };
    match v4.octets() {
        [10, ..] => "; did you mean 10.0.0.0/8?".to_owned(),
        [172, 16..=31, ..] => "; did you mean 172.16.0.0/12?".to_owned(),
        [192, 168, ..] => "; did you mean 192.168.0.0/16?".to_owned(),
        [a, b, c, _] => format!("; did you mean {a}.{b}.{c}.0/24?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_list_is_normalised() {
        let list = parse_list("127.0.0.1/8,10.0.0.0/8, 172.16.0.0/12 192.168.0.0/16").unwrap();
        let list = list.nets;
        let nets: Vec<_> = list.iter().map(|network| network.net.to_string()).collect();
        assert_eq!(nets, ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        assert_eq!(list[0].given.as_deref(), Some("127.0.0.1/8"));
        assert_eq!(list[1].given, None);
    }

    #[test]
    fn addresses_exclusions_and_ipv6() {
        let list = parse_list("!10.0.0.1 [2001:db8::]/32 ::1").unwrap().nets;
        assert!(list[0].excluded && list[0].net.prefix_len() == 32);
        assert_eq!(list[1].net.to_string(), "2001:db8::/32");
        assert_eq!(list[2].net.prefix_len(), 128);
    }

    #[test]
    fn ipv4_mapped_ranges_are_ipv4() {
        let list = parse_list(
            "127.0.0.0/8 [::ffff:127.0.0.0]/104 ::ffff:172.20.0.0/112 [::1]/128 !::ffff:10.0.0.1 ::ffff:8.8.8.0/120",
        );
        let list = list.unwrap();
        let nets: Vec<String> = list.nets.iter().map(|network| network.net.to_string()).collect();
        let expected = ["127.0.0.0/8", "172.20.0.0/16", "::1/128", "10.0.0.1/32", "8.8.8.0/24"];
        assert_eq!(nets, expected);
        let public: Vec<String> = list
            .public(&OwnNetworks::default())
            .map(|net| net.to_string())
            .collect();
        assert_eq!(public, ["8.8.8.0/24"]);
        assert!(is_public(parse_list("::ffff:0:0/95").unwrap().nets[0].net));
    }

    #[test]
    fn networks_of_ones_own() {
        let own = |text: &str| OwnNetworks::try_from(text.to_owned());
        let these = own("172.80.3.1/24, 30.0.0.0/8 2620:1::/32").unwrap();
        for mine in ["172.80.3.0/24", "30.9.0.0/16", "10.0.0.0/8"] {
            assert!(!these.leave_public(mine.parse().unwrap()), "{mine}");
        }
        for public in ["172.80.0.0/16", "8.8.8.0/24", "0.0.0.0/0"] {
            assert!(these.leave_public(public.parse().unwrap()), "{public}");
        }
        for (wrong, why) in [
            ("0.0.0.0/0", "more than one organisation"),
            ("2000::/3", "16 or more"),
            ("!10.0.0.0/8", "what is yours"),
            ("cidr:/x", "written as such"),
            ("mine", "not an IP address"),
        ] {
            assert!(own(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }

    #[test]
    fn wrong_networks_say_why() {
        assert!(
            parse_list("10.0.0.0/99")
                .unwrap_err()
                .contains("0 to 32; did you mean 10.0.0.0/8?")
        );
        assert!(
            parse_list("10.0.0.0/8,foo")
                .unwrap_err()
                .starts_with("foo: foo is not an IP address")
        );
        assert!(parse_list("[::1/8").is_err());
        assert_eq!(parse_list(" , "), Ok(Networks::default()));
    }

    #[test]
    fn files_and_tables() {
        let list = parse_list("10.0.0.0/8 /etc/networks cidr:/etc/n.cidr !/etc/not proxy:lmdb:/x").unwrap();
        assert_eq!(list.nets.len(), 1);
        assert_eq!(
            list.tables,
            ["/etc/networks", "cidr:/etc/n.cidr", "!/etc/not", "proxy:lmdb:/x"]
        );
        for network in ["fe80::/10", "::/0", "dead::/16"] {
            assert!(parse_list(network).unwrap().tables.is_empty(), "{network}");
        }
    }

    #[test]
    fn public_and_private_ranges() {
        for public in ["0.0.0.0/0", "8.8.8.0/24", "::/0", "10.0.0.0/7", "2a00::/16"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in ["10.1.0.0/16", "8.8.8.8/32", "2a00::1/128", "fd00::/8", "127.0.0.0/8"] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
