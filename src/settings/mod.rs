//! All that a user sets, read once into validated types. Pure: all mistakes come back in one report.

#[cfg(test)]
mod any_environment;
mod checks;
pub mod dovecot;
pub mod drop_ins;
pub mod master;
pub(crate) mod noise;
pub mod report;
pub mod sources;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::dovecot::DovecotSetting;
use self::master::MasterSetting;
pub use self::report::{Mistake, Report};
pub use self::sources::{DropIn, Sources};
use self::table::{VARIABLES, Variable};
use crate::layout::RELAY_LOGIN;
use crate::postfix::main_cf;
use crate::postfix::master_cf::Service;
use crate::postfix::parameters::{self, Parameters, split_words};
use crate::values::kind::{self, Kind, Value};
use crate::values::nearest;
use crate::values::network::Networks;

/// The environment as strings: name to value.
pub type Environment = BTreeMap<String, String>;

/// What the names of our variables begin with.
pub const PREFIXES: [&str; 3] = ["POSTFIX_", "DOVECOT_", "MAILROOM_"];

/// A main.cf parameter that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The variable, or the file and line, that set it; the variable that would, where it is a default.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// It was set, and is not a default.
    pub explicit: bool,
}

/// A login at the relay host.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `MAILROOM_RELAYHOST_USERNAME`.
    pub username: String,
    /// `MAILROOM_RELAYHOST_PASSWORD`.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:<hidden>", self.username)
    }
}

/// Types of tables that take their own settings from parameters, `NAME_server_host` (DATABASE_README).
const ASKED_BY_NAME: [&str; 6] = ["ldap", "memcache", "mongodb", "mysql", "pgsql", "sqlite"];

/// Everything that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `POSTFIX_MYHOSTNAME`.
    pub hostname: String,
    /// `POSTFIX_MYDOMAIN`, the primary domain.
    pub domain: String,
    /// `POSTFIX_MYNETWORKS`; `None` when unset.
    pub networks: Option<Networks>,
    /// `POSTFIX_MESSAGE_SIZE_LIMIT` in bytes.
    pub message_size_limit: u64,
    /// `POSTFIX_RELAYHOST`.
    pub relayhost: String,
    /// `POSTFIX_SMTP_SASL_PASSWORD_MAPS` is not empty: log in at the relay host.
    pub relay_login: bool,
    /// `MAILROOM_RELAYHOST_USERNAME` and `_PASSWORD`.
    pub relay_credentials: Option<Credentials>,
    /// `POSTFIX_INET_PROTOCOLS`: `ipv4`, `ipv6` or `all`.
    pub protocols: String,
    /// `POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT`: most delivery processes of a transport; `None` for no limit of ours.
    pub delivery_processes: Option<u64>,
    /// `MAILROOM_TRUST_GATEWAY`.
    pub trust_gateway: bool,
    /// `MAILROOM_STOP_TIMEOUT`.
    pub stop_timeout: Duration,
    /// `MAILROOM_ON_FAILURE` is `keep`.
    pub keep_on_failure: bool,
    /// `TZ`.
    pub time_zone: String,
    /// main.cf parameters by their own names: the table's, with their defaults, and all others that were given.
    pub parameters: BTreeMap<String, Given>,
    /// Changes to master.cf.
    pub master: Vec<MasterSetting>,
    /// Services of master.cf that drop-in files define.
    pub services: Vec<Service>,
    /// Dovecot settings.
    pub dovecot: Vec<DovecotSetting>,
    /// Files of Dovecot settings.
    pub dovecot_files: Vec<DropIn>,
    /// Values that nobody may see.
    pub secrets: BTreeSet<String>,
    /// What a user should know about how a value was understood.
    pub notes: Vec<String>,
}

/// Whether the installed Postfix needs to be asked for its parameters: only where something besides the table is set, or
/// a table of some type is named.
pub fn needs_parameters(environment: &Environment) -> bool {
    let names_tables = |variable: &Variable, value: &str| {
        matches!(variable.kind, Kind::Text | Kind::Networks) && variable.parameter.is_some() && value.contains(':')
    };
    environment.iter().any(|(name, value)| {
        let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        is_ours && table::variable(table::own_name(name)).is_none_or(|variable| names_tables(variable, value))
    })
}

impl Settings {
    /// Reads all that is set. `known` are the parameters of the installed Postfix.
    pub fn read(sources: &Sources, known: &Parameters) -> Result<Settings, Report> {
        let mut reader = Reader::new(sources, known);
        reader.read_table();
        reader.read_others();
        reader.add_table_parameters();
        reader.refuse_outer_blanks();
        if reader.mistakes.is_empty() {
            reader.mistakes = checks::all(&reader);
        }
        if !reader.mistakes.is_empty() {
            let secrets = reader.secret_values(sources);
            return Err(Report(reader.mistakes).without(&secrets));
        }
        Ok(reader.settings(sources))
    }
}

fn sets_the_same(variable: &str) -> String {
    format!("sets what {variable} sets: keep one of them")
}

/// Reads variable after variable, gathering mistakes instead of stopping at the first.
struct Reader<'a> {
    known: &'a Parameters,
    secrets: BTreeSet<String>,
    /// The environment, with the parameters of drop-in files as the variables that would set them, and those of the table
    /// under the table's names.
    environment: Environment,
    /// Where such a variable stands, or how the user wrote it.
    origins: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
    values: BTreeMap<&'static str, Value>,
    parameters: BTreeMap<String, Given>,
    master: Vec<MasterSetting>,
    dovecot: Vec<DovecotSetting>,
    ignored: Vec<String>,
    /// Names that nobody knows and that may be meant for a secret's.
    hidden: BTreeSet<String>,
    /// Services of drop-in files.
    services: Vec<Service>,
}

