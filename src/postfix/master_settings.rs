//! `MAILROOM_MASTER_<SERVICE>_<TYPE>[_<WHAT>]`: what master.cf says of a service.

use std::collections::BTreeMap;

use super::main_cf::Given;
use super::master_cf::{FIELDS, PROCESS_LIMIT, Service, services};
use super::parameters::{self, Parameters};
use crate::values::kind::{self, Kind};
use crate::values::nearest;

/// One change to master.cf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSetting {
    /// The variable that makes it.
    pub variable: String,
    /// The service's name and type.
    pub service: (String, String),
    /// What is changed.
    pub change: Change,
}

impl MasterSetting {
    /// Whether both set the same field or option of one service.
    pub fn is_about_the_same(&self, other: &MasterSetting) -> bool {
        let same = match (&self.change, &other.change) {
            (Change::Off, Change::Off) => true,
            (Change::Field(one, _), Change::Field(two, _)) => one == two,
            (Change::Option(one, _), Change::Option(two, _)) => one == two,
            _ => false,
        };
        same && self.service == other.service
    }
}

/// What is changed of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There is none.
    Off,
    /// A field, by its place.
    Field(usize, String),
    /// An `-o` option.
    Option(String, String),
}

impl Change {
    /// What is set, if anything.
    pub fn value(&self) -> Option<&String> {
        match self {
            Change::Off => None,
            Change::Field(_, value) | Change::Option(_, value) => Some(value),
        }
    }
}

/// Services that may be switched off: the listeners. Nothing works without the others.
pub(super) const OPTIONAL: [&str; 3] = ["smtp_inet", "submission_inet", "submissions_inet"];

/// Dovecot's listeners, each before one whose name it begins with.
const DOVECOTS: [&str; 4] = ["imaps", "imap", "pop3s", "pop3"];

/// Reads one variable; `rest` is its name behind `MAILROOM_MASTER_`.
/// Nothing comes of one that is empty and cannot be, for compose files pass `${UNSET}` on so, nor of one that `is_written`
/// anyway though Mailroom decides it.
pub fn read(
    variable: &str,
    rest: &str,
    value: &str,
    known: &Parameters,
    is_written: impl Fn(&str, &str) -> bool,
) -> Result<Option<MasterSetting>, String> {
    let (service, what) = split(rest).ok_or_else(|| no_service(&rest.to_ascii_lowercase()))?;
    let is_decided = |parameter: &str| parameters::owned(parameter).is_some() && is_written(parameter, value);
    if known.find(&what).is_some_and(is_decided) {
        return Ok(None);
    }
    let change = match change(&service, &what, value.trim(), known) {
        Err(_) if value.trim().is_empty() && (what.is_empty() || is_known(rest, known)) => return Ok(None),
        change => change?,
    };
    Ok(Some(MasterSetting {
        variable: variable.to_owned(),
        change,
        service: (service.name, service.kind),
    }))
}

/// The service that a name behind `MAILROOM_MASTER_` begins with, the longest, and what of it is meant.
fn split(rest: &str) -> Option<(Service, String)> {
    let rest = rest.to_ascii_lowercase();
    let what = |service: &Service| {
        let what = rest.strip_prefix(&service.variable())?;
        what.strip_prefix('_')
            .or_else(|| what.is_empty().then_some(""))
            .map(str::to_owned)
    };
    services()
        .into_iter()
        .filter_map(|service| what(&service).map(|what| (service, what)))
        .min_by_key(|(_, what)| what.len())
}

/// Whether a name behind `MAILROOM_MASTER_` is one that [`read`] knows.
pub fn is_known(rest: &str, known: &Parameters) -> bool {
    split(rest).is_some_and(|(_, what)| field(&what).is_some() || known.find(&what).is_some())
}

fn field(what: &str) -> Option<usize> {
    FIELDS.iter().find(|(name, _)| *name == what).map(|(_, place)| *place)
}

/// The services with these changes, and with those of drop-in files in place of them or beside them.
pub fn applied(mut services: Vec<Service>, master: &[MasterSetting], own: &[Service]) -> Vec<Service> {
    for setting in master {
        let (name, kind) = &setting.service;
        if setting.change == Change::Off {
            services.retain(|service| !service.is(name, kind));
        }
        for service in services.iter_mut().filter(|service| service.is(name, kind)) {
            change_service(service, setting);
        }
    }
    for own in own {
        match services.iter_mut().find(|service| service.is(&own.name, &own.kind)) {
            Some(service) => service.clone_from(own),
            None => services.push(own.clone()),
        }
    }
    services
}

/// Above a service stands who changed it.
fn change_service(service: &mut Service, setting: &MasterSetting) {
    match &setting.change {
        Change::Off => return,
        Change::Field(place, value) => service.fields[*place].clone_from(value),
        Change::Option(option, value) => service.set_option(option, value),
    }
    service.origins.push(setting.variable.clone());
}

