//! Settings of Dovecot 2.3 that 2.4 does not know, and what is set in their place (doc.dovecot.org, "Upgrading Dovecot CE from
//! 2.3 to 2.4").

const CERTIFICATE: &str = "both daemons serve the certificate in /etc/dovecot/certs; mount your own there";
const MAILBOXES: &str = "it is mail_driver and mail_path now, and mailroom decides both: mail is in /var/mail";
const CLEARTEXT: &str = "it is auth_allow_cleartext now, with the opposite meaning, and mailroom decides it: trusted networks \
                         alone may send passwords in clear; POSTFIX_MYNETWORKS names them";
const PROTOCOLS: &str = "it is ssl_min_protocol now, such as TLSv1.2";
const GONE: &str = "it is gone, with nothing in its place";

/// The old name, and what is to be said of it.
const OLD: &[(&str, &str)] = &[
    (
        "auth_default_realm",
        "it is auth_default_domain now, and mailroom decides it: accounts are provisioned together with Postfix's",
    ),
    (
        "auth_username_translation",
        "auth_username_format does that now, and mailroom decides it",
    ),
    (
        "auth_worker_max_count",
        "it is process_limit of the service auth-worker now: DOVECOT_SERVICE__AUTH_WORKER__PROCESS_LIMIT",
    ),
    ("dict", "it is a block dict_server now"),
    ("director_servers", "the director is gone"),
    ("disable_plaintext_auth", CLEARTEXT),
    (
        "imap_id_log",
        "what clients say in ID is an event now, imap_id_received",
    ),
    (
        "inet_protocols",
        "it is Postfix's: POSTFIX_INET_PROTOCOLS, which Dovecot follows",
    ),
    ("mail_attachment_dir", "it is mail_ext_attachment_path now"),
    ("mail_attachment_min_size", "it is mail_ext_attachment_min_size now"),
    ("mail_location", MAILBOXES),
    ("replication_max_conns", "replication is gone"),
    ("service_count", "it is restart_request_count now"),
    ("ssl_alt_cert", "it is ssl_server_alt_cert_file now"),
    ("ssl_alt_key", "it is ssl_server_alt_key_file now"),
    ("ssl_ca", "it is ssl_server_ca_file now, which takes a path without <"),
    ("ssl_cert", CERTIFICATE),
    ("ssl_cert_username_field", "it is ssl_server_cert_username_field now"),
    (
        "ssl_client_cert",
        "it is ssl_client_cert_file now, which takes a path without <",
    ),
    (
        "ssl_client_key",
        "it is ssl_client_key_file now, which takes a path without <",
    ),
    ("ssl_dh", "it is ssl_server_dh_file now, which takes a path without <"),
    ("ssl_dh_parameters_length", GONE),
    ("ssl_key", CERTIFICATE),
    ("ssl_key_password", "it is ssl_server_key_password now"),
    ("ssl_parameters_regenerate", GONE),
    (
        "ssl_prefer_server_ciphers",
        "it is ssl_server_prefer_ciphers now, server or client",
    ),
    ("ssl_protocols", PROTOCOLS),
    ("ssl_require_crl", "it is ssl_server_require_crl now"),
    ("ssl_verify_client_cert", "it is ssl_server_request_client_cert now"),
    ("verbose_ssl", "it is log_debug now: category=ssl"),
];

/// What is to be said of a name of Dovecot 2.3.
pub(super) fn in_place_of(name: &str) -> Option<String> {
    let (_, now) = OLD.iter().find(|(old, _)| *old == name)?;
    Some(format!("is a setting of Dovecot 2.3: {now}"))
}

/// A value that Dovecot 2.3 took for a file's content.
pub(super) fn names_a_file_by_bracket(name: &str, value: &str) -> Option<String> {
    let path = value
        .strip_prefix('<')
        .map(str::trim)
        .filter(|path| path.starts_with('/'))?;
    let must = if name.ends_with("_file") || name.ends_with("_path") {
        "the setting takes the path itself"
    } else {
        "DOVECOT_<SETTING>_FILE takes the path of a file that holds the value"
    };
    Some(format!("< before a path is of Dovecot 2.3; {must}: {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_2_3_lead_on() {
        for (name, said) in [
            ("disable_plaintext_auth", "POSTFIX_MYNETWORKS"),
            ("mail_location", "mail_path"),
            ("ssl_cert", "/etc/dovecot/certs"),
            ("ssl_protocols", "ssl_min_protocol"),
        ] {
            assert!(in_place_of(name).is_some_and(|reason| reason.contains(said)), "{name}");
        }
        assert_eq!(in_place_of("mail_max_userip_connections"), None);
        assert!(
            names_a_file_by_bracket("ssl_server_ca_file", "</ca.pem").is_some_and(|said| said.ends_with(": /ca.pem"))
        );
        assert_eq!(names_a_file_by_bracket("login_greeting", "<hello>"), None);
    }
}
