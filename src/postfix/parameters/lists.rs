//! What the shapes of defaults do not say: lists of networks, types of tables, and parameters that hold one of some words.

/// Numbers by their default, and yet more than that: fractions of the concurrency, service names, file modes.
pub(super) const FREE: &[&str] = &[
    "default_destination_concurrency_negative_feedback",
    "default_destination_concurrency_positive_feedback",
    "lmtp_tcp_port",
    "maillog_file_permissions",
    "milter_protocol",
    "postscreen_dnsbl_threshold",
];

/// Lists of networks besides mynetworks, in which names and patterns may stand, too.
pub(super) const NETWORKS: &[&str] = &[
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
pub(super) const TABLE_TYPES: &[&str] = &[
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

pub(super) type Words = &'static [(&'static str, &'static str)];

/// Those that hold one of some words (postconf(5)).
pub(super) const WORDS: &[(&[&str], Words)] = &[
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
