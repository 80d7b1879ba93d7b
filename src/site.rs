//! What the site is: the settings that no daemon owns alone, as types. The variables that begin with `POSTFIX_` here have
//! the names that the founding README gave them; Dovecot, the certificate and the question of trust follow them too.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Deserializer};

use crate::certificates;
use crate::layout::{MAIL_DIRECTORY, VOLUMES};
use crate::logs::Format;
use crate::settings::gather::given;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Values};
use crate::values::kind::Kind;
use crate::values::network::{Networks, OwnNetworks};
use crate::values::quota::Quota;

/// The typed values. Envy fills them from what the reader has checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own")]
pub struct Site {
    /// `POSTFIX_MYHOSTNAME`.
    #[serde(rename = "postfix_myhostname")]
    pub hostname: String,
    /// `POSTFIX_MYDOMAIN`, the primary domain.
    #[serde(rename = "postfix_mydomain")]
    pub domain: String,
    /// `MAILROOM_DOMAINS`: domains beside the primary one.
    #[serde(rename = "mailroom_domains", deserialize_with = "words")]
    pub more_domains: Vec<String>,
    /// `MAILROOM_TEST_ACCOUNTS`.
    #[serde(rename = "mailroom_test_accounts")]
    pub test_accounts: bool,
    /// `POSTFIX_MYNETWORKS`; `None` when unset, which is not the same as set to nothing.
    #[serde(rename = "postfix_mynetworks")]
    pub networks: Option<Networks>,
    /// `MAILROOM_OWN_NETWORKS`.
    #[serde(rename = "mailroom_own_networks", default)]
    pub own_networks: OwnNetworks,
    /// `POSTFIX_MESSAGE_SIZE_LIMIT` in bytes; 0 for no limit.
    #[serde(rename = "postfix_message_size_limit")]
    pub message_size_limit: u64,
    /// `POSTFIX_RECIPIENT_DELIMITER`: each of these signs ends a user's name.
    #[serde(rename = "postfix_recipient_delimiter")]
    pub recipient_delimiter: String,
    /// `POSTFIX_INET_PROTOCOLS`.
    #[serde(rename = "postfix_inet_protocols")]
    pub protocols: Protocols,
    /// `MAILROOM_CERTIFICATE_NAMES`.
    #[serde(rename = "mailroom_certificate_names", deserialize_with = "words")]
    pub more_names: Vec<String>,
    /// `MAILROOM_TRUST_GATEWAY`.
    #[serde(rename = "mailroom_trust_gateway")]
    pub trust_gateway: bool,
    /// `MAILROOM_ALLOW_OPEN_RELAY`.
    #[serde(rename = "mailroom_allow_open_relay")]
    pub allow_open_relay: bool,
    /// `MAILROOM_MAILBOXES`: accounts have mailboxes here. Without them this server is a relay alone.
    #[serde(rename = "mailroom_mailboxes")]
    pub mailboxes: bool,
    /// `MAILROOM_CATCH_ALL`: an account's name or address; empty for none.
    #[serde(rename = "mailroom_catch_all")]
    pub catch_all: String,
    /// `MAILROOM_QUOTA`: how much each account may store of which nothing else is said.
    #[serde(rename = "mailroom_quota")]
    pub quota: Quota,
    /// `MAILROOM_SIEVE`: mail is delivered through Sieve filters.
    #[serde(rename = "mailroom_sieve")]
    pub sieve: bool,
    /// `MAILROOM_LOGIN_FAILURES_PER_ADDRESS`; `None` for off.
    #[serde(rename = "mailroom_login_failures_per_address", deserialize_with = "limit")]
    pub login_failures_per_address: Option<u32>,
    /// `MAILROOM_LOGIN_FAILURES_PER_ACCOUNT`; `None` for off.
    #[serde(rename = "mailroom_login_failures_per_account", deserialize_with = "limit")]
    pub login_failures_per_account: Option<u32>,
    /// `MAILROOM_LOGIN_BLOCK`.
    #[serde(rename = "mailroom_login_block", deserialize_with = "seconds")]
    pub login_block: Duration,
    /// `MAILROOM_SUBMISSION_RATE`: recipients an hour for each account; `None` for off.
    #[serde(rename = "mailroom_submission_rate", deserialize_with = "limit")]
    pub submission_rate: Option<u32>,
    /// Accounts are in a directory, too (`MAILROOM_ACCOUNTS_SQL`, `MAILROOM_ACCOUNTS_LDAP`).
    #[serde(skip)]
    pub has_directory: bool,
    /// `MAILROOM_STOP_TIMEOUT`.
    #[serde(rename = "mailroom_stop_timeout", deserialize_with = "seconds")]
    pub stop_timeout: Duration,
    /// `MAILROOM_WAIT_FOR_VOLUMES`.
    #[serde(rename = "mailroom_wait_for_volumes", deserialize_with = "seconds")]
    pub wait_for_volumes: Duration,
    /// `MAILROOM_ON_FAILURE`.
    #[serde(rename = "mailroom_on_failure")]
    pub on_failure: OnFailure,
    /// `MAILROOM_LOG_LEVEL`.
    #[serde(rename = "mailroom_log_level", deserialize_with = "level")]
    pub log_level: tracing::Level,
    /// `MAILROOM_HTTP_LISTEN`: where health, metrics and the status page are served; `None` for off.
    #[serde(rename = "mailroom_http_listen", deserialize_with = "listener")]
    pub http_listen: Option<SocketAddr>,
    /// `MAILROOM_LOG_FORMAT`.
    #[serde(rename = "mailroom_log_format", deserialize_with = "format")]
    pub log_format: Format,
    /// `MAILROOM_LOG_MASK`: no local part of an address is logged.
    #[serde(rename = "mailroom_log_mask", deserialize_with = "mask")]
    pub log_mask: bool,
    /// `MAILROOM_LOG_FILES`: the files in /var/log are written.
    #[serde(rename = "mailroom_log_files")]
    pub log_files: bool,
    /// `TZ`.
    #[serde(rename = "tz")]
    pub time_zone: String,
}

