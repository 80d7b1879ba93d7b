//! All that is known of Postfix: its settings, its files, its own checkers, how it is run, how it is probed and what its
//! log lines mean.

mod aliases;
mod caches;
mod catch_all;
mod check;
mod checks;
mod client_certificates;
mod credentials;
mod delivery;
mod destinations;
mod drop_ins;
mod external;
mod files;
mod grammar;
mod leftovers;
mod limits;
mod log_counts;
mod log_fields;
mod log_lines;
mod log_reasons;
mod lookups;
mod main_cf;
mod master_cf;
mod master_settings;
mod open_tables;
mod own_services;
mod parameters;
mod paths;
mod peers;
mod probes;
pub mod queue;
mod relay;
mod relay_login;
mod relay_only;
mod reload_guard;
mod restriction_words;
mod restrictions;
mod rules;
mod sender_check;
mod service;
mod settings;
mod submission_rate;
mod tables;
mod trace;
mod user_tables;
mod variables;

#[cfg(test)]
mod any_environment;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::catch_all::CatchAll;
use self::check::PostfixChecker;
use self::delivery::Delivery;
use self::destinations::Unresolved;
use self::grammar::Known;
use self::parameters::Parameters;
use self::settings::Settings;
use self::tables::Tables;
use self::user_tables::UserFiles;
use crate::daemon::{Basis, Configured, Daemon, Grammar, Part, Set, Shape, Work};
use crate::facts::Facts;
use crate::health::Named;
use crate::layout::QUEUE_DIRECTORY;
use crate::logs::lines::{LogLines, Meaning};
use crate::probes::Probe;
use crate::report::Mistake;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Values, gather::DROP_INS};
use crate::site::{SIEVE, Site};
use crate::system::processes::Processes;
use crate::values::kind::Kind;

/// Pristine meta files (dynamicmaps.cf, postfix-files) and a main.cf with nothing in it, filled when the image is
/// built: /etc/postfix is a volume and may be empty, or another image's.
const META_DIRECTORY: &str = "/usr/share/mailroom/postfix";

/// Postfix.
#[derive(Debug)]
pub struct Postfix;

impl Daemon for Postfix {
    fn variables(&self) -> &'static [Variable] {
        variables::VARIABLES
    }

    fn shapes(&self) -> &'static [Shape] {
        &[
            Shape {
                name: "POSTFIX_<PARAMETER>",
                prefix: variables::PARAMETER,
                help: "Any other parameter of main.cf (postconf(5)), in any case.",
                schema: "A parameter of main.cf (postconf(5)), in any case.",
            },
            Shape {
                name: "MAILROOM_MASTER_<SERVICE>_<TYPE>[_<PARAMETER>]",
                prefix: variables::MASTER,
                help: "A service of master.cf: off, its process limit, an -o option.",
                schema: "A service of master.cf.",
            },
        ]
    }

    fn owned_settings(&self) -> String {
        parameters::owned_markdown()
    }

    fn log_lines(&self) -> LogLines {
        log_lines::LOG_LINES
    }

    fn explain<'a>(&'a self, meaning: Meaning, processes: &'a Processes) -> Work<'a, Option<String>> {
        match meaning {
            Meaning::NoLogin => Box::pin(relay_login::explain(processes)),
            Meaning::NoMailbox => Box::pin(relay::explain_no_mailbox(processes)),
            Meaning::ReloadBegins | Meaning::Reloaded | Meaning::Throttled(_) => Box::pin(async { Ok(None) }),
        }
    }

    fn learn<'a>(
        &'a self,
        environment: &'a Environment,
        table: &'a Table,
        processes: &'a Processes,
    ) -> Work<'a, Box<dyn Grammar>> {
        Box::pin(async move {
            let known = if needs_parameters(environment, table) || Path::new(DROP_INS).exists() {
                check::known_parameters(processes).await?
            } else {
                Parameters::default()
            };
            let grammar: Box<dyn Grammar> = Box::new(Known(known));
            Ok(grammar)
        })
    }
}

/// Whether the installed Postfix has to be asked for its parameters: only where something besides the table is set, or a
/// table of some type is named.
fn needs_parameters(environment: &Environment, table: &Table) -> bool {
    let names_tables = |variable: &Variable, value: &str| {
        matches!(variable.kind, Kind::Text | Kind::Networks) && variable.parameter.is_some() && value.contains(':')
    };
    environment.iter().any(|(name, value)| {
        let is_ours = name.starts_with(variables::PARAMETER) || name.starts_with(variables::MASTER);
        is_ours
            && table
                .variable(table.own_name(name))
                .is_none_or(|variable| names_tables(variable, value))
    })
}

/// The grammar of a Postfix that has these parameters and types of tables, as postconf(1) prints them.
#[cfg(test)]
pub(crate) fn grammar(postconf_d: &str, postconf_m: &str) -> Box<dyn Grammar> {
    Box::new(Known(Parameters::parse(postconf_d, postconf_m)))
}

/// Postfix's settings, and what the files of the user's own hold that they name.
#[derive(Debug)]
struct Configuration {
    settings: Settings,
    files: UserFiles,
    catch_all: Option<CatchAll>,
    /// What a user should know of a relay alone.
    relay_only: Option<String>,
}

