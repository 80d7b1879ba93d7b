//! The words of lists of restrictions (postconf(5)): smtpd(8) answers all mail with 451 for one that it does not know, for a
//! table that it cannot open, and for one that lacks what belongs behind it. Pure.

use super::parameters::Parameters;
use crate::values::nearest;

/// The lists of smtpd(8).
pub(super) const LISTS: [&str; 8] = [
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_etrn_restrictions",
];

/// Those that stand alone, with the names that older versions had.
const ALONE: &[&str] = &[
    "check_recipient_maps",
    "check_relay_domains",
    "defer",
    "defer_if_permit",
    "defer_if_reject",
    "defer_unauth_destination",
    "permit",
    "permit_auth_destination",
    "permit_inet_interfaces",
    "permit_mx_backup",
    "permit_mynetworks",
    "permit_naked_ip_address",
    "permit_sasl_authenticated",
    "permit_tls_all_clientcerts",
    "permit_tls_clientcerts",
    "reject",
    "reject_authenticated_sender_login_mismatch",
    "reject_invalid_helo_hostname",
    "reject_invalid_hostname",
    "reject_known_sender_login_mismatch",
    "reject_maps_rbl",
    "reject_multi_recipient_bounce",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_hostname",
    "reject_non_fqdn_recipient",
    "reject_non_fqdn_sender",
    "reject_plaintext_session",
    "reject_sender_login_mismatch",
    "reject_unauth_destination",
    "reject_unauth_pipelining",
    "reject_unauthenticated_sender_login_mismatch",
    "reject_unknown_address",
    "reject_unknown_client",
    "reject_unknown_client_hostname",
    "reject_unknown_helo_hostname",
    "reject_unknown_hostname",
    "reject_unknown_recipient_domain",
    "reject_unknown_reverse_client_hostname",
    "reject_unknown_sender_domain",
    "reject_unlisted_recipient",
    "reject_unlisted_sender",
    "reject_unverified_recipient",
    "reject_unverified_sender",
    "warn_if_reject",
];

/// Those behind which a table stands.
const WITH_TABLE: &[&str] = &[
    "check_ccert_access",
    "check_client_a_access",
    "check_client_access",
    "check_client_mx_access",
    "check_client_ns_access",
    "check_etrn_access",
    "check_helo_a_access",
    "check_helo_access",
    "check_helo_mx_access",
    "check_helo_ns_access",
    "check_recipient_a_access",
    "check_recipient_access",
    "check_recipient_mx_access",
    "check_recipient_ns_access",
    "check_reverse_client_hostname_a_access",
    "check_reverse_client_hostname_access",
    "check_reverse_client_hostname_mx_access",
    "check_reverse_client_hostname_ns_access",
    "check_sasl_access",
    "check_sender_a_access",
    "check_sender_access",
    "check_sender_mx_access",
    "check_sender_ns_access",
];

/// Those whose OK is for who has a certificate or a login.
const WITH_PROOF: [&str; 3] = ["check_ccert_access", "check_etrn_access", "check_sasl_access"];

/// Whether a table stands behind a restriction.
pub(super) fn has_table(name: &str) -> bool {
    WITH_TABLE.contains(&name)
}

/// Whether the OK of its table is for strangers, too: that of a name server or a mail exchanger is not taken (postconf(5)).
pub(super) fn asks_of_strangers(name: &str) -> bool {
    let ends = ["_a_access", "_mx_access", "_ns_access"];
    has_table(name) && !WITH_PROOF.contains(&name) && !ends.iter().any(|end| name.ends_with(end))
}

/// Those behind which a word stands, and what it is.
const WITH_WORD: &[(&str, &str)] = &[
    ("permit_dnswl_client", "a domain"),
    ("permit_rhswl_client", "a domain"),
    ("reject_rbl", "a domain"),
    ("reject_rbl_client", "a domain"),
    ("reject_rhsbl_client", "a domain"),
    ("reject_rhsbl_helo", "a domain"),
    ("reject_rhsbl_recipient", "a domain"),
    ("reject_rhsbl_reverse_client", "a domain"),
    ("reject_rhsbl_sender", "a domain"),
    ("sleep", "a number of seconds"),
];