/// `inet_protocols` (postconf(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocols {
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both.
    All,
}

/// What becomes of the container when a daemon has failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It ends.
    Exit,
    /// The daemon stays down, the others keep running.
    Keep,
}

impl Site {
    /// From checked values.
    pub fn of(values: &Values) -> anyhow::Result<Site> {
        envy::from_iter(values.pairs()).context("a checked value does not fit its type: this is a mistake in mailroom")
    }

    /// The address of the account that keeps all mail, if there is one.
    pub fn catch_all(&self) -> Option<String> {
        match self.catch_all.as_str() {
            "" => None,
            address if address.contains('@') => Some(address.to_owned()),
            name => Some(format!("{name}@{}", self.domain)),
        }
    }

    /// A local part without what stands behind a delimiter, such as `user` of `user+lists`.
    pub fn without_extension<'a>(&self, name: &'a str) -> &'a str {
        let is_delimiter = |sign: char| self.recipient_delimiter.contains(sign);
        name.split(is_delimiter).next().unwrap_or_default()
    }

    /// Whether the test accounts exist while no other account is here.
    pub fn has_test_accounts(&self) -> bool {
        self.test_accounts && !self.has_directory
    }

    /// Adds domains that the environment does not name.
    pub fn add_domains(&mut self, domains: &BTreeSet<String>) {
        let new = domains.iter().filter(|domain| !self.more_domains.contains(domain));
        let new: Vec<String> = new.cloned().collect();
        self.more_domains.extend(new);
    }

    /// The domains of accounts, the primary one first.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        let more = self.more_domains.iter().filter(|domain| **domain != self.domain);
        std::iter::once(&self.domain).chain(more).map(String::as_str)
    }

    /// Those of them that have mailboxes here: none on a relay alone.
    pub fn mailbox_domains(&self) -> impl Iterator<Item = &str> {
        self.domains().filter(|_| self.mailboxes)
    }

    /// The volumes that this server uses, in the order in which they are locked.
    pub fn volumes(&self) -> impl Iterator<Item = &'static str> {
        let has_mailboxes = self.mailboxes;
        VOLUMES
            .into_iter()
            .filter(move |volume| has_mailboxes || *volume != MAIL_DIRECTORY)
    }

    /// Whether failed logins have consequences.
    pub fn limits_logins(&self) -> bool {
        self.login_failures_per_address.is_some() || self.login_failures_per_account.is_some()
    }

    /// For whom a certificate is made.
    pub fn certificate_names(&self) -> certificates::Names {
        certificates::Names {
            hostname: self.hostname.clone(),
            more: self.more_names.clone(),
        }
    }
}

