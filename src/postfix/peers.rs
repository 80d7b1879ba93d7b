//! What other images call settings of Postfix, as far as their names come here with our prefixes, and what is set in their
//! place: docker-mailserver (docs, "Environment Variables"), boky/postfix, Mailu ("Configuration reference"),
//! juanluisbaptiste/postfix, tozd/postfix (their READMEs), and compose files that put POSTFIX_ before such a name. Names
//! without a prefix of ours are other programs' and are left alone.

const LOGIN: &str = "MAILROOM_RELAYHOST_USERNAME with MAILROOM_RELAYHOST_PASSWORD, or POSTFIX_SMTP_SASL_PASSWORD_MAPS";
const USERNAME: &str = "MAILROOM_RELAYHOST_USERNAME";
const PASSWORD: &str = "MAILROOM_RELAYHOST_PASSWORD";
const RELAY: &str = "POSTFIX_RELAYHOST";
const HOSTNAME: &str = "POSTFIX_MYHOSTNAME";
const DOMAIN: &str = "POSTFIX_MYDOMAIN";
const NETWORKS: &str = "POSTFIX_MYNETWORKS";
const SIZE: &str = "POSTFIX_MESSAGE_SIZE_LIMIT";
const SERVER_TLS: &str = "POSTFIX_SMTPD_TLS_SECURITY_LEVEL";
const CLIENT_TLS: &str = "POSTFIX_SMTP_TLS_SECURITY_LEVEL";
const PROTOCOL_LEVEL: &str = "POSTFIX_SMTPD_TLS_PROTOCOLS";
const PROTOCOLS: &str = "POSTFIX_INET_PROTOCOLS";
const LEVEL: &str = "MAILROOM_LOG_LEVEL";
const ZONE: &str = "TZ";

