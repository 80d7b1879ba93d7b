//! `mailroom check`: what is wrong, without starting or changing anything. Root is not needed.

use super::decide;
use super::output::print;
use crate::facts::rights::Rights;
use crate::report::Report;
use crate::settings::Environment;
use crate::values::counted;

/// Prints a summary, or the report; returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    decide::run(environment, |desired, staged| {
        let (site, notices) = (&desired.site, &desired.notices);
        if let Some(expired) = desired.certificate.expired() {
            return Err(Report::of(vec![expired], &desired.secrets).into());
        }
        if !desired.troubles.is_empty() {
            return Err(Report::of(desired.troubles.clone(), &desired.secrets).into());
        }
        print(format_args!(
            "all is well: {} for {}, {} set, {} files; Postfix and Dovecot accept them",
            site.hostname,
            site.domain,
            settings(notices.given),
            // The list for the health check is written beside the plan.
            desired.plan.files.len()
                + 1
                + desired
                    .account_files
                    .iter()
                    .map(|files| files.files().len())
                    .sum::<usize>()
        ));
        print(format_args!("mynetworks = {}", desired.trust.mynetworks()));
        let of_certificate = desired.certificate.warnings(&site.hostname);
        let unreadable = desired.certificate.unreadable();
        let unreadable = unreadable.map(|path| format!("Not checked: {path}, which only root can read"));
        let refused = Rights::gather().refusal();
        let refused = refused.map(|why| format!("Not checked: a start, which would end with exit code 78 here: {why}"));
        let notes = notices.notes.iter().chain(&staged.warnings);
        let notes = notes.chain(&of_certificate).chain(&unreadable).chain(&refused);
        notes.for_each(print);
        Ok(())
    })
}

fn settings(given: usize) -> String {
    match given {
        0 => "nothing".to_owned(),
        given => counted(given, "setting", "settings"),
    }
}
