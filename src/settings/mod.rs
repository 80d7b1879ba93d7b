//! The environment, read once into validated types. Pure: all mistakes come back in one report.

pub mod kind;
pub mod network;
mod noise;
pub mod report;
pub mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use self::kind::Value;
pub use self::network::Network;
pub use self::report::{Mistake, Report};
use self::table::{VARIABLES, Variable};
use crate::postfix::parameters::{self, Parameters};

/// The environment as strings: name to value.
pub type Environment = BTreeMap<String, String>;

/// A main.cf parameter that the environment sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The variable that set it.
    pub variable: String,
    /// Its value.
    pub value: String,
}

/// Everything that the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `POSTFIX_MYHOSTNAME`.
    pub hostname: String,
    /// `POSTFIX_MYDOMAIN`, the primary domain.
    pub domain: String,
    /// `POSTFIX_MYNETWORKS`; `None` when unset or empty.
    pub networks: Option<Vec<Network>>,
    /// `POSTFIX_MESSAGE_SIZE_LIMIT` in bytes.
    pub message_size_limit: u64,
    /// `POSTFIX_SMTP_SASL_PASSWORD_MAPS` is not empty: log in at the relay host.
    pub relay_login: bool,
    /// `POSTFIX_INET_PROTOCOLS`: `ipv4`, `ipv6` or `all`.
    pub protocols: String,
    /// `POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT`: most delivery processes of a transport; `None` for no limit of ours.
    pub delivery_processes: Option<u64>,
    /// `MAILROOM_TRUST_GATEWAY`.
    pub trust_gateway: bool,
    /// `MAILROOM_STOP_TIMEOUT`.
    pub stop_timeout: Duration,
    /// `TZ`.
    pub time_zone: String,
    /// main.cf parameters by their own names: the table's, with their defaults, and all others that were given.
    pub parameters: BTreeMap<String, Given>,
    /// What a user should know about how a value was understood.
    pub notes: Vec<String>,
}

/// Names of environment variables that are not in our table and would have to be main.cf parameters.
///
/// The installed Postfix needs to be asked for its parameters only where there are some.
pub fn needs_parameters(environment: &Environment) -> bool {
    environment
        .keys()
        .any(|name| name.starts_with("POSTFIX_") && table::variable(name).is_none())
}

impl Settings {
    /// Reads the environment. `known` are the parameters of the installed Postfix.
    pub fn from_environment(environment: &Environment, known: &Parameters) -> Result<Settings, Report> {
        let mut reader = Reader {
            environment,
            known,
            mistakes: Vec::new(),
            values: BTreeMap::new(),
        };
        reader.read_table();
        let mut parameters = reader.read_others();
        if !reader.mistakes.is_empty() {
            return Err(Report(reader.mistakes));
        }
        let networks = reader.networks("POSTFIX_MYNETWORKS");
        let notes = networks.iter().filter_map(normalised_note).collect();
        for variable in VARIABLES {
            if let Some(given) = reader.parameter(variable) {
                parameters
                    .entry(variable.parameter.unwrap_or_default().to_owned())
                    .or_insert(given);
            }
        }
        Ok(Settings {
            hostname: reader.text("POSTFIX_MYHOSTNAME"),
            domain: reader.text("POSTFIX_MYDOMAIN"),
            networks: (!networks.is_empty()).then_some(networks),
            message_size_limit: reader.number("POSTFIX_MESSAGE_SIZE_LIMIT"),
            relay_login: !reader.text("POSTFIX_SMTP_SASL_PASSWORD_MAPS").is_empty(),
            protocols: reader.text("POSTFIX_INET_PROTOCOLS"),
            delivery_processes: Some(reader.number("POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT")).filter(|limit| *limit > 0),
            trust_gateway: reader.switch("MAILROOM_TRUST_GATEWAY"),
            stop_timeout: reader.seconds("MAILROOM_STOP_TIMEOUT"),
            time_zone: reader.text("TZ"),
            parameters,
            notes,
        })
    }
}

