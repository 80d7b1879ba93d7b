//! The first steps of the road, which `run`, `check`, `render` and a reload share: sources, settings, facts.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::facts::{Facts, PRIMARY_DOMAIN_RECORD};
use crate::postfix::{self, parameters::Parameters};
use crate::settings::{Environment, Mistake, Report, Settings, needs_parameters, table};
use crate::sources;
use crate::system::processes::{Output, Processes};
use crate::user_tables::{self, UserFiles};
use crate::values::kind::Value;

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// What is set.
    pub settings: Settings,
    /// What is there.
    pub facts: Facts,
    /// Files of the user's own that Postfix reads.
    pub files: UserFiles,
}

/// Reads everything. Mistakes of the user's come back as a [`Report`], inside the error.
pub async fn read(environment: &Environment, processes: &Processes) -> anyhow::Result<Read> {
    let known = parameters(environment, processes).await?;
    let sources = sources::gather(environment, &known);
    let settings = Settings::read(&sources, &known)?;
    let facts = Facts::gather(environment);
    let mut files = user_tables::find(&settings, open_relay_is_allowed(&sources.environment));
    let mut mistakes = std::mem::take(&mut files.mistakes);
    mistakes.extend(other_primary_domain(&settings, &facts));
    if mistakes.is_empty() {
        Ok(Read { settings, facts, files })
    } else {
        Err(Report(mistakes).without(&settings.secrets).into())
    }
}

fn open_relay_is_allowed(environment: &Environment) -> bool {
    const NAME: &str = "MAILROOM_ALLOW_OPEN_RELAY";
    table::variable(NAME)
        .zip(environment.get(NAME))
        .is_some_and(|(variable, given)| variable.kind.parse(given) == Ok(Value::Switch(true)))
}

/// The parameters of the installed Postfix; it is asked only where something needs them.
async fn parameters(environment: &Environment, processes: &Processes) -> anyhow::Result<Parameters> {
    if !needs_parameters(environment) && !Path::new(sources::DROP_INS).exists() {
        return Ok(Parameters::default());
    }
    let (defaults, types) = tokio::join!(postconf("-d", processes), postconf("-m", processes));
    Ok(Parameters::parse(&defaults?.stdout, &types?.stdout))
}

async fn postconf(what: &str, processes: &Processes) -> std::io::Result<Output> {
    let mut command = Command::new("/usr/sbin/postconf");
    command.args(["-c", postfix::META_DIRECTORY, what]);
    processes.output(&mut command, Duration::from_secs(10)).await
}

/// With another primary domain the short home directories would hand one user's mail to another.
fn other_primary_domain(settings: &Settings, facts: &Facts) -> Option<Mistake> {
    let recorded = facts
        .recorded_domain
        .as_ref()
        .filter(|recorded| **recorded != settings.domain)?;
    let reason = format!(
        "the mailboxes in /var/mail belong to {recorded}: set POSTFIX_MYDOMAIN={recorded}, or start with another volume \
         (to hand them over to {} on purpose, remove {PRIMARY_DOMAIN_RECORD})",
        settings.domain
    );
    let given = settings.parameters.get("mydomain");
    Some(Mistake {
        variable: given.map_or("POSTFIX_MYDOMAIN", |given| &given.variable).to_owned(),
        value: settings.domain.clone(),
        reason,
    })
}