impl<'a> Reader<'a> {
    fn new(sources: &'a Sources, known: &'a Parameters) -> Reader<'a> {
        let mut reader = Reader {
            known,
            secrets: BTreeSet::new(),
            environment: Environment::new(),
            origins: BTreeMap::new(),
            mistakes: sources.mistakes.clone(),
            values: BTreeMap::new(),
            parameters: BTreeMap::new(),
            master: Vec::new(),
            dovecot: Vec::new(),
            ignored: Vec::new(),
            hidden: BTreeSet::new(),
            services: Vec::new(),
        };
        for (name, value) in &sources.environment {
            reader.take_in(name, value, sources.secrets.contains(name));
        }
        for file in &sources.main_cf {
            for line in drop_ins::main_cf(file) {
                match line {
                    Ok(line) => reader.take_over(&line),
                    Err(mistake) => reader.mistakes.push(mistake),
                }
            }
        }
        for file in &sources.master_cf {
            match drop_ins::master_cf(file) {
                Ok(services) => reader.services.extend(services),
                Err(mistake) => reader.mistakes.push(mistake),
            }
        }
        reader
    }

    /// Takes a variable in; the table's in another case stand for the table's.
    fn take_in(&mut self, name: &str, value: &str, from_file: bool) {
        let own = table::own_name(name);
        if from_file {
            self.secrets.insert(own.to_owned());
        }
        match self.environment.get(own) {
            Some(other) if other != value => {
                let reason = format!("is given, and so is {}: keep one of them", self.origin(own));
                let value = if self.is_secret(own) { report::HIDDEN } else { value };
                self.mistakes.push(Mistake {
                    variable: name.to_owned(),
                    value: value.to_owned(),
                    reason,
                });
            }
            Some(_) => {}
            None => {
                self.environment.insert(own.to_owned(), value.to_owned());
                if own != name {
                    self.origins.insert(own.to_owned(), name.to_owned());
                }
            }
        }
    }

    /// A parameter of a drop-in file comes in place of whatever variable sets it.
    fn take_over(&mut self, line: &drop_ins::Line) {
        let sets = |variable: &&Variable| {
            variable
                .parameter
                .is_some_and(|parameter| parameter.eq_ignore_ascii_case(&line.name))
        };
        let name = VARIABLES
            .iter()
            .find(sets)
            .map_or_else(|| format!("POSTFIX_{}", line.name), |variable| variable.name.to_owned());
        let sets_the_same = |other: &String| {
            other
                .strip_prefix("POSTFIX_")
                .is_some_and(|rest| rest.eq_ignore_ascii_case(&line.name))
                || *other == name
        };
        self.environment.retain(|other, _| !sets_the_same(other));
        self.environment.insert(name.clone(), line.value.clone());
        self.origins.insert(name, line.origin.clone());
    }

    /// How a variable is called in messages.
    fn origin(&self, variable: &str) -> String {
        self.origins
            .get(variable)
            .cloned()
            .unwrap_or_else(|| variable.to_owned())
    }

    fn is_secret(&self, variable: &str) -> bool {
        let value = self.environment.get(variable).map(String::as_str).unwrap_or_default();
        let is_ours = PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
        is_ours
            && (self.secrets.contains(variable) || self.hidden.contains(variable) || report::is_secret(variable, value))
    }

    /// Neither main.cf nor a table nor dovecot.conf holds blanks at the ends of a value: a secret would be another one.
    fn refuse_outer_blanks(&mut self) {
        let has_some = |(name, value): &(&String, &String)| value.trim() != value.as_str() && self.is_secret(name);
        let names: Vec<String> = self
            .environment
            .iter()
            .filter(has_some)
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.mistake(&name, "must not begin or end with a blank".to_owned());
        }
    }

    /// All that nobody may see: as it was given, as it is rendered, and in drop-in files.
    fn secret_values(&self, sources: &Sources) -> BTreeSet<String> {
        let names: Vec<&String> = self.environment.keys().filter(|name| self.is_secret(name)).collect();
        let called: BTreeSet<String> = names.iter().map(|name| self.origin(name)).collect();
        let given = names.into_iter().filter_map(|name| self.environment.get(name).cloned());
        let rendered = self
            .parameters
            .values()
            .filter(|given| called.contains(&given.variable));
        let options = self.services.iter().flat_map(|service| &service.options);
        let lines = sources.dovecot.iter().flat_map(|file| file.text.lines());
        let lines = lines.filter_map(|line| line.split_once('='));
        let in_files = options
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(lines.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))))
            .filter(|(name, value)| report::is_secret(name, value))
            .map(|(_, value)| value.to_owned());
        given
            .chain(rendered.map(|given| given.value.clone()))
            .chain(in_files)
            .filter(|value| !value.is_empty())
            .collect()
    }

    fn mistake(&mut self, variable: &str, reason: String) {
        let mistake = self.make_mistake(variable, reason);
        self.mistakes.push(mistake);
    }

    /// A reason may repeat a part of the value: not for secrets.
    fn make_mistake(&self, variable: &str, reason: String) -> Mistake {
        let value = self.environment.get(variable).cloned().unwrap_or_default();
        let repeats = value
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| !word.is_empty() && reason.contains(word));
        let is_about_the_value = (repeats || reason.contains("did you mean")) && !self.hidden.contains(variable);
        let (value, reason) = match table::variable(variable) {
            _ if !self.is_secret(variable) => (value, reason),
            _ if !is_about_the_value => (report::HIDDEN.to_owned(), reason),
            Some(variable) => (
                report::HIDDEN.to_owned(),
                format!("is not allowed: must be {}", variable.kind.allowed()),
            ),
            None => (report::HIDDEN.to_owned(), "is not allowed".to_owned()),
        };
        Mistake {
            variable: self.origin(variable),
            value,
            reason,
        }
    }

    /// Reads every variable of the table, given or not. One that must not be empty keeps its default when it is: compose
    /// files pass `${UNSET}` on as nothing.
    fn read_table(&mut self) {
        for variable in VARIABLES {
            let given = self
                .environment
                .get(variable.name)
                .filter(|value| !value.trim().is_empty() || variable.kind.parse("").is_ok());
            let text = given.map_or(variable.default, String::as_str);
            let read = variable
                .kind
                .parse(text)
                .and_then(|value| self.known.check_read(variable.parameter, &value).map(|()| value));
            match read {
                Ok(value) => {
                    self.values.insert(variable.name, value);
                }
                Err(reason) => self.mistake(variable.name, reason),
            }
        }
    }

    /// Reads all variables with our prefixes that are not in the table.
    fn read_others(&mut self) {
        for (name, value) in self.environment.clone() {
            if table::variable(&name).is_some() {
                continue;
            }
            let Some((prefix, rest)) = PREFIXES
                .into_iter()
                .find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)))
            else {
                continue;
            };
            let is_parameter = prefix == "POSTFIX_" && self.known.find(rest).is_some();
            if !is_parameter && noise::is_noise(rest, &value) {
                self.ignored.push(name);
                continue;
            }
            let read = kind::one_line(&value).and_then(|()| match (prefix, rest.strip_prefix("MASTER_")) {
                ("POSTFIX_", _) => self.read_parameter(&name, rest, &value),
                ("DOVECOT_", _) => dovecot::read(&name, rest, &value).and_then(|setting| self.add_dovecot(setting)),
                (_, Some(rest)) => {
                    master::read(&name, rest, &value, self.known).and_then(|setting| self.add_master(setting))
                }
                _ => Err(self.unknown(&name, prefix, rest)),
            });
            if let Err(reason) = read {
                self.mistake(&name, reason);
            }
        }
    }

    /// Two variables for one place, in another case, must agree.
    fn add_master(&mut self, setting: MasterSetting) -> Result<(), String> {
        match self.master.iter().find(|other| other.is_about_the_same(&setting)) {
            Some(other) if other.change != setting.change => Err(sets_the_same(&other.variable)),
            Some(_) => Ok(()),
            None => {
                self.master.push(setting);
                Ok(())
            }
        }
    }

    fn add_dovecot(&mut self, setting: DovecotSetting) -> Result<(), String> {
        let is_same = |other: &&DovecotSetting| other.blocks == setting.blocks && other.name == setting.name;
        match self.dovecot.iter().find(is_same) {
            Some(other) if other.value != setting.value => Err(sets_the_same(&other.variable)),
            Some(_) => Ok(()),
            None => {
                self.dovecot.push(setting);
                Ok(())
            }
        }
    }

    fn read_parameter(&mut self, name: &str, rest: &str, value: &str) -> Result<(), String> {
        let parameter = match self.known.find(rest) {
            Some(parameter) => parameter.to_owned(),
            None => rest.to_ascii_lowercase(),
        };
        let checked_as = match self
            .known
            .find(&parameter)
            .or_else(|| self.of_own_transport(&parameter))
        {
            Some(known) => known.to_owned(),
            None if self.is_referred_to(&parameter) => parameter.clone(),
            None => return Err(self.unknown(name, "POSTFIX_", rest)),
        };
        if let Some(reason) = parameters::owned(&parameter) {
            return Err(format!("is decided by mailroom: {reason}"));
        }
        let value = self.known.check(&checked_as, value)?;
        if let Some(other) = self.other_variable_for(&parameter, &value) {
            return Err(format!("sets {parameter}, and so does {other}: keep one of them"));
        }
        let given = Given {
            variable: self.origin(name),
            value,
            explicit: true,
        };
        self.parameters.insert(parameter, given);
        Ok(())
    }

    /// Two variables for one parameter (another spelling, or the seed's name and Postfix's own) must agree.
    fn other_variable_for(&self, parameter: &str, value: &str) -> Option<String> {
        let earlier = self
            .parameters
            .get(parameter)
            .map(|given| (given.variable.clone(), given.value.clone()));
        let by_table = VARIABLES
            .iter()
            .find(|variable| variable.parameter == Some(parameter))
            .and_then(|variable| Some((self.origin(variable.name), self.environment.get(variable.name)?.clone())));
        earlier
            .or(by_table)
            .filter(|(_, other)| other.trim() != value)
            .map(|(variable, _)| variable)
    }

    /// Whether another value makes this name a parameter of the user's own: as `$name`, as a restriction class, or as what
    /// is asked of the table `ldap:NAME` (ldap_table(5)).
    fn is_referred_to(&self, name: &str) -> bool {
        let of_table = |word: &str| {
            let table = word.split_once(':').filter(|(kind, _)| ASKED_BY_NAME.contains(kind));
            table.is_some_and(|(_, table)| name.strip_prefix(table).is_some_and(|rest| rest.starts_with('_')))
        };
        let refers = |setting: &str, value: &str| {
            main_cf::references(value).any(|reference| reference == name)
                || value
                    .split([',', ' ', '{', '}'])
                    .map(|word| word.trim_start_matches("proxy:"))
                    .any(of_table)
                || (setting.to_ascii_lowercase().ends_with("smtpd_restriction_classes")
                    && split_words(value).iter().any(|class| class == name))
        };
        let given = self.environment.iter();
        let given = given.filter(|(other, _)| other.starts_with("POSTFIX_") || other.starts_with("MAILROOM_MASTER_"));
        let options = self.services.iter().flat_map(|service| &service.options);
        let arguments = self.services.iter().flat_map(|service| &service.arguments);
        given
            .chain(options.map(|(option, value)| (option, value)))
            .chain(arguments.map(|argument| (argument, argument)))
            .any(|(setting, value)| refers(setting, value))
    }

    /// The parameter of all transports behind that of one which a drop-in file adds: `slow_destination_rate_delay` is
    /// checked as `default_destination_rate_delay`.
    fn of_own_transport(&self, name: &str) -> Option<&str> {
        let of = |service: &Service| name.strip_prefix(&service.name)?.strip_prefix('_').map(str::to_owned);
        self.services.iter().find_map(|service| match of(service)?.as_str() {
            "time_limit" => self.known.find("command_time_limit"),
            "initial_destination_concurrency" => self.known.find("initial_destination_concurrency"),
            rest => self.known.find(&format!("default_{rest}")),
        })
    }

    fn unknown(&mut self, variable: &str, prefix: &str, rest: &str) -> String {
        let name = format!("{prefix}{}", rest.to_ascii_uppercase());
        let parameters = self
            .known
            .names()
            .filter(|_| prefix == "POSTFIX_")
            .map(|known| format!("POSTFIX_{}", known.to_ascii_uppercase()));
        let mut names: Vec<String> = VARIABLES
            .iter()
            .map(|variable| variable.name.to_owned())
            .chain(parameters)
            .collect();
        if name.ends_with("_FILE") {
            let files: Vec<String> = names.iter().map(|name| format!("{name}_FILE")).collect();
            names.extend(files);
        }
        let what = match prefix {
            "POSTFIX_" => "is not a parameter of the installed Postfix",
            _ => "is not a variable of mailroom",
        };
        let nearest = nearest(&name, names.iter().map(String::as_str));
        if report::looks_secret(&name) || nearest.is_some_and(report::looks_secret) {
            self.hidden.insert(variable.to_owned());
        }
        match nearest {
            Some(nearest) => format!("{what}; did you mean {nearest}?"),
            None => what.to_owned(),
        }
    }

    /// Adds what main.cf gets from the variables of the table.
    fn add_table_parameters(&mut self) {
        for variable in VARIABLES {
            if let (Some(parameter), Some(given)) = (variable.parameter, self.table_parameter(variable)) {
                self.parameters.entry(parameter.to_owned()).or_insert(given);
            }
        }
    }

    fn table_parameter(&self, variable: &Variable) -> Option<Given> {
        let value = match self.values.get(variable.name)? {
            Value::Text(text) => text.clone(),
            // 0 leaves Postfix's own limit in place.
            Value::Number(0) if variable.default == "0" => return None,
            Value::Number(number) => number.to_string(),
            // mynetworks depends on where the container is, too: trust decides.
            _ => return None,
        };
        Some(Given {
            variable: self.origin(variable.name),
            value,
            explicit: self
                .environment
                .get(variable.name)
                .is_some_and(|value| !value.is_empty()),
        })
    }

    fn settings(mut self, sources: &Sources) -> Settings {
        let networks = self.networks();
        let mut notes: Vec<String> = networks.iter().flat_map(Networks::notes).collect();
        notes.extend(master::shadowed(&self.parameters, &self.master));
        if self.text("MAILROOM_LOG_LEVEL") == "debug" {
            notes.extend(
                self.ignored
                    .iter()
                    .map(|name| format!("Ignored: {name}, of Kubernetes or a docker link")),
            );
        }
        notes.extend(
            sources
                .skipped
                .iter()
                .map(|path| format!("Not read: {}, whose name ends in neither .cf nor .conf", path.display())),
        );
        let username = self.text("MAILROOM_RELAYHOST_USERNAME");
        let relay_credentials = (!username.is_empty()).then(|| Credentials {
            username,
            password: self.text("MAILROOM_RELAYHOST_PASSWORD"),
        });
        if relay_credentials.is_some() {
            let given = Given {
                variable: "MAILROOM_RELAYHOST_USERNAME".to_owned(),
                value: format!("lmdb:{RELAY_LOGIN}"),
                explicit: true,
            };
            self.parameters.insert("smtp_sasl_password_maps".to_owned(), given);
        }
        Settings {
            hostname: self.text("POSTFIX_MYHOSTNAME"),
            domain: self.text("POSTFIX_MYDOMAIN"),
            networks,
            message_size_limit: self.number("POSTFIX_MESSAGE_SIZE_LIMIT"),
            relayhost: self.text("POSTFIX_RELAYHOST"),
            relay_login: !self.text("POSTFIX_SMTP_SASL_PASSWORD_MAPS").is_empty() || relay_credentials.is_some(),
            protocols: self.text("POSTFIX_INET_PROTOCOLS"),
            delivery_processes: Some(self.number("POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT")).filter(|limit| *limit > 0),
            trust_gateway: self.switch("MAILROOM_TRUST_GATEWAY"),
            stop_timeout: self.seconds("MAILROOM_STOP_TIMEOUT"),
            keep_on_failure: self.text("MAILROOM_ON_FAILURE") == "keep",
            time_zone: self.text("TZ"),
            secrets: self.secret_values(sources),
            relay_credentials,
            parameters: self.parameters,
            master: self.master,
            services: self.services,
            dovecot: self.dovecot,
            dovecot_files: sources.dovecot.clone(),
            notes,
        }
    }

    fn text(&self, name: &str) -> String {
        match self.values.get(name) {
            Some(Value::Text(text)) => text.clone(),
            other => unreachable!("{name} is not text in the table: {other:?}"),
        }
    }

    fn number(&self, name: &str) -> u64 {
        match self.values.get(name) {
            Some(Value::Number(number)) => *number,
            other => unreachable!("{name} is not a number in the table: {other:?}"),
        }
    }

    fn switch(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Switch(switch)) => *switch,
            other => unreachable!("{name} is not a switch in the table: {other:?}"),
        }
    }

    fn seconds(&self, name: &str) -> Duration {
        match self.values.get(name) {
            Some(Value::Seconds(seconds)) => *seconds,
            other => unreachable!("{name} is not a time in the table: {other:?}"),
        }
    }

    /// Set, even to nothing: then loopback alone is trusted.
    fn networks(&self) -> Option<Networks> {
        match self.values.get("POSTFIX_MYNETWORKS") {
            Some(Value::Networks(networks)) if self.environment.contains_key("POSTFIX_MYNETWORKS") => {
                Some(networks.clone())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn known() -> Parameters {
        Parameters::parse(
            "myhostname = x\nsmtp_tls_CAfile =\ndefault_destination_concurrency_limit = 20\nqueue_directory = /x\n\
             maillog_file =\nvirtual_mailbox_limit = 5\nsmtpd_relay_restrictions = a\n\
             smtpd_recipient_restrictions =\nsmtpd_restriction_classes =\n",
            "",
        )
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Report> {
        Settings::read(&sources(environment(pairs)), &known())
    }

    pub(super) fn sources(environment: Environment) -> Sources {
        Sources {
            environment,
            ..Sources::default()
        }
    }

    #[test]
    fn nothing_set_gives_the_seeds_defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.hostname, "postfix.metabuilder.local");
        assert_eq!(settings.parameters["message_size_limit"].value, "52428800");
        assert_eq!(settings.networks, None);
        assert!(
            !settings
                .parameters
                .contains_key("default_destination_concurrency_limit")
        );
    }

    #[test]
    fn all_mistakes_are_reported_with_suggestions() {
        let report = read(&[
            ("POSTFIX_MYHOSTNAM", "x"),
            ("POSTFIX_MESSAGE_SIZE_LIMIT", "ten"),
            ("POSTFIX_MYNETWORKS", "10.0.0.0/99"),
        ])
        .unwrap_err()
        .to_string();
        insta::assert_snapshot!(report);
    }

    #[test]
    fn the_tables_variables_in_any_case() {
        let values = [
            "0.0.0.0/0",
            "require",
            "ipv4, ipv6",
            "static:a:b",
            "mx.example.org",
            "[a.test]:25",
            "7",
        ];
        for variable in VARIABLES
            .iter()
            .filter(|variable| variable.name.starts_with("POSTFIX_"))
        {
            let lower = format!("POSTFIX_{}", variable.name["POSTFIX_".len()..].to_ascii_lowercase());
            for value in values {
                let named = |name: &str| {
                    read(&[(name, value)])
                        .map(|settings| format!("{settings:?}").replace(name, "NAME"))
                        .map_err(|report| report.to_string().replace(name, "NAME"))
                };
                assert_eq!(named(&lower), named(variable.name), "{lower}={value}");
            }
            assert!(
                read(&[(&lower, "x y z"), (variable.name, "x")]).unwrap_err().0[0]
                    .reason
                    .contains("keep one")
            );
        }
        assert!(read(&[("POSTFIX_relayhost", "a.test"), ("POSTFIX_RELAYHOST", "a.test")]).is_ok());
        let report = read(&[("POSTFIX_mynetworks", "0.0.0.0/0")]).unwrap_err();
        assert_eq!(report.0[0].variable, "POSTFIX_mynetworks", "as the user wrote it");
    }

    #[test]
    fn tables_of_the_tables_variables_have_a_type() {
        let known = Parameters::parse("", "lmdb\ncidr\n");
        let refused = |name: &str, value: &str| {
            let sources = sources(environment(&[(name, value)]));
            assert!(needs_parameters(&sources.environment), "{name}");
            Settings::read(&sources, &known).unwrap_err().0.remove(0).reason
        };
        assert!(refused("POSTFIX_MYNETWORKS", "10.0.0.0/8 !cird:/n").ends_with("did you mean cidr:?"));
        assert!(refused("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmbd:/x").ends_with("did you mean lmdb:?"));
        assert!(refused("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmdb:{x").contains("without a }"));
        assert!(!needs_parameters(&environment(&[
            ("POSTFIX_MYNETWORKS", "10.0.0.0/8"),
            ("PATH", "a:b")
        ])));
    }

    #[test]
    fn parameters_in_any_case_and_mixed_case_names() {
        let settings = read(&[("POSTFIX_SMTP_TLS_CAFILE", "/ca.pem")]).unwrap();
        assert_eq!(settings.parameters["smtp_tls_CAfile"].value, "/ca.pem");
        let settings = read(&[("POSTFIX_smtp_tls_CAfile", "/ca.pem")]).unwrap();
        assert_eq!(
            settings.parameters["smtp_tls_CAfile"].variable,
            "POSTFIX_smtp_tls_CAfile"
        );
    }

    #[test]
    fn a_name_of_the_users_own_needs_a_reference() {
        assert!(read(&[("POSTFIX_MY_CLIENTS", "x")]).is_err());
        let settings = read(&[
            ("POSTFIX_MY_CLIENTS", "x"),
            ("POSTFIX_SMTP_TLS_CAFILE", "${my_clients}"),
        ])
        .unwrap();
        assert_eq!(settings.parameters["my_clients"].value, "x");
        for (name, value, refers) in [
            (
                "POSTFIX_MINE",
                "reject",
                ("POSTFIX_SMTPD_RESTRICTION_CLASSES", "other, mine"),
            ),
            (
                "POSTFIX_MY_SERVER_HOST",
                "a.test",
                ("POSTFIX_SMTP_TLS_CAFILE", "inline:{a=b}, proxy:ldap:my"),
            ),
        ] {
            assert!(read(&[(name, value), refers]).is_ok(), "{name}");
            assert!(read(&[(name, value)]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_of_the_users_own_for_a_service_of_a_drop_in_file() {
        let known = Parameters::parse(
            "default_destination_concurrency_limit = 20\ndefault_destination_rate_delay = 0s\ncommand_time_limit = 9s\n",
            "",
        );
        let read = |name: &str, value: &str| {
            let file = DropIn {
                path: "/x.cf".into(),
                text: "slow unix - - n - - smtp -o syslog_name=$our_name\npolicy unix - n n - 0 spawn argv=/p\n"
                    .to_owned(),
            };
            let mut sources = sources(environment(&[(name, value)]));
            sources.master_cf = vec![file];
            Settings::read(&sources, &known).map_err(|report| report.0[0].reason.clone())
        };
        for (name, value) in [
            ("POSTFIX_SLOW_DESTINATION_CONCURRENCY_LIMIT", "2"),
            ("POSTFIX_SLOW_DESTINATION_RATE_DELAY", "1s"),
            ("POSTFIX_POLICY_TIME_LIMIT", "3600s"),
            ("POSTFIX_OUR_NAME", "x"),
        ] {
            assert!(read(name, value).is_ok(), "{name}: {:?}", read(name, value));
        }
        assert!(
            read("POSTFIX_SLOW_DESTINATION_RATE_DELAY", "x")
                .unwrap_err()
                .contains("a time")
        );
        assert!(
            read("POSTFIX_SLOW_NONSENSE", "1")
                .unwrap_err()
                .contains("not a parameter")
        );
    }

    #[test]
    fn owned_parameters_and_second_lines_are_refused() {
        assert!(
            read(&[("POSTFIX_QUEUE_DIRECTORY", "/q")]).unwrap_err().0[0]
                .reason
                .contains("decided by mailroom")
        );
        assert!(
            read(&[("POSTFIX_SMTP_TLS_CAFILE", "a\nb = c")]).unwrap_err().0[0]
                .reason
                .contains("one line")
        );
    }

    #[test]
    fn two_names_for_one_parameter_must_agree() {
        let both = |own| {
            read(&[
                ("POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT", "100"),
                ("POSTFIX_DEFAULT_DESTINATION_CONCURRENCY_LIMIT", own),
            ])
        };
        assert!(both("100").is_ok());
        assert!(
            both("50").unwrap_err().0[0]
                .reason
                .contains("POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT")
        );
    }

    #[test]
    fn two_spellings_of_one_place_must_agree() {
        for (one, two) in [
            ("DOVECOT_MAIL_DEBUG", "DOVECOT_mail_debug"),
            (
                "MAILROOM_MASTER_SMTP_INET_SMTP_TLS_CAFILE",
                "MAILROOM_MASTER_SMTP_INET_smtp_tls_CAfile",
            ),
            (
                "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT",
                "MAILROOM_MASTER_smtp_unix_process_limit",
            ),
        ] {
            assert!(read(&[(one, "5"), (two, "5")]).is_ok(), "{one}");
            let report = read(&[(one, "5"), (two, "6")]).unwrap_err();
            assert!(report.0[0].reason.contains("keep one of them"), "{report}");
        }
    }

    #[test]
    fn kubernetes_and_foreign_names_are_ignored_and_unknown_ones_of_ours_are_not() {
        assert!(
            read(&[
                ("POSTFIX_PORT_25_TCP_ADDR", "10.0.0.1"),
                ("PATH", "/bin"),
                ("MAIL_FROM", "x")
            ])
            .is_ok()
        );
        let report = read(&[("MAILROOM_TRUST_GATEWY", "yes"), ("DOVECOT_LISTEN", "1")]).unwrap_err();
        assert_eq!(report.0.len(), 2);
        assert!(
            report.0[1].reason.ends_with("did you mean MAILROOM_TRUST_GATEWAY?"),
            "{:?}",
            report.0[1]
        );
    }

    #[test]
    fn what_is_wrong_in_the_whole_is_found() {
        let refused = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().0.remove(0);
        let mistake = refused(&[("POSTFIX_VIRTUAL_MAILBOX_LIMIT", "100")]);
        assert!(mistake.reason.contains("at least 52428800"), "{mistake:?}");
        let mistake = refused(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit_mynetworks")]);
        assert!(mistake.reason.contains("reject_unauth_destination"), "{mistake:?}");
        let mistake = refused(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit, reject")]);
        assert!(mistake.reason.contains("lets everybody relay"), "{mistake:?}");
        let mistake = refused(&[("POSTFIX_MYNETWORKS", "10.0.0.0/8 0.0.0.0/0")]);
        assert!(mistake.reason.contains("MAILROOM_ALLOW_OPEN_RELAY"), "{mistake:?}");
        let open = ("MAILROOM_ALLOW_OPEN_RELAY", "yes");
        assert!(read(&[("POSTFIX_MYNETWORKS", "0.0.0.0/0"), open]).is_ok());
        assert!(
            read(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit"), open]).is_err(),
            "smtpd would not start"
        );
        assert!(
            refused(&[("POSTFIX_smtpd_relay_restrictions", "permit")])
                .reason
                .contains("everybody")
        );
        let mistake = refused(&[("MAILROOM_RELAYHOST_USERNAME", "me"), ("POSTFIX_RELAYHOST", "[a.test]")]);
        assert!(
            mistake.reason.contains("MAILROOM_RELAYHOST_PASSWORD_FILE"),
            "{mistake:?}"
        );
        let off = ["SMTP", "SUBMISSION", "SUBMISSIONS"].map(|name| (format!("MAILROOM_MASTER_{name}_INET"), "off"));
        let off: Vec<(&str, &str)> = off.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert!(refused(&off).reason.contains("keep one of them"));
        assert!(read(&off[1..]).is_ok());
    }

    #[test]
    fn every_smtpd_is_closed_to_strangers() {
        const RELAY: &str = "POSTFIX_SMTPD_RELAY_RESTRICTIONS";
        const RECIPIENT: &str = "POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS";
        const ON_25: &str = "MAILROOM_MASTER_SMTP_INET_SMTPD_RELAY_RESTRICTIONS";
        let classes = ("POSTFIX_SMTPD_RESTRICTION_CLASSES", "mine");
        let own = |value| [classes, ("POSTFIX_MINE", value), (RELAY, "mine, reject")];
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[(RELAY, "permit, check_client_access lmdb:/x, reject")], "everybody"),
            (&[(RELAY, "check_client_access lmdb:/x, permit")], "everybody"),
            (&[(RELAY, ""), (RECIPIENT, "permit, reject")], "everybody"),
            (
                &[(RELAY, "$smtpd_recipient_restrictions"), (RECIPIENT, "permit")],
                "everybody",
            ),
            (&[(ON_25, "permit, reject")], "everybody"),
            (&own("permit"), "everybody"),
            (&[(RELAY, "warn_if_reject reject, permit")], "everybody"),
            (
                &[("POSTFIX_MUA_RELAY_RESTRICTIONS", "permit_sasl_authenticated")],
                "nobody",
            ),
            (
                &[(
                    "MAILROOM_MASTER_SUBMISSION_INET_MUA_RELAY_RESTRICTIONS",
                    "permit_mynetworks",
                )],
                "nobody",
            ),
            (&[(RELAY, "warn_if_reject reject_unauth_destination")], "nobody"),
            (
                &[(RELAY, "permit_mynetworks"), (RECIPIENT, "permit_mynetworks")],
                "nobody",
            ),
            (&[(RELAY, ""), (RECIPIENT, "$smtpd_relay_restrictions")], "nobody"),
            (
                &[("MAILROOM_MASTER_VIRTUAL_UNIX_VIRTUAL_MAILBOX_LIMIT", "5")],
                "at least 52428800",
            ),
        ];
        for (given, expected) in cases {
            let report = read(given).expect_err(&format!("{given:?}"));
            assert_eq!(report.0.len(), 1, "{report}");
            let Mistake { variable, reason, .. } = &report.0[0];
            assert!(reason.contains(expected), "{given:?}: {reason}");
            assert!(given.iter().any(|(name, _)| name == variable), "{given:?}: {variable}");
        }
        for given in [
            &[(
                RELAY,
                "check_client_access lmdb:/x, permit_mynetworks, defer_unauth_destination",
            )][..],
            &[(RELAY, "permit_mynetworks"), (RECIPIENT, "reject_unauth_destination")],
            &[(RELAY, "${x?{permit}:{permit_mynetworks, reject}}"), ("POSTFIX_X", "")],
            &own("permit_mynetworks"),
            &[(ON_25, "permit_mynetworks, reject")],
        ] {
            assert!(read(given).is_ok(), "{given:?}: {:?}", read(given));
        }
        let open = [own("permit").as_slice(), &[("MAILROOM_ALLOW_OPEN_RELAY", "yes")]].concat();
        assert!(read(&open).is_ok(), "smtpd starts, and relays for all");
    }

    #[test]
    fn drop_in_services_are_closed_to_strangers() {
        let read = |text: &str| {
            let file = DropIn {
                path: "/etc/mailroom/master.cf.d/x.cf".into(),
                text: format!("# x\n2525 inet n - n - - smtpd\n{text}"),
            };
            let sources = Sources {
                master_cf: vec![file],
                ..Sources::default()
            };
            Settings::read(&sources, &known())
        };
        for (text, expected) in [
            ("  -o mynetworks=0.0.0.0/0\n", "holds public addresses"),
            (
                "  -o { smtpd_relay_restrictions = permit_mynetworks, permit }\n",
                "everybody",
            ),
            ("  -o smtpd_relay_restrictions=\n", "nobody"),
        ] {
            let mistake = read(text).unwrap_err().0.remove(0);
            assert_eq!(mistake.variable, "/etc/mailroom/master.cf.d/x.cf:2");
            assert!(mistake.reason.contains(expected), "{mistake:?}");
        }
        assert!(read("  -o mynetworks=127.0.0.0/8\n").is_ok());
    }

    #[test]
    fn drop_in_files_are_applied_last_and_named() {
        let file = |text: &str| Sources {
            environment: environment(&[
                ("POSTFIX_MYHOSTNAME", "a.example.org"),
                ("POSTFIX_smtp_tls_cafile", "/a"),
            ]),
            main_cf: vec![DropIn {
                path: "/etc/mailroom/main.cf.d/x.cf".into(),
                text: text.to_owned(),
            }],
            ..Sources::default()
        };
        let settings = Settings::read(&file("myhostname = b.example.org\nsmtp_tls_CAfile = /b\n"), &known()).unwrap();
        assert_eq!(settings.hostname, "b.example.org");
        assert_eq!(settings.parameters["smtp_tls_CAfile"].value, "/b");
        assert_eq!(
            settings.parameters["smtp_tls_CAfile"].variable,
            "/etc/mailroom/main.cf.d/x.cf:2"
        );
        let report =
            Settings::read(&file("myhostname = b\nqueue_directory = /q\nnonsense = 1\n"), &known()).unwrap_err();
        let named: Vec<&str> = report.0.iter().map(|mistake| mistake.variable.as_str()).collect();
        assert_eq!(named.len(), 3);
        assert!(
            named
                .iter()
                .all(|name| name.starts_with("/etc/mailroom/main.cf.d/x.cf:")),
            "{named:?}"
        );
    }

    #[test]
    fn secrets_are_never_told() {
        let mut sources = sources(environment(&[
            ("POSTFIX_RELAYHOST", "hunter2 hunter2"),
            ("POSTFIX_MYHOSTNAM", "hunter2"),
        ]));
        sources.secrets = ["POSTFIX_RELAYHOST".to_owned(), "POSTFIX_MYHOSTNAM".to_owned()].into();
        let report = Settings::read(&sources, &known()).unwrap_err().to_string();
        assert!(
            !report.contains("hunter2") && report.contains("POSTFIX_RELAYHOST=<hidden>"),
            "{report}"
        );
    }

    #[test]
    fn values_of_secrets_by_their_names_are_collected_and_not_told() {
        let settings = read(&[
            ("POSTFIX_smtp_sasl_password_maps", "static:u:hunter2"),
            ("DOVECOT_DOVEADM_PASSWORD", "hunter3"),
            ("OTHER_PASSWORD", "hunter4"),
        ])
        .unwrap();
        assert_eq!(
            settings.secrets,
            ["static:u:hunter2", "hunter3"].map(str::to_owned).into()
        );
        let report = read(&[("DOVECOT_DOVEADM_PASSWORD", "hunter2"), ("POSTFIX_BANER", "x hunter2")]).unwrap_err();
        assert_eq!(report.0[0].value, "x <hidden>", "whoever repeats it");
        for (name, value) in [
            ("MAILROOM_RELAYHOST_PASS", "hunter2"),
            ("MAILROOM_RELAYHOST_PASSWROD", "hunter2"),
            ("MAILROOM_RELAYHOST_PASWORD", "hunter2"),
            ("MAILROOM_RELAYHOST_PASSWORD", "hunter2 "),
            ("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "static:u:{hunter2"),
            ("POSTFIX_MY_API_TOKEN", "hunter2"),
        ] {
            let report = read(&[(name, value)]).unwrap_err().to_string();
            assert!(
                !report.contains("hunter2") && report.contains(&format!("{name}=<hidden>")),
                "{report}"
            );
        }
        let report = read(&[("MAILROOM_RELAYHOST_PASSWORD", "hunter2")])
            .unwrap_err()
            .to_string();
        assert!(report.contains("needs MAILROOM_RELAYHOST_USERNAME"), "{report}");
        let report = read(&[("MAILROOM_RELAYHOST_PASSWROD", "hunter2")])
            .unwrap_err()
            .to_string();
        assert!(report.contains("did you mean MAILROOM_RELAYHOST_PASSWORD?"), "{report}");
    }

    #[test]
    fn secrets_are_collected_as_they_are_rendered_and_from_drop_in_files() {
        let drop_in = |path: &str, text: &str| DropIn {
            path: path.into(),
            text: text.to_owned(),
        };
        let mut sources = sources(environment(&[("POSTFIX_MYHOSTNAME", "MX.Example.org")]));
        sources.secrets = ["POSTFIX_MYHOSTNAME".to_owned()].into();
        sources.master_cf = vec![drop_in(
            "/m.cf",
            "a unix - - n - - smtp -o smtp_sasl_password_maps=static:u:p\n",
        )];
        sources.dovecot = vec![drop_in("/d.conf", "doveadm_password = \"hunter2\"\nssl = yes\n")];
        let secrets = Settings::read(&sources, &known()).unwrap().secrets;
        let expected = ["MX.Example.org", "mx.example.org", "static:u:p", "hunter2"];
        assert_eq!(secrets, expected.map(str::to_owned).into());
    }
}
