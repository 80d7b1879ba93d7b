//! `MAILROOM_SENDER_CHECK=off`: a login sends under any sender address, on every port where there are logins.

use super::main_cf::Given;
use super::settings::Settings;

/// The variable.
pub(super) const SENDER_CHECK: &str = "MAILROOM_SENDER_CHECK";

/// The lists that hold the check, of port 25 and of the mail clients' ports (main.cf).
const LISTS: [&str; 2] = ["mua_sender_restrictions", "smtpd_sender_restrictions"];

/// The restrictions that refuse a login the address of another (postconf(5)).
pub(super) const CHECKS: [&str; 3] = [
    "reject_authenticated_sender_login_mismatch",
    "reject_known_sender_login_mismatch",
    "reject_sender_login_mismatch",
];

/// Empties our lists, where it is off. Lists of the user's own stay what they are.
pub(super) fn apply(settings: &mut Settings) {
    if settings.submission.sender_check {
        return;
    }
    for list in LISTS {
        settings.parameters.entry(list.to_owned()).or_insert_with(|| Given {
            variable: SENDER_CHECK.to_owned(),
            value: String::new(),
            explicit: true,
        });
    }
}

/// What a user should know.
pub(super) fn note(settings: &Settings) -> Option<String> {
    (!settings.submission.sender_check).then(|| {
        format!("{SENDER_CHECK}=off: each account may send under any sender address, those of others included")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::*;
    use crate::postfix::parameters::Parameters;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let known = "smtpd_sender_restrictions =\nsmtpd_recipient_restrictions =\nsmtpd_restriction_classes =\n";
        let read = read_with(sources(environment(pairs)), Parameters::parse(known, ""));
        read.map(|whole| whole.postfix).map_err(|report| report.to_string())
    }

    const OFF: (&str, &str) = (SENDER_CHECK, "off");
    const OWN: &str = "POSTFIX_SMTPD_SENDER_RESTRICTIONS";

    #[test]
    fn off_empties_our_lists_alone() {
        let on = read(&[]).unwrap();
        assert!(LISTS.iter().all(|list| !on.parameters.contains_key(*list)) && note(&on).is_none());
        let off = read(&[OFF]).unwrap();
        assert!(LISTS.iter().all(|list| off.parameters[*list].value.is_empty()) && note(&off).is_some());
        let own = read(&[OFF, (OWN, "reject_non_fqdn_sender, $mua_sender_restrictions")]).unwrap();
        assert!(own.parameters[LISTS[1]].value.starts_with("reject_non_fqdn_sender"));
    }

    #[test]
    fn a_check_in_a_list_of_the_users_own_contradicts_it() {
        for (name, value) in [
            (OWN, CHECKS[0]),
            ("POSTFIX_MUA_SENDER_RESTRICTIONS", CHECKS[1]),
            ("POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS", CHECKS[2]),
            ("MAILROOM_MASTER_SMTP_INET_SMTPD_SENDER_RESTRICTIONS", CHECKS[0]),
        ] {
            let said = read(&[OFF, (name, value)]).unwrap_err();
            assert!(
                said.contains(name) && said.contains("MAILROOM_SENDER_CHECK=off"),
                "{said}"
            );
            assert!(read(&[(name, value)]).is_ok(), "{name}");
        }
        assert!(read(&[OFF, (OWN, "reject_unauthenticated_sender_login_mismatch")]).is_ok());
    }
}