const POLICY: &str = "check_policy_service";

/// What is wrong with a list; `classes` are the user's own restrictions.
pub(super) fn wrong(words: &[String], classes: &[String], known: &Parameters) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let lower = word.to_ascii_lowercase();
        let name = lower.as_str();
        let reason = if WITH_TABLE.contains(&name) {
            table(word, words.next(), known)
        } else if name == POLICY {
            server(word, words.next())
        } else if let Some((_, what)) = WITH_WORD.iter().find(|(with, _)| *with == name) {
            behind(word, what, words.next())
        } else if ALONE.contains(&name) || classes.contains(word) || is_open(word) {
            None
        } else if word.contains(':') {
            known.check_table(word).err()
        } else {
            Some(unknown(word))
        };
        if reason.is_some() {
            return reason;
        }
    }
    None
}

/// A word that stands for others, or several in braces.
fn is_open(word: &str) -> bool {
    word.contains('$') || word.starts_with('{')
}

fn table(restriction: &str, word: Option<&String>, known: &Parameters) -> Option<String> {
    match word {
        Some(word) if is_open(word) => None,
        Some(word) if word.contains(':') => known.check_table(word).err(),
        Some(word) => Some(format!(
            "{restriction} needs a table behind it, as type:name; {word} has no type"
        )),
        None => Some(format!("{restriction} needs a table behind it, as type:name")),
    }
}

fn behind(restriction: &str, what: &str, word: Option<&String>) -> Option<String> {
    match word {
        Some(word) if word.contains(['<', '>']) => Some(format!(
            "{restriction} needs {what} behind it; {word} is a placeholder: write {what} in its place"
        )),
        Some(_) => None,
        None => Some(format!("{restriction} needs {what} behind it")),
    }
}

fn server(restriction: &str, word: Option<&String>) -> Option<String> {
    let is_server = |word: &String| is_open(word) || word.starts_with("inet:") || word.starts_with("unix:");
    (!word.is_some_and(is_server))
        .then(|| format!("{restriction} needs a server behind it, as inet:host:port or unix:path"))
}

fn unknown(word: &str) -> String {
    let names = ALONE.iter().chain(WITH_TABLE).chain([&POLICY]);
    let names = names.copied().chain(WITH_WORD.iter().map(|(name, _)| *name));
    let nearest = nearest(word, names).map(|nearest| format!("; did you mean {nearest}?"));
    format!(
        "{word} is not a restriction of smtpd (postconf(5)), which would refuse all mail for a while{}",
        nearest.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::super::parameters::split_words;
    use super::*;

    fn said(list: &str) -> String {
        let known = Parameters::parse("", "cidr\nlmdb\nstatic\n");
        wrong(&split_words(list), &["my_class".to_owned()], &known).unwrap_or_default()
    }

    #[test]
    fn words_that_smtpd_knows() {
        for right in [
            "",
            "permit_mynetworks, REJECT",
            "check_client_access cidr:/t/x, my_class, warn_if_reject reject_rbl_client dnsbl.test",
            "check_policy_service inet:127.0.0.1:10023, check_policy_service { unix:private/p, timeout=10s }",
            "sleep 1 reject_unauth_pipelining static:ok $x ${stress?{permit}} check_sender_access $maps",
        ] {
            assert_eq!(said(right), "", "{right}");
        }
        for (list, reason) in [
            ("reject_unauth_destinatoin", "did you mean reject_unauth_destination?"),
            ("check_client_access foo:/x", "foo: is not a type of tables"),
            ("permit, check_sender_access /x", "/x has no type"),
            ("permit check_sender_access", "needs a table"),
            ("check_policy_service foo", "inet:host:port"),
            ("check_policy_service", "inet:host:port"),
            ("reject_rbl_client", "needs a domain"),
            ("reject_rbl_client <list>", "<list> is a placeholder: write a domain"),
            ("foo:/x", "foo: is not a type of tables"),
        ] {
            assert!(said(list).contains(reason), "{list}: {}", said(list));
        }
    }
}
