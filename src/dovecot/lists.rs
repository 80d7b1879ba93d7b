//! Settings that hold several words (Dovecot's boolean lists, `doveconf -a` of 2.4): such a list may be written on several
//! lines. Those that hold pairs, such as `userdb_fields`, no variable can set as a whole.

/// Their names; those of a block begin with the block's.
const LISTS: &[&str] = &[
    "acl_groups",
    "apparmor_hats",
    "auth_mechanisms",
    "auth_realms",
    "doveadm_allowed_commands",
    "fts_header_excludes",
    "fts_header_includes",
    "haproxy_trusted_networks",
    "imap_capability",
    "imap_client_workarounds",
    "imapc_features",
    "imapc_sasl_mechanisms",
    "language_filters",
    "language_tokenizers",
    "ldap_auth_sasl_mechanisms",
    "listen",
    "lmtp_client_workarounds",
    "login_plugins",
    "login_source_ips",
    "login_trusted_networks",
    "mail_access_groups",
    "mail_always_cache_fields",
    "mail_attachment_detection_options",
    "mail_cache_fields",
    "mail_log_events",
    "mail_log_fields",
    "mail_never_cache_fields",
    "mail_plugins",
    "mailbox_special_use",
    "managesieve_client_workarounds",
    "managesieve_notify_capability",
    "managesieve_sieve_capability",
    "mbox_read_locks",
    "mbox_write_locks",
    "metric_exporter_include",
    "metric_fields",
    "oauth2_audience",
    "oauth2_issuers",
    "oauth2_scope",
    "passdb_mechanisms_filter",
    "pop3_client_workarounds",
    "pop3c_features",
    "protocols",
    "service_extra_groups",
    "sieve_extensions",
    "sieve_global_extensions",
    "sieve_implicit_extensions",
    "sieve_script_cause",
    "submission_backend_capabilities",
    "submission_client_workarounds",
    "valid_chroot_dirs",
];

/// Whether a setting in these blocks, from outside, holds a list.
pub(super) fn is_one(blocks: &[(String, String)], name: &str) -> bool {
    let in_block = blocks.last().map(|(block, _)| format!("{block}_{name}"));
    LISTS.contains(&name) || in_block.is_some_and(|name| LISTS.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_at_the_top_and_in_blocks() {
        let within = |block: &str| vec![(block.to_owned(), "x".to_owned())];
        assert!(is_one(&[], "mail_plugins") && is_one(&within("protocol"), "mail_plugins"));
        assert!(is_one(&within("service"), "extra_groups") && !is_one(&[], "extra_groups"));
        assert!(!is_one(&[], "ssl_cipher_list") && !is_one(&[], "login_greeting"));
    }
}