fn normalised_note(network: &Network) -> Option<String> {
    let given = network.given.as_ref()?;
    let sign = if network.excluded { "!" } else { "" };
    Some(format!(
        "POSTFIX_MYNETWORKS: {given} has host bits, using {sign}{}",
        network.net
    ))
}

/// Reads variable after variable, gathering mistakes instead of stopping at the first.
struct Reader<'a> {
    environment: &'a Environment,
    known: &'a Parameters,
    mistakes: Vec<Mistake>,
    values: BTreeMap<&'static str, Value>,
}

impl Reader<'_> {
    fn mistake(&mut self, variable: &str, reason: String) {
        let value = self.environment.get(variable).cloned().unwrap_or_default();
        self.mistakes.push(Mistake {
            variable: variable.to_owned(),
            value,
            reason,
        });
    }

    /// Reads every variable of the table, given or not. A variable that must not be empty keeps its default when it is:
    /// compose files pass `${UNSET}` on as nothing.
    fn read_table(&mut self) {
        for variable in VARIABLES {
            let given = self
                .environment
                .get(variable.name)
                .filter(|value| !value.trim().is_empty());
            let text = given.map_or(variable.default, String::as_str);
            match variable.kind.parse(text) {
                Ok(value) => {
                    self.values.insert(variable.name, value);
                }
                Err(reason) => self.mistake(variable.name, reason),
            }
        }
    }

    /// Reads all variables with our prefixes that are not in the table.
    fn read_others(&mut self) -> BTreeMap<String, Given> {
        let mut parameters: BTreeMap<String, Given> = BTreeMap::new();
        for (name, value) in self.environment {
            if table::variable(name).is_some() {
                continue;
            }
            let Some((prefix, rest)) = ["POSTFIX_", "DOVECOT_", "MAILROOM_"]
                .into_iter()
                .find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)))
            else {
                continue;
            };
            let parameter = self.known.find(rest).filter(|_| prefix == "POSTFIX_");
            if parameter.is_none() && noise::is_noise(rest, value) {
                continue;
            }
            match self.read_parameter(prefix, rest, value, parameter) {
                Err(reason) => self.mistake(name, reason),
                Ok(parameter) => {
                    let given = Given {
                        variable: name.clone(),
                        value: value.trim().to_owned(),
                    };
                    let earlier = parameters.insert(parameter.clone(), given);
                    self.refuse_second(name, value, &parameter, earlier.as_ref());
                }
            }
        }
        parameters
    }

    /// The name of the parameter that the variable sets, or why it sets none.
    fn read_parameter(&self, prefix: &str, rest: &str, value: &str, parameter: Option<&str>) -> Result<String, String> {
        if prefix != "POSTFIX_" {
            return Err(self.unknown(prefix, rest));
        }
        let name = match parameter {
            Some(name) => name.to_owned(),
            None if self.is_referred_to(rest) => rest.to_ascii_lowercase(),
            None => return Err(self.unknown(prefix, rest)),
        };
        if let Some(reason) = parameters::owned(&name) {
            return Err(format!("is decided by mailroom: {reason}"));
        }
        kind::one_line(value)?;
        Ok(name)
    }

    /// Two variables for one parameter (another spelling, or the seed's name and Postfix's own) must agree.
    fn refuse_second(&mut self, name: &str, value: &str, parameter: &str, earlier: Option<&Given>) {
        let by_table = VARIABLES
            .iter()
            .find(|variable| variable.parameter == Some(parameter))
            .and_then(|variable| {
                let value = self.environment.get(variable.name)?.clone();
                Some(Given {
                    variable: variable.name.to_owned(),
                    value,
                })
            });
        if let Some(other) = earlier.cloned().or(by_table)
            && other.value.trim() != value.trim()
        {
            self.mistake(
                name,
                format!("sets {parameter}, and so does {}: keep one of them", other.variable),
            );
        }
    }

    /// Whether another value uses this name as `$name`, `${name}` or `$(name)`: a parameter of the user's own.
    fn is_referred_to(&self, rest: &str) -> bool {
        let name = rest.to_ascii_lowercase();
        self.environment
            .iter()
            .filter(|(other, _)| other.starts_with("POSTFIX_"))
            .any(|(_, value)| {
                value.split('$').skip(1).any(|reference| {
                    let reference = reference.trim_start_matches(['{', '(']);
                    let end = reference
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(reference.len());
                    reference[..end] == name
                })
            })
    }

    fn unknown(&self, prefix: &str, rest: &str) -> String {
        let name = format!("{prefix}{}", rest.to_ascii_uppercase());
        let parameters = self
            .known
            .names()
            .filter(|_| prefix == "POSTFIX_")
            .map(|known| format!("POSTFIX_{}", known.to_ascii_uppercase()));
        let names: Vec<String> = VARIABLES
            .iter()
            .map(|variable| variable.name.to_owned())
            .chain(parameters)
            .collect();
        let what = match prefix {
            "POSTFIX_" => "is not a parameter of the installed Postfix",
            "DOVECOT_" => "is not a variable of mailroom (Dovecot has none so far)",
            _ => "is not a variable of mailroom",
        };
        match nearest(&name, names.iter().map(String::as_str)) {
            Some(nearest) => format!("{what}; did you mean {nearest}?"),
            None => what.to_owned(),
        }
    }

    /// What main.cf gets from a variable of the table.
    fn parameter(&self, variable: &Variable) -> Option<Given> {
        variable.parameter?;
        let value = match self.values.get(variable.name)? {
            Value::Text(text) => text.clone(),
            // 0 leaves Postfix's own limit in place.
            Value::Number(0) if variable.default == "0" => return None,
            Value::Number(number) => number.to_string(),
            // mynetworks depends on where the container is, too: trust decides.
            _ => return None,
        };
        Some(Given {
            variable: variable.name.to_owned(),
            value,
        })
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

    fn networks(&self, name: &str) -> Vec<Network> {
        match self.values.get(name) {
            Some(Value::Networks(networks)) => networks.clone(),
            other => unreachable!("{name} is not a list of networks in the table: {other:?}"),
        }
    }
}

