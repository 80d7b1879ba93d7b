//! `mailroom check`: what is wrong, without starting or changing anything. Root is not needed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::draft;
use crate::certificates;
use crate::layout::{CERTIFICATE, KEY};
use crate::settings::Environment;
use crate::stage;

/// Prints a summary, or the report; returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    draft::run(environment, async |settings, draft, processes| {
        stage::stage(&draft.plan, &std::env::temp_dir(), processes).await?;
        let certificate = certificate(&settings.hostname)?;
        let set = settings.parameters.values().filter(|given| given.explicit).count()
            + settings.master.len()
            + settings.dovecot.len();
        println!(
            "all is well: {} for {}, {set} settings beside the defaults, {} files; Postfix and Dovecot accept them",
            settings.hostname,
            settings.domain,
            draft.plan.files.len()
        );
        println!("mynetworks = {}", draft.trust.mynetworks());
        settings
            .notes
            .iter()
            .chain(&draft.trust.notes)
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
