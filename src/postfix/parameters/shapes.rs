//! What the name of a parameter says of its value: a list, or something that may be none.

/// Ends of the names of parameters that hold lists. Such a list may be written on several lines.
const LISTS: &[&str] = &[
    "_checks",
    "_classes",
    "_clients",
    "_destination",
    "_destinations",
    "_domains",
    "_exclusions",
    "_features",
    "_filter",
    "_hosts",
    "_interfaces",
    "_keywords",
    "_list",
    "_maps",
    "_milters",
    "_networks",
    "_options",
    "_protocols",
    "_recipients",
    "_restrictions",
    "_senders",
    "_sites",
    "mydestination",
    "mynetworks",
];

/// Ends of the names of those that name a host, a table, a program or an address, or nothing.
const PERHAPS_NONE: &[&str] = &[
    "_bcc",
    "_bind_address",
    "_bind_address6",
    "_checks",
    "_domains",
    "_filter",
    "_local_domain",
    "_maps",
    "_milters",
    "_relay",
    "_restrictions",
    "fallback_transport",
    "proxy_interfaces",
    "relayhost",
];

/// Whether a parameter holds a list.
pub fn is_list(name: &str) -> bool {
    LISTS.iter().any(|end| name.ends_with(end))
}

/// Whether it is left empty for none.
pub(super) fn may_be_none(name: &str) -> bool {
    PERHAPS_NONE.iter().any(|end| name.ends_with(end))
}

/// Parameters that Postfix refuses, or takes with a warning that is a mistake to us: postconf(5) says "obsolete" of them, or
/// that they are read-only.
const NOT_TO_BE_SET: &[&str] = &[
    "disable_dns_lookups",
    "lmtp_cname_overrides_servername",
    "lmtp_enforce_tls",
    "lmtp_tls_per_site",
    "lmtp_use_tls",
    "mail_release_date",
    "mail_version",
    "permit_mx_backup_networks",
    "postscreen_blacklist_action",
    "postscreen_dnsbl_whitelist_threshold",
    "postscreen_whitelist_interfaces",
    "process_id",
    "process_name",
    "service_name",
    "smtp_cname_overrides_servername",
    "smtp_enforce_tls",
    "smtp_tls_per_site",
    "smtp_use_tls",
    "smtpd_enforce_tls",
    "smtpd_use_tls",
    "tlsproxy_client_enforce_tls",
    "tlsproxy_client_per_site",
    "tlsproxy_client_use_tls",
    "tlsproxy_enforce_tls",
    "tlsproxy_use_tls",
];

/// Whether a name may be suggested: it would not be refused itself.
pub fn may_be_set(name: &str) -> bool {
    super::owned(name).is_none() && !NOT_TO_BE_SET.contains(&name)
}