/// Their names behind `POSTFIX_` or `MAILROOM_`, and ours.
const NAMES: &[(&str, &str)] = &[
    ("ALLOWED_DOMAINS", "POSTFIX_SMTPD_SENDER_RESTRICTIONS"),
    ("ALLOWED_SENDER_DOMAINS", "POSTFIX_SMTPD_SENDER_RESTRICTIONS"),
    ("ALLOW_EMPTY_SENDER_DOMAINS", "POSTFIX_SMTPD_SENDER_RESTRICTIONS"),
    ("AUTH_ENABLE", LOGIN),
    ("AUTOSET_HOSTNAME", HOSTNAME),
    ("DAGENT", "virtual_transport, which mailroom decides"),
    ("DEFAULT_RELAY_HOST", RELAY),
    ("DESTINATION", "POSTFIX_RELAY_DOMAINS"),
    ("DOMAIN", DOMAIN),
    ("DOMAINNAME", DOMAIN),
    ("DOMAINS", DOMAIN),
    ("ENABLE_TLS", SERVER_TLS),
    ("FALLBACK_RELAYHOST", "POSTFIX_SMTP_FALLBACK_RELAY"),
    ("FQDN", HOSTNAME),
    ("HOST", HOSTNAME),
    ("HOSTNAME", HOSTNAME),
    ("HOSTNAMES", HOSTNAME),
    ("INBOUND_DEBUGGING", "POSTFIX_DEBUG_PEER_LIST"),
    ("INBOUND_TLS_ENFORCE", SERVER_TLS),
    ("INBOUND_TLS_LEVEL", SERVER_TLS),
    ("INET_PROTO", PROTOCOLS),
    ("LOG_LEVEL", LEVEL),
    ("MAILNAME", HOSTNAME),
    ("MAIL_DOMAIN", DOMAIN),
    ("MASQUERADED_DOMAINS", "POSTFIX_MASQUERADE_DOMAINS"),
    ("MAX_MESSAGE_SIZE", SIZE),
    ("MESSAGE_SIZE", SIZE),
    ("MY_DESTINATION", "POSTFIX_RELAY_DOMAINS"),
    ("MY_HOSTNAME", HOSTNAME),
    ("MY_NETWORKS", NETWORKS),
    ("NETWORKS", NETWORKS),
    ("ORIGIN", "POSTFIX_MYORIGIN"),
    ("OUTBOUND_TLS_LEVEL", CLIENT_TLS),
    ("OVERRIDE_HOSTNAME", HOSTNAME),
    ("OVERWRITE_FROM", "POSTFIX_SENDER_CANONICAL_MAPS"),
    ("PERMIT_DOCKER", NETWORKS),
    (
        "REJECT_UNKNOWN_CLIENT_HOSTNAME",
        "reject_unknown_client_hostname in POSTFIX_SMTPD_CLIENT_RESTRICTIONS",
    ),
    ("RELAY", RELAY),
    ("RELAYHOST_AUTH", LOGIN),
    ("RELAYHOST_AUTH_ENABLE", LOGIN),
    ("RELAYHOST_LOGIN", USERNAME),
    ("RELAYHOST_PASS", PASSWORD),
    ("RELAYHOST_PASSWD", PASSWORD),
    ("RELAYHOST_PASSWORD", PASSWORD),
    ("RELAYHOST_PORT", "POSTFIX_RELAYHOST=[host]:port"),
    ("RELAYHOST_TLS_LEVEL", CLIENT_TLS),
    ("RELAYHOST_USER", USERNAME),
    ("RELAYHOST_USERNAME", USERNAME),
    ("RELAYNETS", NETWORKS),
    ("RELAYPASSWORD", PASSWORD),
    ("RELAYUSER", USERNAME),
    ("RELAY_HOST", RELAY),
    ("RELAY_HOSTNAME", HOSTNAME),
    ("RELAY_LOGIN", USERNAME),
    ("RELAY_NETS", NETWORKS),
    ("RELAY_NETWORKS", NETWORKS),
    ("RELAY_PASS", PASSWORD),
    ("RELAY_PASSWD", PASSWORD),
    ("RELAY_PASSWORD", PASSWORD),
    ("RELAY_PORT", "POSTFIX_RELAYHOST=[host]:port"),
    ("RELAY_USER", USERNAME),
    ("RELAY_USERNAME", USERNAME),
    ("SASL_AUTH_ENABLE", LOGIN),
    ("SASL_PASSWD", LOGIN),
    ("SASL_PASSWORD", PASSWORD),
    ("SASL_USER", USERNAME),
    ("SASL_USERNAME", USERNAME),
    ("SERVER_HOSTNAME", HOSTNAME),
    ("SIZE_LIMIT", SIZE),
    ("SMARTHOST", RELAY),
    ("SMTPD_TLS", SERVER_TLS),
    ("SMTP_AUTH", LOGIN),
    ("SMTP_HEADER_TAG", "POSTFIX_SMTP_HEADER_CHECKS"),
    ("SMTP_HOST", RELAY),
    ("SMTP_HOSTNAME", HOSTNAME),
    ("SMTP_NETWORKS", NETWORKS),
    ("SMTP_PASS", PASSWORD),
    ("SMTP_PASSWORD", PASSWORD),
    ("SMTP_PORT", "POSTFIX_RELAYHOST=[host]:port"),
    ("SMTP_SERVER", RELAY),
    ("SMTP_TLS", CLIENT_TLS),
    ("SMTP_TLS_CLIENT", CLIENT_TLS),
    ("SMTP_USER", USERNAME),
    ("SMTP_USERNAME", USERNAME),
    ("SUBNET", NETWORKS),
    ("TIMEZONE", ZONE),
    ("TLS_AUTH_ONLY", "POSTFIX_SMTPD_TLS_AUTH_ONLY"),
    ("TLS_CIPHERS", "POSTFIX_SMTPD_TLS_CIPHERS"),
    ("TLS_LEVEL", PROTOCOL_LEVEL),
    ("TLS_PROTOCOLS", PROTOCOL_LEVEL),
    ("TLS_SECURITY", SERVER_TLS),
    ("TLS_SECURITY_LEVEL", SERVER_TLS),
];

/// Parameters of main.cf that postconf(5) has, by which people mean a relay login, or which are on their way out.
const OLD: &[(&str, &str)] = &[("SMTPD_USE_TLS", SERVER_TLS), ("SMTP_USE_TLS", CLIENT_TLS)];

/// What to set in place of another image's name; `rest` is that behind the prefix.
pub(super) fn ours(rest: &str) -> Option<&'static str> {
    let rest = rest.to_ascii_uppercase();
    let rest = rest
        .strip_suffix("_FILE")
        .filter(|base| !base.is_empty())
        .unwrap_or(&rest);
    let mut names = NAMES.iter().chain(OLD);
    names.find(|(name, _)| *name == rest).map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_images() {
        assert_eq!(ours("relay_host"), Some(RELAY));
        assert_eq!(ours("RELAYHOST_PASSWORD_FILE"), Some(PASSWORD));
        assert_eq!(ours("SMTPD_TLS"), Some(SERVER_TLS));
        assert_eq!(ours("MAILNAME"), Some(HOSTNAME));
        assert_eq!(ours("MYHOSTNAME"), None);
        assert!(NAMES.is_sorted_by(|(one, _), (other, _)| one < other));
    }
}
