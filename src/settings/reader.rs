//! From strings to [`Settings`], variable after variable: what each value alone says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::dovecot::{self, DovecotSetting};
use super::master::{self, MasterSetting};
use super::table::{self, VARIABLES, Variable};
use super::{Credentials, Environment, Mistake, Settings, Sources, drop_ins, noise, report};
use crate::layout::RELAY_LOGIN;
use crate::postfix::main_cf::{self, Given};
use crate::postfix::master_cf::Service;
use crate::postfix::parameters::{self, Parameters, split_words};
use crate::values::kind::{self, Value};
use crate::values::network::Networks;
use crate::values::{PREFIXES, nearest};

/// Types of tables that take their own settings from parameters, `NAME_server_host` (DATABASE_README).
const ASKED_BY_NAME: [&str; 6] = ["ldap", "memcache", "mongodb", "mysql", "pgsql", "sqlite"];

fn sets_the_same(variable: &str) -> String {
    format!("sets what {variable} sets: keep one of them")
}

/// Reads variable after variable, gathering mistakes instead of stopping at the first.
pub(super) struct Reader<'a> {
    pub(super) known: &'a Parameters,
    secrets: BTreeSet<String>,
    /// The environment, with the parameters of drop-in files as the variables that would set them, and those of the table
    /// under the table's names.
    environment: Environment,
    /// Where such a variable stands, or how the user wrote it.
    pub(super) origins: BTreeMap<String, String>,
    pub(super) mistakes: Vec<Mistake>,
    values: BTreeMap<&'static str, Value>,
    pub(super) parameters: BTreeMap<String, Given>,
    pub(super) master: Vec<MasterSetting>,
    dovecot: Vec<DovecotSetting>,
    ignored: Vec<String>,
    /// Names that nobody knows and that may be meant for a secret's.
    hidden: BTreeSet<String>,
    /// Services of drop-in files.
    pub(super) services: Vec<Service>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources, known: &'a Parameters) -> Reader<'a> {
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
    pub(super) fn refuse_outer_blanks(&mut self) {
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
    pub(super) fn secret_values(&self, sources: &Sources) -> BTreeSet<String> {
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
    pub(super) fn make_mistake(&self, variable: &str, reason: String) -> Mistake {
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
    pub(super) fn read_table(&mut self) {
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
    pub(super) fn read_others(&mut self) {
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
    pub(super) fn add_table_parameters(&mut self) {
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

    pub(super) fn settings(mut self, sources: &Sources) -> Settings {
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

    pub(super) fn text(&self, name: &str) -> String {
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

    pub(super) fn switch(&self, name: &str) -> bool {
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
    pub(super) fn networks(&self) -> Option<Networks> {
        match self.values.get("POSTFIX_MYNETWORKS") {
            Some(Value::Networks(networks)) if self.environment.contains_key("POSTFIX_MYNETWORKS") => {
                Some(networks.clone())
            }
            _ => None,
        }
    }
}