/// Separated by commas, as `Kind::Hosts` writes them.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(str::to_owned).collect())
}

/// A number, or 0 for none, as `Kind::Limit` writes it.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    u32::deserialize(deserializer).map(|limit| Some(limit).filter(|limit| *limit > 0))
}

/// An address and a port, or `off`, as `Kind::Listener` writes them.
fn listener<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().ok())
}

/// Whole seconds, as `Kind::Seconds` writes them.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<tracing::Level, D::Error> {
    let word = String::deserialize(deserializer)?;
    tracing::Level::from_str(&word).map_err(serde::de::Error::custom)
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    let is_json = String::deserialize(deserializer)? == JSON;
    Ok(if is_json { Format::Json } else { Format::Text })
}

fn mask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)? == ADDRESSES)
}

/// The primary domain, for commands that read nothing else of the settings.
pub fn primary_domain(environment: &Environment) -> String {
    let table = Table::of([VARIABLES]);
    let given = given(environment, &table, MYDOMAIN).map(|domain| domain.trim().to_ascii_lowercase());
    let default = || table.variable(MYDOMAIN).map_or("", |variable| variable.default);
    given
        .filter(|domain| !domain.is_empty())
        .unwrap_or_else(|| default().to_owned())
}

/// The domains beside it that the environment names, for the same commands.
pub fn more_domains(environment: &Environment) -> Vec<String> {
    let given = given(environment, &Table::of([VARIABLES]), DOMAINS).unwrap_or_default();
    let domains = given.split([',', ' ', '\t', '\n']).filter(|domain| !domain.is_empty());
    domains.map(str::to_ascii_lowercase).collect()
}

/// The variable that names the primary domain.
pub const MYDOMAIN: &str = "POSTFIX_MYDOMAIN";
/// The variable that names domains beside it.
pub const DOMAINS: &str = "MAILROOM_DOMAINS";
/// What begins a sub-address.
pub const DELIMITER: &str = "POSTFIX_RECIPIENT_DELIMITER";

/// The variable that makes this server a relay alone.
pub const MAILBOXES: &str = "MAILROOM_MAILBOXES";

/// The variable that declares accounts.
pub const ACCOUNTS: &str = "MAILROOM_ACCOUNTS";
/// The variable that declares aliases.
pub const ALIASES: &str = "MAILROOM_ALIASES";
/// The variable that limits what an account may store.
pub const QUOTA: &str = "MAILROOM_QUOTA";
/// The variable that switches filters on.
pub const SIEVE: &str = "MAILROOM_SIEVE";
/// The variable that says where the status page is.
pub const HTTP_LISTEN: &str = "MAILROOM_HTTP_LISTEN";
/// The variable that keeps all mail in one mailbox.
pub const CATCH_ALL: &str = "MAILROOM_CATCH_ALL";

/// Words of `inet_protocols`; Dovecot's `listen` follows it.
const PROTOCOLS: &[(&str, &str)] = &[
    ("ipv4", "ipv4"),
    ("ipv6", "ipv6"),
    ("all", "all"),
    ("ipv4, ipv6", "all"),
    ("ipv4,ipv6", "all"),
];