/// The candidate most like `text`, if any is like it at all.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(text.len())))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn known() -> Parameters {
        Parameters::parse(
            "myhostname = x\nsmtp_tls_CAfile =\ndefault_destination_concurrency_limit = 20\nqueue_directory = /x\nmaillog_file =\n",
        )
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Report> {
        Settings::from_environment(&environment(pairs), &known())
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
    fn kubernetes_and_foreign_names_are_ignored_and_unknown_ones_of_ours_are_not() {
        assert!(
            read(&[
                ("POSTFIX_PORT_25_TCP_ADDR", "10.0.0.1"),
                ("PATH", "/bin"),
                ("MAIL_FROM", "x")
            ])
            .is_ok()
        );
        let report = read(&[("MAILROOM_TRUST_GATEWY", "yes"), ("DOVECOT_X", "1")]).unwrap_err();
        assert_eq!(report.0.len(), 2);
        assert!(
            report.0[1].reason.ends_with("did you mean MAILROOM_TRUST_GATEWAY?"),
            "{:?}",
            report.0[1]
        );
    }

    proptest! {
        /// Whatever the environment holds: settings, or a report that names a variable that was given.
        #[test]
        fn any_environment_is_read_or_refused_by_name(
            pairs in proptest::collection::btree_map("(POSTFIX_|MAILROOM_|DOVECOT_|)[A-Z_a-z]{0,20}|POSTFIX_MYNETWORKS|POSTFIX_RELAYHOST|TZ", ".{0,40}", 0..8)
        ) {
            match Settings::from_environment(&pairs, &known()) {
                Ok(settings) => prop_assert!(settings.parameters.values().all(|given| !given.value.contains('\n'))),
                Err(report) => prop_assert!(report.0.iter().all(|mistake| pairs.contains_key(&mistake.variable))),
            }
        }
    }
}
