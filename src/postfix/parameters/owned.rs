//! The parameters that Mailroom decides itself, and why.

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
