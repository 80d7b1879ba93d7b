//! The main.cf parameters: those that the installed Postfix knows, what each may hold, and those that Mailroom decides
//! itself.

mod bounds;

use std::collections::{BTreeMap, BTreeSet};

use self::bounds::{FROM_ONE, NEVER_EMPTY, WITHIN};

use crate::settings::table::VARIABLES;
use crate::values::kind::{Kind, Value};
use crate::values::network;

/// The parameters of the installed Postfix, and the types of tables that it can read.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// By name in lower case, for names are found without regard to case: `SMTP_TLS_CAFILE` is `smtp_tls_CAfile`.
    known: BTreeMap<String, Parameter>,
    table_types: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Parameter {
    name: String,
    default: String,
}

/// Parameters of the rendered configuration's own, to which master.cf refers (as in Postfix's own submission example).
const OURS: [&str; 3] = [
    "mua_client_restrictions",
    "mua_relay_restrictions",
    "mua_sender_restrictions",
];

impl Parameters {
    /// Reads what `postconf -d` and `postconf -m` print: `name = value` lines, and a type on each line.
    pub fn parse(postconf_d: &str, postconf_m: &str) -> Parameters {
        let listed = postconf_d.lines().filter_map(|line| line.split_once(" ="));
        let ours = OURS.map(|name| (name, ""));
        let known = listed.chain(ours).map(|(name, default)| {
            let parameter = Parameter {
                name: name.to_owned(),
                default: default.trim().to_owned(),
            };
            (name.to_ascii_lowercase(), parameter)
        });
        Parameters {
            known: known.collect(),
            table_types: postconf_m.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The parameter's own name, for a name in any case.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.known
            .get(&name.to_ascii_lowercase())
            .map(|parameter| parameter.name.as_str())
    }

    /// What it is when nobody sets it.
    pub fn default_of(&self, name: &str) -> &str {
        self.known
            .get(&name.to_ascii_lowercase())
            .map(|parameter| parameter.default.as_str())
            .unwrap_or_default()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.values().map(|parameter| parameter.name.as_str())
    }

    /// Checks a value; returns what Postfix is to be given. An error says what is allowed, without the name.
    ///
    /// A value with `$` stands for others and is left to Postfix; so is what no type is known of.
    pub fn check(&self, name: &str, value: &str) -> Result<String, String> {
        let without_host_bits = NETWORKS.contains(&name).then(|| network::without_host_bits(value));
        let value = without_host_bits.transpose()?.unwrap_or_else(|| value.to_owned());
        let value = value.trim();
        balanced(value)?;
        if value.split(char::is_whitespace).any(|word| word.starts_with('#')) {
            return Err("must not hold a word that begins with #: Postfix takes it for a comment".to_owned());
        }
        if value.contains('$') {
            return Ok(value.to_owned());
        }
        self.check_tables(name, value)?;
        let value = self.checked_by_kind(name, value)?;
        self.within_bounds(name, &value).map(|()| value)
    }

    fn checked_by_kind(&self, name: &str, value: &str) -> Result<String, String> {
        match self.kind(name) {
            Some(kind) => kind.parse(value).map(|parsed| match parsed {
                Value::Text(text) => text,
                Value::Number(number) => number.to_string(),
                _ => value.to_owned(),
            }),
            None => Ok(value.to_owned()),
        }
    }

    /// Checks what the kind of a variable of the table leaves open.
    pub fn check_read(&self, parameter: Option<&str>, value: &Value) -> Result<(), String> {
        match (parameter, value) {
            (Some(name), Value::Number(number)) => self.within_bounds(name, &number.to_string()),
            (Some(name), Value::Text(text)) => self.check(name, text).map(|_| ()),
            (Some(name), Value::Networks(networks)) => networks
                .tables
                .iter()
                .try_for_each(|table| self.check_tables(name, table.trim_start_matches('!'))),
            _ => Ok(()),
        }
    }

    /// What a parameter may hold, where that is known: from the table of variables, from a list, or from the shape of its
    /// default.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        let variable = VARIABLES.iter().find(|variable| variable.parameter == Some(name));
        variable.map(|variable| variable.kind).or_else(|| self.kind_of(name))
    }

