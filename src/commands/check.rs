//! `mailroom check`: what is wrong, without starting or changing anything. Root is not needed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::decide;
use crate::certificates;
use crate::layout::{CERTIFICATE, KEY};
use crate::settings::Environment;

/// Prints a summary, or the report; returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    decide::run(environment, |desired, _| {
        let (site, notices) = (&desired.site, &desired.notices);
        let certificate = certificate(&site.hostname)?;
        println!(
            "all is well: {} for {}, {} settings beside the defaults, {} files; Postfix and Dovecot accept them",
            site.hostname,
            site.domain,
            notices.given,
            // The list for the health check is written beside the plan.
            desired.plan.files.len() + 1
        );
        println!("mynetworks = {}", desired.trust.mynetworks());
        notices
            .notes
            .iter()
            .chain(&certificate)
            .for_each(|note| println!("{note}"));
        Ok(())
    })
}

/// What is to be said of the pair that is there, if anything. One that is yet to be made cannot be wrong.
fn certificate(hostname: &str) -> anyhow::Result<Option<String>> {
    let (certificate, key) = (Path::new(CERTIFICATE), Path::new(KEY));
    if !certificate.exists() && !key.exists() {
        return Ok(None);
    }
    if File::open(key).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        return Ok(Some(format!("Not checked: {KEY}, which only root can read")));
    }
    let kept = certificates::keep(certificate, key, hostname)?;
    Ok(kept.news.filter(|_| kept.files.is_empty()))
}
