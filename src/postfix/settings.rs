//! Postfix's settings: which variables are its own, and how they are read.
//!
//! `POSTFIX_<PARAMETER>` sets a parameter of main.cf that the installed Postfix knows, or that another value refers to;
//! `MAILROOM_MASTER_<SERVICE>_<TYPE>[_<WHAT>]` changes a service of master.cf. Files in `main.cf.d` and `master.cf.d` come
//! last and win.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::drop_ins;
use super::files;
use super::main_cf::{self, Given};
use super::master_cf::Service;
use super::master_settings::{self, Change, MasterSetting};
use super::parameters::{self, Parameters, split_words};
use super::peers;
use super::variables::{self, MASTER, MASTER_CF_D, PARAMETER};
use crate::layout::RELAY_LOGIN;
use crate::report::Mistake;
use crate::secrets;
use crate::settings::reader::Other;
use crate::settings::{DropIn, Reader, Values};
use crate::values::kind::Kind;

/// Values of the table that Postfix's configuration needs as types. Envy fills them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Relay {
    /// `POSTFIX_RELAYHOST`.
    #[serde(rename = "postfix_relayhost")]
    pub host: String,
    /// `POSTFIX_SMTP_SASL_PASSWORD_MAPS`.
    #[serde(rename = "postfix_smtp_sasl_password_maps")]
    pub password_maps: String,
    /// `MAILROOM_RELAYHOST_USERNAME`.
    #[serde(rename = "mailroom_relayhost_username")]
    pub username: String,
    /// `MAILROOM_RELAYHOST_PASSWORD`.
    #[serde(rename = "mailroom_relayhost_password")]
    pub password: String,
    /// `POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT`: most delivery processes of a transport; 0 for no limit of ours.
    #[serde(rename = "postfix_default_transport_rate_limit")]
    pub processes: u64,
}

/// What the environment says of mail clients with a login. Envy fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Submission {
    /// `MAILROOM_SENDER_CHECK`: a login sends under its own addresses alone.
    #[serde(rename = "mailroom_sender_check")]
    pub sender_check: bool,
}

impl Relay {
    /// No relay host, and no login.
    pub(super) fn without_host(&mut self) {
        let processes = self.processes;
        *self = Relay {
            processes,
            ..Relay::default()
        };
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} at {}", self.username, secrets::HIDDEN, self.host)
    }
}

/// Postfix's settings.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The installed Postfix's parameters.
    pub known: Parameters,
    /// main.cf parameters by their own names: the table's, with their defaults, and all others that were given.
    pub parameters: BTreeMap<String, Given>,
    /// Changes to master.cf.
    pub master: Vec<MasterSetting>,
    /// Services of master.cf that drop-in files define.
    pub services: Vec<Service>,
    /// Who sets `mynetworks`: a variable, or `file:line`.
    pub networks_origin: Option<String>,
    /// Outbound mail.
    pub relay: Relay,
    /// Mail clients.
    pub submission: Submission,
    /// How many settings were given besides those of the table of variables.
    pub given: usize,
}

/// One parameter that is set, in main.cf or by `-o` in master.cf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// The variable, or `file:line`, that sets it.
    pub(super) origin: &'a str,
    /// The parameter.
    pub(super) name: &'a str,
    /// Its value.
    pub(super) value: &'a str,
}

