//! The main.cf parameters: those that the installed Postfix knows, and those that Mailroom decides itself.

use std::collections::BTreeMap;

/// The names of main.cf parameters, found without regard to case: `SMTP_TLS_CAFILE` is `smtp_tls_CAfile`.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads what `postconf -d` prints: `name = value` lines.
    pub fn parse(postconf_d: &str) -> Parameters {
        let names = postconf_d
            .lines()
            .filter_map(|line| line.split_once(" ="))
            .map(|(name, _)| name);
        Parameters(names.map(|name| (name.to_ascii_lowercase(), name.to_owned())).collect())
    }

    /// The parameter's own name, for a name in any case.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

const LAYOUT: &str = "the image's layout depends on it";
const MAILBOXES: &str = "accounts and mailboxes are provisioned together with Dovecot's";
const LOGIN: &str = "logins are checked by Dovecot through this socket";
const LOGS: &str = "all logs go through PID 1 to stdout and /var/log";
const CERTIFICATE: &str = "both daemons serve the certificate in /etc/dovecot/certs; mount your own there";

/// Parameters that cannot be set, and why.
const OWNED: &[(&str, &str)] = &[
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
    (
        "mydestination",
        "the primary domain's mailboxes are virtual; nothing is delivered to system users",
    ),
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

    #[test]
    fn names_are_found_in_any_case() {
        let parameters = Parameters::parse("myhostname = a.b\nsmtp_tls_CAfile =\nbroken\n");
        assert_eq!(parameters.find("SMTP_TLS_CAFILE"), Some("smtp_tls_CAfile"));
        assert_eq!(parameters.find("broken"), None);
        assert_eq!(parameters.names().count(), 2);
    }
}