fn no_service(rest: &str) -> String {
    let is_dovecots = |name: &&&str| {
        rest.strip_prefix(**name)
            .is_some_and(|end| end.is_empty() || end.starts_with('_'))
    };
    if let Some(name) = DOVECOTS.iter().find(is_dovecots) {
        let protocol = &name[..4];
        return format!(
            "names no service of master.cf: IMAP and POP3 are Dovecot's; do not publish the port, or switch its listener off: \
             DOVECOT_SERVICE__{}_LOGIN__INET_LISTENER__{}__PORT=0",
            protocol.to_ascii_uppercase(),
            name.to_ascii_uppercase()
        );
    }
    let names: Vec<String> = services().iter().map(Service::variable).collect();
    let begins = |name: &str| rest.get(..name.len()).unwrap_or(rest).to_owned();
    let nearest = names
        .iter()
        .min_by_key(|name| strsim::damerau_levenshtein(&begins(name), name))
        .filter(|name| nearest(&begins(name), std::iter::once(name.as_str())).is_some());
    match nearest {
        Some(nearest) => format!(
            "names no service of master.cf; did you mean MAILROOM_MASTER_{}?",
            nearest.to_ascii_uppercase()
        ),
        None => "names no service of master.cf: write MAILROOM_MASTER_<SERVICE>_<TYPE>, such as \
                 MAILROOM_MASTER_SUBMISSION_INET=off or MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT=20"
            .to_owned(),
    }
}

fn change(service: &Service, what: &str, value: &str, known: &Parameters) -> Result<Change, String> {
    let variable = service.variable();
    if what.is_empty() {
        return match value.to_ascii_lowercase().as_str() {
            "off" | "no" | "false" if OPTIONAL.contains(&variable.as_str()) => Ok(Change::Off),
            "off" | "no" | "false" => Err("cannot be switched off: Postfix does not work without it".to_owned()),
            _ => Err("must be off; name a parameter or a field to change it".to_owned()),
        };
    }
    if let Some(place) = field(what) {
        return field_value(service, place, value).map(|value| Change::Field(place, value));
    }
    let Some(parameter) = known.find(what) else {
        let names = known.names().filter(|name| parameters::may_be_set(name));
        let names = names.chain(FIELDS.iter().map(|(name, _)| *name));
        let nearest = nearest(what, names).map(|name| {
            let name = name.to_ascii_uppercase();
            format!(
                "; did you mean MAILROOM_MASTER_{}_{name}?",
                variable.to_ascii_uppercase()
            )
        });
        return Err(format!(
            "{what} is not a parameter of the installed Postfix{}",
            nearest.unwrap_or_default()
        ));
    };
    match parameters::owned(parameter) {
        Some(reason) => Err(format!("{parameter} is decided by mailroom: {reason}")),
        // Gateways are taken out of it, and Dovecot trusts the same networks.
        None if parameter == "mynetworks" => Err("is the same for every service: set POSTFIX_MYNETWORKS".to_owned()),
        None => Ok(Change::Option(parameter.to_owned(), known.check(parameter, value)?)),
    }
}

/// A process limit that master.cf fixes is one that the service does not work without (master(5)).
fn field_value(service: &Service, place: usize, value: &str) -> Result<String, String> {
    kind::one_line(value)?;
    let fixed = &service.fields[place];
    let (number, unit) = if place == PROCESS_LIMIT {
        if fixed != "-" && !fixed.starts_with("{{") {
            return Err(format!(
                "cannot be changed: {} needs a process limit of {fixed}",
                service.name
            ));
        }
        (value, "processes")
    } else {
        (value.strip_suffix('?').unwrap_or(value), "seconds")
    };
    if value != "-" {
        Kind::Number { unit }.canonical(number)?;
    }
    Ok(value.to_owned())
}