impl Settings {
    /// All that is set: the parameters that have not their defaults, options by variables, and options of services in files.
    pub(super) fn all_set(&self) -> impl Iterator<Item = Setting<'_>> {
        let parameters = self.parameters.iter().filter(|(_, given)| given.explicit);
        let parameters = parameters.map(|(name, given)| Setting {
            origin: &given.variable,
            name,
            value: &given.value,
        });
        let options = self.master.iter().filter_map(|setting| match &setting.change {
            Change::Option(name, value) => Some(Setting {
                origin: &setting.variable,
                name,
                value,
            }),
            _ => None,
        });
        let of_files = self.services.iter().flat_map(|service| {
            let origin = service.origins.first().map_or("", String::as_str);
            let options = service.options.iter();
            options.map(move |(name, value)| Setting { origin, name, value })
        });
        parameters.chain(options).chain(of_files)
    }

    /// Changes a parameter's value wherever it is set: in main.cf, and by `-o` for services of ours and of the user's own.
    pub(super) fn change_all(&mut self, parameter: &str, change: impl Fn(&mut String)) {
        if let Some(given) = self.parameters.get_mut(parameter) {
            change(&mut given.value);
        }
        for setting in &mut self.master {
            if let Change::Option(name, value) = &mut setting.change
                && name == parameter
            {
                change(value);
            }
        }
        let options = self.services.iter_mut().flat_map(|service| &mut service.options);
        for (_, value) in options.filter(|(name, _)| name == parameter) {
            change(value);
        }
    }

    /// Reads all that is Postfix's. `known` is what the installed Postfix knows.
    pub fn read(known: Parameters, reader: &mut Reader) -> Settings {
        let mut settings = Settings {
            known,
            ..Settings::default()
        };
        settings.read_services(reader);
        for other in reader.others(PARAMETER) {
            let read = settings.read_parameter(reader, &other);
            if let Err(reason) = read {
                reader.mistake(&other.name, reason);
            }
        }
        for Other { name, rest, value } in reader.others(MASTER) {
            let is_written =
                |parameter: &str, value: &str| files::is_written(parameter, value, &settings.known, reader.values());
            let read = master_settings::read(&name, &rest, &value, &settings.known, is_written)
                .and_then(|setting| setting.map_or(Ok(()), |setting| settings.add_master(setting)));
            if let Err(reason) = read {
                reader.mistake(&name, reason);
            }
        }
        settings.check_options(reader);
        settings.given = settings.parameters.len() + settings.master.len() + settings.services.len();
        settings.add_table_parameters(reader);
        settings.networks_origin = reader
            .values()
            .entry("POSTFIX_MYNETWORKS")
            .map(|entry| entry.origin.clone());
        settings.add_secrets(reader);
        settings
    }

    fn read_services(&mut self, reader: &mut Reader) {
        let files: Vec<DropIn> = reader.files(MASTER_CF_D).to_vec();
        for file in &files {
            match drop_ins::master_cf(file) {
                Ok(services) => self.services.extend(services),
                Err(mistake) => reader.mistake_in_file(mistake),
            }
        }
    }

    /// The options of services in files are read as those of variables are. What Mailroom decides is theirs to say.
    fn check_options(&mut self, reader: &mut Reader) {
        for service in &mut self.services {
            let origin = service.origins.first().cloned().unwrap_or_default();
            for (name, value) in &mut service.options {
                if self.known.find(name) != Some(name) || parameters::owned(name).is_some() {
                    continue;
                }
                match self.known.check(name, value) {
                    Ok(checked) => *value = checked,
                    Err(reason) => {
                        reader.mistake_in_file(Mistake::new(&origin, format!("-o {name}={value}"), reason));
                    }
                }
            }
        }
    }

    fn read_parameter(&mut self, reader: &mut Reader, other: &Other) -> Result<(), String> {
        let parameter = match self.known.find(&other.rest) {
            Some(parameter) => parameter.to_owned(),
            None => other.rest.to_ascii_lowercase(),
        };
        let found = self.known.find(&parameter);
        let checked_as = match found.or_else(|| self.of_own_transport(&parameter)) {
            Some(known) => known.to_owned(),
            None if self.is_referred_to(reader, &parameter) => parameter.clone(),
            None => {
                if let Some(ours) = peers::ours(&other.rest) {
                    return Err(reader.another_images(&other.name, ours));
                }
                let names = self.known.names().filter(|name| parameters::may_be_set(name));
                let names: Vec<String> = names
                    .map(|name| format!("{PARAMETER}{}", name.to_ascii_uppercase()))
                    .collect();
                return Err(reader.unknown(&other.name, "is not a parameter of the installed Postfix", &names));
            }
        };
        if let Some(reason) = parameters::owned(&parameter) {
            let is_ours = files::is_written(&parameter, &other.value, &self.known, reader.values());
            return if is_ours {
                Ok(())
            } else {
                Err(format!("is decided by mailroom: {reason}"))
            };
        }
        let value = match self.known.check(&checked_as, &other.value) {
            // Compose files pass `${UNSET}` on as nothing.
            Err(_) if other.value.trim().is_empty() => return Ok(()),
            checked => checked?,
        };
        if let Some(other) = self.other_variable_for(reader, &parameter, &value) {
            return Err(format!("sets {parameter}, and so does {other}: keep one of them"));
        }
        let given = Given {
            variable: reader.origin(&other.name),
            value,
            explicit: true,
        };
        self.parameters.insert(parameter, given);
        Ok(())
    }

    /// Two variables for one parameter (another spelling, or the founding README's name and Postfix's own) must agree.
    fn other_variable_for(&self, reader: &Reader, parameter: &str, value: &str) -> Option<String> {
        let earlier = self
            .parameters
            .get(parameter)
            .map(|given| (given.variable.clone(), given.value.clone()));
        let by_table = reader
            .table()
            .of_parameter(&format!("{PARAMETER}{parameter}"))
            .and_then(|variable| {
                let (name, given) = reader.given().find(|(name, _)| *name == variable.name)?;
                Some((reader.origin(name), given.to_owned()))
            });
        earlier
            .or(by_table)
            .filter(|(_, other)| other.trim() != value)
            .map(|(variable, _)| variable)
    }

    /// Whether another value makes this name a parameter of the user's own: as `$name`, as a restriction class, or as what
    /// is asked of the table `ldap:NAME` (ldap_table(5)).
    fn is_referred_to(&self, reader: &Reader, name: &str) -> bool {
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
        let ours = |name: &str| name.starts_with(PARAMETER) || name.starts_with(MASTER);
        let given = reader.given().filter(|(other, _)| ours(other));
        let options = self.services.iter().flat_map(|service| &service.options);
        let arguments = self.services.iter().flat_map(|service| &service.arguments);
        given
            .chain(options.map(|(option, value)| (option.as_str(), value.as_str())))
            .chain(arguments.map(|argument| (argument.as_str(), argument.as_str())))
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

    /// Two variables for one place, in another case, must agree.
    fn add_master(&mut self, setting: MasterSetting) -> Result<(), String> {
        match self.master.iter().find(|other| other.is_about_the_same(&setting)) {
            Some(other) if other.change != setting.change => {
                Err(format!("sets what {} sets: keep one of them", other.variable))
            }
            Some(_) => Ok(()),
            None => {
                self.master.push(setting);
                Ok(())
            }
        }
    }

    /// Adds what main.cf gets from the variables of the table. `mynetworks` depends on where the container is, too: trust
    /// decides.
    fn add_table_parameters(&mut self, reader: &Reader) {
        for variable in variables::of_main_cf().filter(|variable| !matches!(variable.kind, Kind::Networks)) {
            let (Some(parameter), Some(entry)) = (variable.parameter, reader.values().entry(variable.name)) else {
                continue;
            };
            // 0 leaves Postfix's own limit in place.
            if variable.default == "0" && entry.canonical == "0" {
                continue;
            }
            let given = Given {
                variable: entry.origin.clone(),
                value: entry.canonical.clone(),
                explicit: entry.explicit,
            };
            self.parameters.entry(parameter.to_owned()).or_insert(given);
        }
    }

    /// Secrets as they are rendered, and those in drop-in files.
    fn add_secrets(&self, reader: &mut Reader) {
        let given: Vec<(String, bool)> = reader
            .given()
            .map(|(name, _)| (reader.origin(name), reader.is_secret(name)))
            .collect();
        let is_secret = |origin: &str| given.iter().any(|(other, secret)| *secret && other == origin);
        for given in self.parameters.values().filter(|given| is_secret(&given.variable)) {
            reader.add_secret(&given.value);
        }
        let options = self.services.iter().flat_map(|service| &service.options);
        for (_, value) in options.filter(|(name, value)| secrets::is_secret(name, value)) {
            reader.add_secret(value);
        }
    }

    /// Fills the typed values.
    pub(super) fn type_values(&mut self, values: &Values) -> anyhow::Result<()> {
        self.relay = envy::from_iter(values.pairs())?;
        self.submission = envy::from_iter(values.pairs())?;
        Ok(())
    }

    /// The login at the relay host becomes a table of ours.
    pub(super) fn use_relay_login(&mut self, values: &Values) {
        if self.relay.username.is_empty() {
            return;
        }
        let origin = values
            .entry("MAILROOM_RELAYHOST_USERNAME")
            .map(|entry| entry.origin.clone());
        let given = Given {
            variable: origin.unwrap_or_default(),
            value: format!("lmdb:{RELAY_LOGIN}"),
            explicit: true,
        };
        self.parameters.insert("smtp_sasl_password_maps".to_owned(), given);
    }

    /// Whether the relay host is given a login.
    pub fn relay_login(&self) -> bool {
        !self.relay.password_maps.is_empty() || !self.relay.username.is_empty()
    }
}

/// Types of tables that take their own settings from parameters, `NAME_server_host` (DATABASE_README).
const ASKED_BY_NAME: [&str; 6] = ["ldap", "memcache", "mongodb", "mysql", "pgsql", "sqlite"];