impl Configuration {
    fn new(settings: Settings) -> Configuration {
        Configuration {
            settings,
            files: UserFiles::default(),
            catch_all: None,
            relay_only: None,
        }
    }
}

impl Configured for Configuration {
    fn examine(&mut self, site: &Site, values: &Values) -> anyhow::Result<Vec<Mistake>> {
        self.settings.type_values(values)?;
        sender_check::apply(&mut self.settings);
        let mut mistakes = checks::all(&self.settings, site, values);
        let (files, wrong) = user_tables::find(&self.settings, site);
        self.files = files;
        mistakes.extend(wrong);
        mistakes.extend(client_certificates::wrong(&self.settings));
        mistakes.extend(aliases::wrong(&self.settings, site));
        mistakes.extend(relay::wrong(&self.settings));
        mistakes.extend(destinations::wrong(&self.settings, site));
        mistakes.extend(relay_only::wrong(&self.settings, &self.files, site));
        self.settings.use_relay_login(values);
        relay::complete(&mut self.settings);
        aliases::complete(&mut self.settings, &self.files, site);
        self.relay_only = relay_only::apply(&mut self.settings, site);
        self.catch_all = CatchAll::apply(&mut self.settings, site);
        Ok(mistakes)
    }

    fn count(&self) -> usize {
        self.settings.given
    }

    fn settings(&self) -> Vec<Set> {
        let set = |(name, given): (&String, &main_cf::Given)| Set {
            name: name.clone(),
            origin: given.variable.clone(),
            value: given.value.clone(),
        };
        self.settings.parameters.iter().map(set).collect()
    }

    fn notes(&self) -> Vec<String> {
        let shadowed = master_settings::shadowed(&self.settings.parameters, &self.settings.master);
        let kept = self.catch_all.iter().map(CatchAll::note);
        let notes = self.relay_only.iter().cloned().chain(shadowed);
        let notes = notes
            .chain(relay::notes(&self.settings))
            .chain(sender_check::note(&self.settings));
        let waiting = checks::waits_for_flush(&self.settings);
        let notes = notes.chain(limits::notes(&self.settings)).chain(waiting);
        notes.chain(kept).collect()
    }

    /// smtpd(8) asks for one and a half times the message limit (queue_minfree in postconf(5)); postdrop(1) has a setgid bit.
    fn warnings(&self, site: &Site, facts: &Facts) -> Vec<String> {
        let needed = site.message_size_limit / 2 * 3;
        let space = facts.queue_space.filter(|space| *space < needed);
        let space = space.map(|space| {
            format!(
                "Warning: {QUEUE_DIRECTORY} has {space} bytes free; Postfix takes no mail with fewer than {needed}, which \
                 is 1.5 times POSTFIX_MESSAGE_SIZE_LIMIT: free some, or set a smaller limit"
            )
        });
        let setgid = facts.rights.no_new_privileges.then(|| {
            "Warning: no-new-privileges is set, so that postdrop(1) does not get its group: inside this container sendmail \
             works for root alone and waits for ever for all others, who can use SMTP on localhost"
                .to_owned()
        });
        let closed = site.sieve && probes::is_off(&self.settings, "smtp");
        let closed = closed.then(|| {
            format!(
                "Warning: {SIEVE}=on: what filters send (redirect, vacation) goes to port 25 on localhost, which is off"
            )
        });
        space.into_iter().chain(setgid).chain(closed).collect()
    }

    /// master(8) does not close or open listeners for a reload.
    fn read_at_start(&self, site: &Site) -> Option<(&'static str, String)> {
        let interfaces = self
            .settings
            .parameters
            .get("inet_interfaces")
            .map(|given| given.value.as_str());
        let value = format!("{interfaces:?} {:?}", site.protocols);
        Some(("inet_interfaces or inet_protocols", value))
    }

    fn part(&self, basis: &Basis) -> anyhow::Result<Part> {
        let delivery = Delivery::of(&self.settings, basis);
        let settings = delivery.beside(&self.settings);
        let services = files::services(&settings, basis.site)?;
        let mailboxes = self.catch_all.as_ref();
        let mailboxes = mailboxes.and_then(|kept| kept.mailbox_maps(&basis.directory.accounts, &basis.site.domain));
        let plan = files::plan(&settings, &self.files, &services, mailboxes, &delivery, basis)?;
        let greetings = probes::greetings(&self.settings, &services, basis.site, basis.facts);
        let mut probes: Vec<Named> = greetings
            .into_iter()
            .map(|greeting| Named {
                name: "smtp".to_owned(),
                probe: Probe::Greeting(greeting),
                essential: true,
            })
            .collect();
        let service = service::service(basis.environment, &probes, &plan, &services, self.catch_all.is_some());
        if service.is_some() {
            probes.extend(probes::inner(&self.settings, basis.site));
        }
        Ok(Part {
            service,
            checker: Box::new(PostfixChecker::new(
                &plan,
                &self.settings.services,
                &self.files,
                relay_login::logins(&self.settings),
                Unresolved::of(&self.settings, basis.facts),
            )),
            account_files: Some(Box::new(Tables::of(basis, &delivery))),
            plan,
            probes,
        })
    }
}