/// What a user should know: a parameter that was given does not reach a service whose own `-o` line sets it.
pub fn shadowed(parameters: &BTreeMap<String, Given>, master: &[MasterSetting]) -> Vec<String> {
    let mut notes = Vec::new();
    for service in services() {
        for (name, value) in &service.options {
            let Some(given) = parameters
                .get(name)
                .filter(|given| given.explicit && given.value != *value)
            else {
                continue;
            };
            let reached_by = match value.strip_prefix('$') {
                Some(other) => format!("POSTFIX_{}", other.to_ascii_uppercase()),
                None => format!("MAILROOM_MASTER_{}_{name}", service.variable()).to_ascii_uppercase(),
            };
            if !master
                .iter()
                .any(|setting| setting.variable.eq_ignore_ascii_case(&reached_by))
            {
                notes.push(format!(
                    "{} does not reach {}/{}, where master.cf says {name}={value}: set {reached_by} for that",
                    given.variable, service.name, service.kind
                ));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Parameters {
        Parameters::parse(
            "smtpd_tls_security_level =\nsmtpd_client_restrictions =\nmynetworks =\nqueue_directory = /x\nmax_idle = 100s\n",
            "",
        )
    }

    fn set(rest: &str, value: &str) -> Result<Change, String> {
        change_of(rest, value).map(Option::unwrap)
    }

    fn change_of(rest: &str, value: &str) -> Result<Option<Change>, String> {
        let read = read("X", rest, value, &known(), |_, value| value == "/here");
        read.map(|setting| setting.map(|setting| setting.change))
    }

    #[test]
    fn fields_options_and_services() {
        assert_eq!(set("SUBMISSION_INET", "off"), Ok(Change::Off));
        assert_eq!(set("SMTP_UNIX_PROCESS_LIMIT", "20"), Ok(Change::Field(4, "20".into())));
        assert_eq!(set("QMGR_UNIX_WAKEUP", "300?"), Ok(Change::Field(3, "300?".into())));
        assert_eq!(
            set("SMTP_INET_SMTPD_TLS_SECURITY_LEVEL", "none"),
            Ok(Change::Option("smtpd_tls_security_level".into(), "none".into()))
        );
        let setting = read("X", "SUBMISSIONS_INET_MAX_IDLE", "5s", &known(), |_, _| false);
        let setting = setting.unwrap().unwrap();
        assert_eq!(
            setting.service,
            ("submissions".into(), "inet".into()),
            "the longest name"
        );
    }

    #[test]
    fn empty_is_unset_where_nothing_can_be_empty() {
        for rest in [
            "SMTP_UNIX_PROCESS_LIMIT",
            "SUBMISSION_INET",
            "SMTP_INET_MAX_IDLE",
            "QMGR_UNIX_WAKEUP",
        ] {
            assert_eq!(change_of(rest, " "), Ok(None), "{rest}");
        }
        let emptied = Change::Option("smtpd_client_restrictions".into(), String::new());
        assert_eq!(set("SUBMISSION_INET_SMTPD_CLIENT_RESTRICTIONS", ""), Ok(emptied));
        assert!(set("SMTP_INET_MAX_IDEL", "").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn what_is_decided_may_be_set_to_what_it_is() {
        assert_eq!(change_of("SMTP_INET_QUEUE_DIRECTORY", "/here"), Ok(None));
        assert!(change_of("SMTP_INET_QUEUE_DIRECTORY", "/there").is_err());
    }

    #[test]
    fn mistakes_suggest() {
        assert!(
            set("SUBMISION_INET", "off")
                .unwrap_err()
                .ends_with("did you mean MAILROOM_MASTER_SUBMISSION_INET?")
        );
        assert!(set("QMGR_UNIX", "off").unwrap_err().contains("cannot be switched off"));
        assert!(set("SMTP_INET", "on").unwrap_err().contains("must be off"));
        assert!(
            set("SMTP_INET_MAX_IDEL", "5s")
                .unwrap_err()
                .ends_with("did you mean MAILROOM_MASTER_SMTP_INET_MAX_IDLE?")
        );
        assert!(set("SMTP_INET_MAX_IDLE", "x").unwrap_err().contains("a time"));
        assert!(
            set("SMTP_INET_QUEUE_DIRECTORY", "/q")
                .unwrap_err()
                .contains("decided by mailroom")
        );
        assert!(
            set("SMTP_UNIX_PROCESS_LIMIT", "many")
                .unwrap_err()
                .contains("whole number")
        );
        assert!(
            set("SMTP_UNIX_PROCESS_LIMIT", "-5")
                .unwrap_err()
                .contains("whole number")
        );
        assert!(set("PICKUP_UNIX_WAKEUP", "-1").unwrap_err().contains("whole number"));
        assert!(
            set("QMGR_UNIX_PROCESS_LIMIT", "5")
                .unwrap_err()
                .contains("qmgr needs a process limit of 1")
        );
        assert_eq!(
            set("SMTP_INET_SMTPD_TLS_SECURITY_LEVEL", "require"),
            Ok(Change::Option("smtpd_tls_security_level".into(), "encrypt".into()))
        );
        assert!(
            set("SMTP_INET_MYNETWORKS", "0.0.0.0/0")
                .unwrap_err()
                .contains("set POSTFIX_MYNETWORKS")
        );
    }

    #[test]
    fn what_does_not_reach_a_service_is_told() {
        let given = |value: &str| Given {
            variable: "POSTFIX_X".into(),
            value: value.into(),
            explicit: true,
        };
        let parameters = BTreeMap::from([
            ("smtpd_tls_security_level".to_owned(), given("may")),
            ("smtpd_client_restrictions".to_owned(), given("permit")),
        ]);
        let notes = shadowed(&parameters, &[]);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(
            notes[0].ends_with("set MAILROOM_MASTER_SUBMISSION_INET_SMTPD_TLS_SECURITY_LEVEL for that"),
            "{notes:?}"
        );
        assert!(
            notes[1].ends_with("set POSTFIX_MUA_CLIENT_RESTRICTIONS for that"),
            "{notes:?}"
        );
    }
}