/// A word of `MAILROOM_LOG_FORMAT`, and one of `MAILROOM_LOG_MASK`.
const JSON: &str = "json";
const ADDRESSES: &str = "addresses";

const LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];

/// The variables of the site, in the order in which they are documented.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: "POSTFIX_MYHOSTNAME",
        kind: Kind::Domain,
        default: "postfix.metabuilder.local",
        help: "Name of this server: greeting, HELO, `Received`, certificate.",
        parameter: Some("myhostname"),
        ..Variable::NEW
    },
    Variable {
        name: MYDOMAIN,
        kind: Kind::Domain,
        default: "metabuilder.local",
        help: "Primary mail domain: its accounts log in by their short names too.",
        parameter: Some("mydomain"),
        ..Variable::NEW
    },
    Variable {
        name: DOMAINS,
        kind: Kind::Domains,
        default_note: "none",
        help: "More mail domains: accounts there log in by their full addresses.",
        ..Variable::NEW
    },
    Variable {
        name: ACCOUNTS,
        kind: Kind::Entries,
        default_note: "none: the test accounts",
        help: "Accounts, as `name:password` or `name:{SCHEME}hash`, with `:admin` or `:relay` behind it for those roles and `:quota=5G` for a quota; separated by blanks or line breaks. Better as `MAILROOM_ACCOUNTS_FILE`, the path of a file that holds them.",
        secret: true,
        ..Variable::NEW
    },
    Variable {
        name: ALIASES,
        kind: Kind::Entries,
        default_note: "none",
        help: "Aliases, as `name:target,target`; `@domain:target` takes all that is nobody's there. Also as `MAILROOM_ALIASES_FILE`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL",
        kind: Kind::Text,
        default_note: "none",
        help: "Accounts in a database: `postgres://user:password@host[:port]/database[?sslmode=…]`, `mysql://…` or `sqlite:///path`. Better as `MAILROOM_ACCOUNTS_SQL_FILE`, the path of a file that holds it.",
        secret: true,
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_PASSWORD_QUERY",
        kind: Kind::Text,
        default: "SELECT password FROM accounts WHERE address = '%s' AND enabled = 1",
        help: "The hash of the password of `%s`, as column `password`. In all of these queries `%u` and `%d` are its name and its domain.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_MAILBOX_QUERY",
        kind: Kind::Text,
        default: "SELECT address, quota FROM accounts WHERE address = '%s' AND enabled = 1",
        help: "A row if there is an account `%s`. Column `quota`, if there is one, says how much it may store: a number of bytes, or such as 5G; 0 for no limit, NULL for what `MAILROOM_QUOTA` says.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_ALIAS_QUERY",
        kind: Kind::Text,
        default: "SELECT target FROM aliases WHERE address = '%s'",
        help: "The targets of the alias `%s`, a row for each.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_DOMAIN_QUERY",
        kind: Kind::Text,
        default: "SELECT domain FROM domains WHERE domain = '%s'",
        help: "A row if `%s` is a domain with mailboxes here, beside those of `POSTFIX_MYDOMAIN` and `MAILROOM_DOMAINS`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_ROLE_QUERY",
        kind: Kind::Text,
        default: "SELECT address FROM accounts WHERE role = '%s' AND enabled = 1",
        help: "The addresses of the accounts that have the role `%s`, `admin` or `relay`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_SQL_ITERATE_QUERY",
        kind: Kind::Text,
        default: "SELECT address AS user FROM accounts WHERE enabled = 1",
        help: "The addresses of all accounts, as column `user`, for `doveadm` commands about all of them.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP",
        kind: Kind::Text,
        default_note: "none",
        help: "Accounts in an LDAP directory: `ldap://host[:port]/base[?starttls=yes]` or `ldaps://…`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_BIND_DN",
        kind: Kind::Text,
        default_note: "an anonymous client",
        help: "Who searches there.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD",
        kind: Kind::Text,
        default_note: "an anonymous client",
        help: "Its password; better as `MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD_FILE`, the path of a file that holds it.",
        secret: true,
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_FILTER",
        kind: Kind::Text,
        default: "(&(objectClass=inetOrgPerson)(mail=%s))",
        help: "Finds the account of an address: `%s` is the address, `%u` its name, `%d` its domain.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_ALIAS_FILTER",
        kind: Kind::Text,
        default_note: "no aliases there",
        help: "Finds the accounts for which `%s` is an alias, such as `(mailLocalAddress=%s)`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_ROLE_FILTER",
        kind: Kind::Text,
        default_note: "each is a user",
        help: "Finds the accounts that have the role `%s`, `admin` or `relay`, such as `(employeeType=%s)`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_ADDRESS_ATTRIBUTE",
        kind: Kind::Text,
        default: "mail",
        help: "Holds the address of an account.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_PASSWORD_ATTRIBUTE",
        kind: Kind::Text,
        default_note: "the directory checks passwords, by a bind as that account",
        help: "Holds the hash of its password.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ACCOUNTS_LDAP_QUOTA_ATTRIBUTE",
        kind: Kind::Text,
        default_note: "what `MAILROOM_QUOTA` says",
        help: "Holds how much it may store: a number of bytes, or such as 5G; 0 for no limit. Accounts without it have what `MAILROOM_QUOTA` says.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_TEST_ACCOUNTS",
        kind: Kind::OnOff,
        default: "on",
        help: "Whether the three test accounts exist while no other account does.",
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_MYNETWORKS",
        kind: Kind::Networks,
        default_note: "the docker networks of this container, without their gateways",
        help: "Networks that may relay, and log in without TLS; `!` before one takes it out. Loopback is always trusted; set to nothing, it alone is. Networks in a `/file` or `type:table` may relay, but not log in without TLS: Dovecot cannot read them.",
        parameter: Some("mynetworks"),
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_MESSAGE_SIZE_LIMIT",
        kind: Kind::Number { unit: "bytes" },
        default: "52428800",
        help: "Largest message in bytes, 0 for no limit.",
        parameter: Some("message_size_limit"),
        ..Variable::NEW
    },
    Variable {
        name: DELIMITER,
        kind: Kind::Text,
        default: "+",
        help: "Signs that may stand between a user's name and an extension, as in `user+lists@`; set to nothing, there are none. Dovecot follows.",
        parameter: Some("recipient_delimiter"),
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_INET_PROTOCOLS",
        kind: Kind::OneOf(PROTOCOLS),
        default: "ipv4",
        help: "Internet protocols of Postfix and of Dovecot.",
        parameter: Some("inet_protocols"),
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_CERTIFICATE_NAMES",
        kind: Kind::Hosts,
        default_note: "none",
        help: "More names for the self-signed certificate, such as network aliases: `smtp, mail.example.net, 10.0.0.5`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_TRUST_GATEWAY",
        kind: Kind::Switch,
        default: "no",
        help: "Trust the docker gateway and the container's own address too. Whoever reaches a published port may come \
               from there: only where the ports are published on 127.0.0.1.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_OWN_NETWORKS",
        kind: Kind::OwnNetworks,
        default_note: "none",
        help: "Networks of public addresses that are in use inside your organisation alone, such as a docker network with the subnet `172.80.0.0/16`: they count as private ones.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ALLOW_OPEN_RELAY",
        kind: Kind::Switch,
        default: "no",
        help: "Accept networks of public addresses in `POSTFIX_MYNETWORKS`, and restrictions, tables and lists that let strangers relay.",
        ..Variable::NEW
    },
    Variable {
        name: QUOTA,
        kind: Kind::Quota,
        default: "off",
        help: "How much each account may store; `:quota=5G` or `:quota=off` behind the password in `MAILROOM_ACCOUNTS` says it of one. Mail for a full mailbox is refused for the time being (452).",
        ..Variable::NEW
    },
    Variable {
        name: SIEVE,
        kind: Kind::OnOff,
        default: "off",
        help: "`on`: Sieve filters, vacation answers among them, which mail clients manage on port 4190 (ManageSieve); those in `/etc/mailroom/sieve.d/*.sieve` come before each account's own.",
        ..Variable::NEW
    },
    Variable {
        name: MAILBOXES,
        kind: Kind::OnOff,
        default: "on",
        help: "`off` makes this server a relay alone: no mailboxes, no IMAP and POP3; mail for `POSTFIX_MYDOMAIN` goes out like any other.",
        ..Variable::NEW
    },
    Variable {
        name: CATCH_ALL,
        kind: Kind::Account,
        default_note: "none: mail goes where it is addressed to",
        help: "For development and tests: mail for anybody is kept in the mailbox of this account, such as `user`, and none leaves this server, whatever else is set.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOGIN_FAILURES_PER_ADDRESS",
        kind: Kind::Limit { most: 1000 },
        default: "10",
        help: "Different wrong passwords from one address, on all ports together, after which its logins are refused; from half of them on they are slowed. Trusted networks, the docker gateway and the container itself are not limited so: many share those.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOGIN_FAILURES_PER_ACCOUNT",
        kind: Kind::Limit { most: 1000 },
        default: "20",
        help: "Different wrong passwords for one account, from wherever, after which logins from addresses where it has not logged in before are refused.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOGIN_BLOCK",
        kind: Kind::Seconds { min: 1, max: 86_400 },
        default: "10m",
        help: "For how long a wrong password counts, and hence how long logins are refused.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_SUBMISSION_RATE",
        kind: Kind::Limit { most: 100_000 },
        default: "off",
        help: "Messages that each account may send within an hour, on all ports with logins; a message counts once for each of its recipients. More are turned away with 450, to be sent later.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_STOP_TIMEOUT",
        kind: Kind::Seconds { min: 1, max: 3600 },
        default: "9s",
        help: "Time for a clean stop; docker kills after 10 s unless told otherwise.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_WAIT_FOR_VOLUMES",
        kind: Kind::Seconds { min: 0, max: 3600 },
        default: "5s",
        help: "Time for another container that uses the same volumes to end, before this one gives up. With more than the default it is in standby meanwhile, which counts as healthy: `60s` for updates that start the new one first.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_ON_FAILURE",
        kind: Kind::OneOf(&[("exit", "exit"), ("keep", "keep")]),
        default: "exit",
        help: "When a daemon has failed five times in two minutes: `exit` ends the container with code 1, `keep` leaves that daemon down and the other up.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOG_LEVEL",
        kind: Kind::OneOf(LEVELS),
        default: "info",
        help: "Which of Mailroom's own lines are logged: those of this level and above. `debug` also says which variables were taken for those of Kubernetes services and docker links.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOG_FORMAT",
        kind: Kind::OneOf(&[("text", "text"), (JSON, JSON)]),
        default: "text",
        help: "How lines look on standard output: as text, or as one JSON object each. The files in /var/log are text.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOG_MASK",
        kind: Kind::OneOf(&[("off", "off"), (ADDRESSES, ADDRESSES)]),
        default: "off",
        help: "`addresses`: in all log lines each local part, `user` of `user@example.org`, is a hash, always the same one.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_LOG_FILES",
        kind: Kind::OnOff,
        default: "on",
        help: "Whether log lines are also written to files in /var/log.",
        ..Variable::NEW
    },
    Variable {
        name: HTTP_LISTEN,
        kind: Kind::Listener,
        default: "127.0.0.1:8025",
        help: "Where the status page, `/metrics`, `/livez` and `/readyz` are served. `0.0.0.0:8025` opens them to other containers, the page and the metrics for trusted networks alone.",
        ..Variable::NEW
    },
    Variable {
        name: "TZ",
        kind: Kind::TimeZone,
        default: "UTC",
        help: "Time zone of all log lines, such as `Europe/Berlin`.",
        ..Variable::NEW
    },
];
