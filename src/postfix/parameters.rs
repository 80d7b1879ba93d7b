//! The main.cf parameters: those that the installed Postfix knows, what each may hold, and those that Mailroom decides
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::settings::table::VARIABLES;
use crate::values::kind::{Kind, Value};

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
        let value = value.trim();
        balanced(value)?;
        if value.split(char::is_whitespace).any(|word| word.starts_with('#')) {
            return Err("must not hold a word that begins with #: Postfix takes it for a comment".to_owned());
        }
        if value.contains('$') {
            return Ok(value.to_owned());
        }
        self.check_tables(name, value)?;
        match self.kind(name) {
            Some(kind) => kind.parse(value).map(|parsed| match parsed {
                Value::Text(text) => text,
                Value::Number(number) => number.to_string(),
                _ => value.to_owned(),
            }),
            None => Ok(value.to_owned()),
        }
    }

    /// Checks the tables that a value of a variable of the table names.
    pub fn check_tables_of(&self, parameter: Option<&str>, value: &Value) -> Result<(), String> {
        match (parameter, value) {
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
             virtual_alias_maps = $virtual_maps\nmilter_default_action = tempfail\n",
            "lmdb\ninline\nregexp\nproxy\nunionmap\n",
        )
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