    /// One that follows another (`$name`) holds what that holds.
    fn kind_of(&self, name: &str) -> Option<Kind> {
        if let Some((_, words)) = WORDS.iter().find(|(names, _)| names.contains(&name)) {
            return Some(Kind::OneOf(words));
        }
        if FREE.contains(&name) {
            return None;
        }
        let default = &self.known.get(&name.to_ascii_lowercase())?.default;
        if let Some(other) = default
            .strip_prefix('$')
            .filter(|other| is_name(other) && *other != name)
        {
            return self.kind_of(other);
        }
        kind_of_default(default)
    }

    /// A value beyond what Postfix's programs accept is fatal to them.
    fn within_bounds(&self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() && NEVER_EMPTY.contains(&name) {
            return Err("must not be empty".to_owned());
        }
        let default = self.default_of(name);
        let is_number = matches!(self.kind(name), Some(Kind::Integer | Kind::Number { .. } | Kind::Time));
        let within = WITHIN.iter().find(|(bound, ..)| *bound == name);
        let (min, max) = match within {
            Some((_, min, max)) => (*min, *max),
            None if FROM_ONE.contains(&name) => (1, i64::MAX),
            None => match default
                .strip_prefix('$')
                .filter(|other| is_name(other) && *other != name)
            {
                Some(other) => return self.within_bounds(other, value),
                None => (0, i64::MAX),
            },
        };
        match whole(value, default).filter(|_| is_number) {
            Some(number) if number < min => Err(format!("must be at least {min}")),
            Some(number) if number > max => Err(format!("must be at most {max}")),
            _ => Ok(()),
        }
    }

