//! What other images call settings of Postfix (docker-mailserver, bokysan/postfix, Mailu, tozd/postfix,
//! juanluisbaptiste/postfix), as far as their names come here with our prefixes, and what is set in their place. Names without
//! a prefix of ours are other programs' and are left alone.

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
const PROTOCOLS: &str = "POSTFIX_INET_PROTOCOLS";
const LEVEL: &str = "MAILROOM_LOG_LEVEL";
const ZONE: &str = "TZ";

/// Their names behind `POSTFIX_` or `MAILROOM_`, and ours.
const NAMES: &[(&str, &str)] = &[
    ("ALLOWED_SENDER_DOMAINS", "POSTFIX_SMTPD_SENDER_RESTRICTIONS"),
    ("ALLOW_EMPTY_SENDER_DOMAINS", "POSTFIX_SMTPD_SENDER_RESTRICTIONS"),
    ("DEFAULT_RELAY_HOST", RELAY),
    ("DOMAIN", DOMAIN),
    ("DOMAINNAME", DOMAIN),
    ("DOMAINS", DOMAIN),
    ("ENABLE_TLS", SERVER_TLS),
    ("FQDN", HOSTNAME),
    ("HOST", HOSTNAME),
    ("HOSTNAME", HOSTNAME),
    ("HOSTNAMES", HOSTNAME),
    ("INET_PROTO", PROTOCOLS),
    ("LOG_LEVEL", LEVEL),
    ("MAILNAME", "POSTFIX_MYORIGIN"),
    ("MAIL_DOMAIN", DOMAIN),
    ("MAX_MESSAGE_SIZE", SIZE),
    ("MESSAGE_SIZE", SIZE),
    ("MY_HOSTNAME", HOSTNAME),
    ("MY_NETWORKS", NETWORKS),
    ("NETWORKS", NETWORKS),
    ("ORIGIN", "POSTFIX_MYORIGIN"),
    ("OVERRIDE_HOSTNAME", HOSTNAME),
    ("PERMIT_DOCKER", NETWORKS),
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
    ("RELAY_HOST", RELAY),
    ("RELAY_LOGIN", USERNAME),
    ("RELAY_NETS", NETWORKS),
    ("RELAY_PASSWD", PASSWORD),
    ("RELAY_PASSWORD", PASSWORD),
    ("RELAY_PORT", "POSTFIX_RELAYHOST=[host]:port"),
    ("RELAY_USER", USERNAME),
    ("RELAY_USERNAME", USERNAME),
    ("SASL_AUTH_ENABLE", LOGIN),
    ("SASL_PASSWORD", PASSWORD),
    ("SASL_USERNAME", USERNAME),
    ("AUTH_ENABLE", LOGIN),
    ("SERVER_HOSTNAME", HOSTNAME),
    ("SIZE_LIMIT", SIZE),
    ("SMARTHOST", RELAY),
    ("SMTPD_TLS", SERVER_TLS),
    ("SMTP_HOST", RELAY),
    ("SMTP_NETWORKS", NETWORKS),
    ("SMTP_PASSWORD", PASSWORD),
    ("SMTP_PORT", "POSTFIX_RELAYHOST=[host]:port"),
    ("SMTP_SERVER", RELAY),
    ("SMTP_TLS", CLIENT_TLS),
    ("SMTP_USERNAME", USERNAME),
    ("SUBNET", NETWORKS),
    ("TIMEZONE", ZONE),
    ("TLS_LEVEL", SERVER_TLS),
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
        assert_eq!(ours("MYHOSTNAME"), None);
    }
}
