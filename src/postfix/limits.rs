//! How many sessions a port can have at once, and how many of them one client: where the second is not below the first, one
//! client can keep all others waiting.

use super::master_cf::{PROCESS_LIMIT, Service};
use super::probes::LISTENERS;
use super::restrictions::services;
use super::settings::Settings;

/// One smtpd(8) serves one session: the process limit of its service, or that of all, and the variable that says so. Nothing
/// where there is no limit.
pub(super) fn sessions(settings: &Settings, service: &Service) -> Option<(u64, String)> {
    let (limit, variable) = match service.fields[PROCESS_LIMIT].as_str() {
        "-" => (
            settings.parameters.get("default_process_limit")?.value.as_str(),
            "POSTFIX_DEFAULT_PROCESS_LIMIT".to_owned(),
        ),
        limit => (
            limit,
            format!(
                "MAILROOM_MASTER_{}_PROCESS_LIMIT",
                service.variable().to_ascii_uppercase()
            ),
        ),
    };
    let sessions = limit.parse().ok().filter(|sessions| *sessions > 0)?;
    Some((sessions, variable))
}

const OF_CLIENT: &str = "smtpd_client_connection_count_limit";
/// Its default (postconf(5)).
const OF_CLIENT_BY_DEFAULT: u64 = 50;

/// A line for each port that one client can fill. (Clients in smtpd_client_event_limit_exceptions, trusted ones by default,
/// can anyway.)
pub(super) fn notes(settings: &Settings) -> Vec<String> {
    let notes = services(settings, &["smtpd"]).filter_map(|scope| {
        let (_, port, _) = LISTENERS.iter().find(|(name, ..)| scope.service.is(name, "inet"))?;
        let (all, all_by) = sessions(settings, &scope.service)?;
        let (words, by) = scope.words(OF_CLIENT, 0);
        let one: u64 = match words.first() {
            Some(word) => word.parse().ok()?,
            None => OF_CLIENT_BY_DEFAULT,
        };
        let by = by.into_iter().next().unwrap_or_else(|| format!("POSTFIX_{}", OF_CLIENT.to_ascii_uppercase()));
        let without_limit = if one == 0 { ", which is no limit" } else { "" };
        (one == 0 || one >= all).then(|| {
            format!(
                "{by}={one}{without_limit}: one client may have all {all} sessions of port {port}, and all others wait: set it lower, \
                 or {all_by} higher"
            )
        })
    });
    notes.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::*;
    use crate::postfix::parameters::Parameters;

    fn notes_of(pairs: &[(&str, &str)]) -> Vec<String> {
        let known = Parameters::parse("smtpd_client_connection_count_limit = 50\n", "lmdb\n");
        let read = read_with(sources(environment(pairs)), known).unwrap();
        notes(&read.postfix)
    }

    #[test]
    fn one_client_must_not_fill_a_port() {
        assert!(notes_of(&[]).is_empty());
        assert!(notes_of(&[("POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT", "99")]).is_empty());
        let notes = notes_of(&[("POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT", "200")]);
        assert_eq!(
            notes[1],
            "POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT=200: one client may have all 100 sessions of port 587, and all others \
             wait: set it lower, or POSTFIX_DEFAULT_PROCESS_LIMIT higher"
        );
        assert_eq!(notes.len(), 3);
        assert_eq!(notes_of(&[("POSTFIX_DEFAULT_PROCESS_LIMIT", "50")]).len(), 3);
        let notes = notes_of(&[("POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT", "0")]);
        assert!(notes[0].contains("=0, which is no limit: one client may have all 100 sessions of port 25"));
    }

    #[test]
    fn each_service_by_itself() {
        let notes = notes_of(&[("MAILROOM_MASTER_SUBMISSIONS_INET_PROCESS_LIMIT", "20")]);
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].contains("port 465")
                && notes[0].ends_with("MAILROOM_MASTER_SUBMISSIONS_INET_PROCESS_LIMIT higher")
        );
        let name = "MAILROOM_MASTER_SMTP_INET_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT";
        let notes = notes_of(&[(name, "100")]);
        assert!(
            notes.len() == 1 && notes[0].starts_with(&format!("{name}=100: ")),
            "{notes:?}"
        );
        assert!(
            notes_of(&[
                ("MAILROOM_MASTER_SUBMISSION_INET", "off"),
                ("MAILROOM_MASTER_SUBMISSION_INET_PROCESS_LIMIT", "5")
            ])
            .is_empty()
        );
    }
}