    /// Tables of a type that is not installed are fatal to whatever process looks them up.
    fn check_tables(&self, name: &str, value: &str) -> Result<(), String> {
        if self.table_types.is_empty() {
            return Ok(());
        }
        for word in table_words(value)
            .iter()
            .filter_map(|word| word.split_once(':'))
            .map(|(word, _)| word)
        {
            let known_elsewhere = TABLE_TYPES.contains(&word) || name.ends_with("_maps") || name == "mynetworks";
            if known_elsewhere && is_name(word) && !self.table_types.contains(word) {
                let types: Vec<&str> = self.table_types.iter().map(String::as_str).collect();
                let nearest = crate::values::nearest(word, types.iter().copied())
                    .map(|nearest| format!("; did you mean {nearest}:?"))
                    .unwrap_or_default();
                return Err(format!(
                    "{word}: is not a type of tables that is installed (there are {}){nearest}",
                    types.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// The words of a list: separated by commas and white space outside braces.
pub fn split_words(value: &str) -> Vec<String> {
    let (mut words, mut depth) = (vec![String::new()], 0_usize);
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ' ' | '\t' if depth == 0 => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        words.last_mut().into_iter().for_each(|word| word.push(c));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of a list of tables; what `proxy:`, `unionmap:` and `pipemap:` read is among them.
fn table_words(value: &str) -> Vec<String> {
    let inner = |word: &String| {
        let (of, inner) = word.split_once(':')?;
        match of {
            "proxy" => Some(inner.to_owned()),
            "unionmap" | "pipemap" => Some(inner.strip_prefix('{')?.strip_suffix('}')?.to_owned()),
            _ => None,
        }
    };
    let words = split_words(value);
    let inner: Vec<String> = words
        .iter()
        .filter_map(inner)
        .flat_map(|inner| table_words(&inner))
        .collect();
    words.into_iter().chain(inner).collect()
}

/// An open brace would swallow what comes behind it.
fn balanced(value: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or("has a } without a {")?,
            _ => {}
        }
    }
    if depth == 0 {
        Ok(())
    } else {
        Err("has a { without a }".to_owned())
    }
}

/// A number, or a time in seconds; one without a unit has that of the default (postconf(5)).
fn whole(value: &str, default: &str) -> Option<i64> {
    let units = ['s', 'm', 'h', 'd', 'w'];
    let digits = value.trim_end_matches(units);
    let unit = if digits.len() < value.len() { value } else { default };
    let seconds = match unit.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => 1,
    };
    digits.parse::<i64>().ok()?.checked_mul(seconds)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `yes`, `20`, `4h`, and the two shapes of defaults that depend on stress.
fn kind_of_default(default: &str) -> Option<Kind> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if default == "yes" || default == "no" {
        return Some(Kind::Boolean);
    }
    if digits(default) || (default.starts_with("${stress?") && default.ends_with('}')) {
        return Some(Kind::Integer);
    }
    let time = default.strip_suffix(['s', 'm', 'h', 'd', 'w'])?;
    (digits(time) || time.starts_with("${stress?")).then_some(Kind::Time)
}

/// Numbers by their default, and yet more than that: fractions of the concurrency, service names, file modes.
const FREE: &[&str] = &[
    "default_destination_concurrency_negative_feedback",
    "default_destination_concurrency_positive_feedback",
    "lmtp_tcp_port",
    "maillog_file_permissions",
    "milter_protocol",
    "postscreen_dnsbl_threshold",
];

/// Lists of networks besides mynetworks, in which names and patterns may stand, too.
const NETWORKS: &[&str] = &[
    "permit_mx_backup_networks",
    "qmqpd_authorized_clients",
    "smtpd_authorized_verp_clients",
    "smtpd_authorized_xclient_hosts",
    "smtpd_authorized_xforward_hosts",
    "smtpd_client_event_limit_exceptions",
    "smtpd_forbid_bare_newline_exclusions",
    "smtpd_sasl_exceptions_networks",
];

/// Types of tables that Postfix has, installed or not (DATABASE_README).
const TABLE_TYPES: &[&str] = &[
    "btree",
    "cdb",
    "cidr",
    "dbm",
    "environ",
    "fail",
    "hash",
    "inline",
    "ldap",
    "lmdb",
    "memcache",
    "mongodb",
    "mysql",
    "netinfo",
    "nis",
    "nisplus",
    "pcre",
    "pgsql",
    "pipemap",
    "proxy",
    "randmap",
    "regexp",
    "sdbm",
    "socketmap",
    "sqlite",
    "static",
    "tcp",
    "texthash",
    "unionmap",
];

type Words = &'static [(&'static str, &'static str)];

/// Those that hold one of some words (postconf(5)).
const WORDS: &[(&[&str], Words)] = &[
    (
        &["lmtp_tls_security_level"],
        &[
            ("", ""),
            ("none", "none"),
            ("may", "may"),
            ("encrypt", "encrypt"),
            ("dane", "dane"),
            ("dane-only", "dane-only"),
            ("fingerprint", "fingerprint"),
            ("verify", "verify"),
            ("secure", "secure"),
        ],
    ),
    (
        &["smtpd_forbid_bare_newline"],
        &[
            ("normalize", "normalize"),
            ("reject", "reject"),
            ("note", "note"),
            ("yes", "yes"),
            ("no", "no"),
        ],
    ),
    (
        &["smtp_dns_support_level", "lmtp_dns_support_level"],
        &[
            ("", ""),
            ("disabled", "disabled"),
            ("enabled", "enabled"),
            ("dnssec", "dnssec"),
        ],
    ),
    (
        &["smtp_address_preference", "lmtp_address_preference"],
        &[("any", "any"), ("ipv4", "ipv4"), ("ipv6", "ipv6")],
    ),
    (
        &["header_from_format"],
        &[("standard", "standard"), ("obsolete", "obsolete")],
    ),
    (
        &["info_log_address_format"],
        &[("external", "external"), ("internal", "internal")],
    ),
    (
        &[
            "smtp_tls_ciphers",
            "smtp_tls_mandatory_ciphers",
            "lmtp_tls_ciphers",
            "lmtp_tls_mandatory_ciphers",
            "smtpd_tls_ciphers",
            "smtpd_tls_mandatory_ciphers",
        ],
        &[
            ("export", "export"),
            ("low", "low"),
            ("medium", "medium"),
            ("high", "high"),
            ("null", "null"),
        ],
    ),
    (
        &["milter_default_action"],
        &[
            ("accept", "accept"),
            ("reject", "reject"),
            ("tempfail", "tempfail"),
            ("quarantine", "quarantine"),
            ("shutdown", "shutdown"),
        ],
    ),
];

/// Why directories are decided by us.
pub const LAYOUT: &str = "the image's layout depends on it";
const MAILBOXES: &str = "accounts and mailboxes are provisioned together with Dovecot's";
const NO_SYSTEM_USERS: &str = "all mailboxes are virtual; nothing is delivered to system users";
const LOGIN: &str = "logins are checked by Dovecot through this socket";
/// Why logging is.
pub const LOGS: &str = "all logs go through PID 1 to stdout and /var/log";
/// Why the certificate is.
pub const CERTIFICATE: &str = "both daemons serve the certificate in /etc/dovecot/certs; mount your own there";

/// Parameters that cannot be set, and why.
const OWNED: &[(&str, &str)] = &[
    ("alias_database", NO_SYSTEM_USERS),
    ("alias_maps", NO_SYSTEM_USERS),
    ("alternate_config_directories", LAYOUT),
    ("command_directory", LAYOUT),
    (
        "compatibility_level",
        "the rendered configuration is written for one level",
    ),
    ("config_directory", LAYOUT),
    ("daemon_directory", LAYOUT),
    ("data_directory", LAYOUT),
    ("local_transport", MAILBOXES),
    ("mail_owner", LAYOUT),
    ("mailbox_transport", MAILBOXES),
    ("maillog_file", LOGS),
    ("meta_directory", LAYOUT),
    ("multi_instance_directories", "there is one Postfix in this container"),
    ("multi_instance_enable", "there is one Postfix in this container"),
    ("multi_instance_wrapper", "there is one Postfix in this container"),
    ("mydestination", NO_SYSTEM_USERS),
    ("queue_directory", LAYOUT),
    ("setgid_group", LAYOUT),
    ("shlib_directory", LAYOUT),
    ("smtpd_sasl_path", LOGIN),
    ("smtpd_sasl_type", LOGIN),
    ("smtpd_tls_cert_file", CERTIFICATE),
    ("smtpd_tls_chain_files", CERTIFICATE),
    ("smtpd_tls_eccert_file", CERTIFICATE),
    ("smtpd_tls_eckey_file", CERTIFICATE),
    ("smtpd_tls_key_file", CERTIFICATE),
    ("syslog_facility", LOGS),
    ("virtual_gid_maps", MAILBOXES),
    ("virtual_mailbox_base", MAILBOXES),
    ("virtual_mailbox_domains", MAILBOXES),
    ("virtual_mailbox_maps", MAILBOXES),
    ("virtual_transport", MAILBOXES),
    ("virtual_uid_maps", MAILBOXES),
];

/// These parameters and why they cannot be set, as Markdown, as it stands in the README.
pub fn owned_markdown() -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, reason) in OWNED {
        match by_reason.iter_mut().find(|(there, _)| there == reason) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((reason, vec![name])),
        }
    }
    let row = |(reason, names): &(&str, Vec<&str>)| format!("| `{}` | {reason} |\n", names.join("` `"));
    let header = "| Parameters | Why they are not for you to set |\n|---|---|\n";
    std::iter::once(header.to_owned())
        .chain(by_reason.iter().map(row))
        .collect()
}

/// Why a parameter cannot be set, for those that Mailroom decides.
pub fn owned(name: &str) -> Option<&'static str> {
    OWNED
        .iter()
        .find(|(owned, _)| *owned == name)
        .map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters::parse(
            "myhostname = a.b\nsmtp_tls_CAfile =\nbroken\nbiff = yes\nmax_idle = 100s\nmax_use = 100\n\
             lmtp_x_limit = $max_use\nsmtpd_timeout = ${stress?{10}:{300}}s\nsmtpd_hard_error_limit = ${stress?{1}:{20}}\n\
             virtual_alias_maps = $virtual_maps\ninitial_destination_concurrency = 5\n\
             smtp_initial_destination_concurrency = $initial_destination_concurrency\nmaximal_queue_lifetime = 5d\nmilter_default_action = tempfail\n",
            "lmdb\ninline\nregexp\nproxy\nunionmap\n",
        )
    }

    #[test]
    fn the_readme_holds_what_cannot_be_set() {
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(&owned_markdown()),
            "README.md is stale: replace its second table of parameters by that of `mailroom help-env --markdown`"
        );
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(parameters().find("SMTP_TLS_CAFILE"), Some("smtp_tls_CAfile"));
        assert_eq!(parameters().find("broken"), None);
        assert_eq!(
            parameters().find("mua_client_restrictions"),
            Some("mua_client_restrictions")
        );
    }

    #[test]
    fn what_ends_a_process_is_out_of_bounds() {
        let refused = |name: &str, value: &str| parameters().check(name, value).expect_err(value);
        for name in [
            "smtpd_hard_error_limit",
            "max_idle",
            "smtp_initial_destination_concurrency",
        ] {
            assert_eq!(refused(name, "0"), "must be at least 1", "{name}");
        }
        assert_eq!(refused("lmtp_x_limit", "-1"), "must be at least 1");
        assert_eq!(refused("maximal_queue_lifetime", "101"), "must be at most 8640000");
        assert_eq!(refused("smtpd_banner", ""), "must not be empty");
        for (name, value) in [
            ("maximal_queue_lifetime", "100d"),
            ("maximal_queue_lifetime", "200h"),
            ("smtpd_timeout", "1"),
        ] {
            assert!(parameters().check(name, value).is_ok(), "{name}");
        }
        let limit = VARIABLES
            .iter()
            .find(|variable| variable.parameter == Some("default_process_limit"));
        assert!(
            parameters()
                .check_read(limit.and_then(|limit| limit.parameter), &Value::Number(0))
                .is_err()
        );
    }

    #[test]
    fn networks_of_other_lists_lose_their_host_bits() {
        let check = |value: &str| parameters().check("smtpd_client_event_limit_exceptions", value);
        let value = "$mynetworks, 10.0.0.1/8, !2001:db8::1/32, .example.org, cidr:/n, 10.0.0.1";
        assert_eq!(
            check(value).unwrap(),
            "$mynetworks, 10.0.0.0/8, ![2001:db8::]/32, .example.org, cidr:/n, 10.0.0.1"
        );
        assert!(check("10.0.0.0/99").unwrap_err().contains("prefix length"));
    }

    #[test]
    fn values_are_checked_by_the_shape_of_the_default() {
        let refused = |name: &str, value: &str| parameters().check(name, value).expect_err(value);
        for (name, value) in [
            ("biff", "no"),
            ("max_idle", "4h"),
            ("max_idle", "4"),
            ("lmtp_x_limit", "7"),
            ("lmtp_x_limit", "$other"),
            ("smtpd_timeout", "30s"),
            ("smtpd_hard_error_limit", "5"),
            ("smtp_tls_CAfile", ""),
            ("virtual_alias_maps", "lmdb:/x, proxy:lmdb:/y inline:{a=b c:d}"),
            ("virtual_alias_maps", "inline:{ { a = b }, { c = lmbd:/d } }"),
        ] {
            assert_eq!(parameters().check(name, value).as_deref(), Ok(value), "{name}");
        }
        assert!(refused("smtp_tls_CAfile", "${x").contains("without a }"));
        assert!(refused("biff", "maybe").contains("yes or no"));
        assert!(refused("max_idle", "4x").contains("such as 30s"));
        assert!(refused("lmtp_x_limit", "ten").contains("whole number"));
        assert!(refused("milter_default_action", "reeject").ends_with("did you mean reject?"));
        assert!(refused("virtual_alias_maps", "lmbd:/x").ends_with("did you mean lmdb:?"));
        assert!(refused("virtual_alias_maps", "proxy:unionmap:{lmdb:/x, lmbd:/y}").contains("lmbd: is not"));
        assert!(refused("smtp_tls_CAfile", "pcre:/x").contains("not a type of tables that is installed"));
    }
}
