//! `mailroom check`: what is wrong, without starting or changing anything. Root is not needed.

use super::draft;
use crate::settings::Environment;
use crate::stage;

/// Prints a summary, or the report; returns the exit code.
pub fn run(environment: &Environment) -> anyhow::Result<u8> {
    draft::run(environment, async |settings, draft, processes| {
        stage::stage(&draft.plan, &std::env::temp_dir(), processes).await?;
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
            .for_each(|note| println!("{note}"));
        Ok(())
    })
}
