//! What is wrong in the whole though each value alone is right: what `postfix check` does not see and what breaks mail, or
//! opens the relay.

use ipnet::IpNet;

use super::Mistake;
use super::master::{Change, applied};
use super::reader::Reader;
use crate::postfix::main_cf;
use crate::postfix::master_cf::{self, Service};
use crate::postfix::parameters::split_words;
use crate::values::network::{self, Networks, is_public};

/// All of them.
pub(super) fn all(reader: &Reader) -> Vec<Mistake> {
    let checks = [mailbox_limits, restrictions, relay_login, public_networks, listeners];
    checks
        .into_iter()
        .flat_map(|check| check(reader))
        .map(|(variable, reason)| reader.make_mistake(&variable, reason))
        .collect()
}

type Wrong = Vec<(String, String)>;

/// The variable, by its name in the environment, that sets a parameter.
fn variable_of(reader: &Reader, parameter: &str) -> Option<String> {
    let given = reader.parameters.get(parameter).filter(|given| given.explicit)?;
    let by_origin = reader.origins.iter().find(|(_, origin)| **origin == given.variable);
    Some(by_origin.map_or_else(|| given.variable.clone(), |(variable, _)| variable.clone()))
}

/// A service of master.cf as it will run, with what main.cf says where it has no `-o`.
struct Scope<'a> {
    reader: &'a Reader<'a>,
    service: Service,
}

/// Deepest chain of references that is followed.
const DEPTH: usize = 8;

impl Scope<'_> {
    /// A parameter's value, and who set it: a variable, or `file:line`; nobody where it is ours.
    fn value(&self, parameter: &str) -> (String, Option<String>) {
        let Service {
            name, kind, options, ..
        } = &self.service;
        if let Some((_, value)) = options.iter().find(|(option, _)| option == parameter) {
            let in_file = self.reader.services.iter().rev().find(|service| service.is(name, kind));
            let changed = self.reader.master.iter().rev().find(|setting| {
                let is_it = matches!(&setting.change, Change::Option(option, _) if option == parameter);
                is_it && setting.service == (name.clone(), kind.clone())
            });
            let by = in_file.and_then(|service| service.origins.first().cloned());
            return (
                value.clone(),
                by.or_else(|| changed.map(|setting| setting.variable.clone())),
            );
        }
        let value = match self.reader.parameters.get(parameter) {
            Some(given) => given.value.as_str(),
            None => main_cf::in_template(parameter).unwrap_or_else(|| self.reader.known.default_of(parameter)),
        };
        (value.to_owned(), variable_of(self.reader, parameter))
    }

    fn number(&self, parameter: &str) -> (u64, Option<String>) {
        let (value, by) = self.value(parameter);
        (value.parse().unwrap_or(0), by)
    }

    /// The words of a list, with what `$name` stands for, and who set any of them.
    fn words(&self, parameter: &str, depth: usize) -> (Vec<String>, Vec<String>) {
        let (value, by) = self.value(parameter);
        let (mut words, mut setters) = (Vec::new(), Vec::from_iter(by));
        for word in split_words(&value) {
            match whole_reference(&word).filter(|_| depth < DEPTH) {
                Some(name) => {
                    let (more, by) = self.words(name, depth + 1);
                    words.extend(more);
                    setters.extend(by);
                }
                None => words.push(word),
            }
        }
        (words, setters)
    }

    /// The restrictions of a class of the user's own.
    fn class(&self, word: &str, depth: usize) -> Option<Vec<String>> {
        let (classes, _) = self.words("smtpd_restriction_classes", 0);
        (depth < DEPTH && classes.iter().any(|class| class == word)).then(|| self.words(word, 0).0)
    }

    /// Whether smtpd(8) finds one of those that it wants: it looks at words alone, and at none behind `permit`.
    fn closes(&self, words: &[String], depth: usize) -> bool {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "warn_if_reject" => {
                    words.next();
                }
                "permit" => return false,
                word if is_closing(word) => return true,
                word if self
                    .class(word, depth)
                    .is_some_and(|class| self.closes(&class, depth + 1)) =>
                {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// What becomes of a stranger's mail for a stranger. Tables may decide as well: they are not looked into.
    fn outcome(&self, words: &[String], depth: usize) -> Outcome {
        let mut only_warns = false;
        for word in words {
            let word = word.to_ascii_lowercase();
            let outcome = match self.class(&word, depth) {
                Some(class) => self.outcome(&class, depth + 1),
                None if word == "permit" => Outcome::Admitted,
                None if is_closing(&word) => Outcome::Refused,
                None => Outcome::Undecided,
            };
            match outcome {
                Outcome::Undecided => {}
                Outcome::Refused if only_warns => {}
                decided => return decided,
            }
            only_warns = word == "warn_if_reject";
        }
        Outcome::Undecided
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Admitted,
    Refused,
    Undecided,
}

/// The services that run one of these programs.
fn services<'a>(reader: &'a Reader<'a>, programs: &'a [&str]) -> impl Iterator<Item = Scope<'a>> {
    let services = applied(master_cf::services(), &reader.master, &reader.services);
    let runs = |service: &Service| programs.contains(&service.program.as_str());
    services
        .into_iter()
        .filter(runs)
        .map(|service| Scope { reader, service })
}

/// `$name`, `${name}` or `$(name)`, and nothing else.
fn whole_reference(word: &str) -> Option<&str> {
    let inner = word.strip_prefix('$')?;
    let braces = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    let name = braces
        .or_else(|| inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')))
        .unwrap_or(inner);
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        .then_some(name)
}

/// virtual(8) and local(8) are fatal when a mailbox may not be as large as a message.
fn mailbox_limits(reader: &Reader) -> Wrong {
    let mut wrong = Wrong::new();
    for scope in services(reader, &["virtual", "local"]) {
        let parameter = match scope.service.program.as_str() {
            "virtual" => "virtual_mailbox_limit",
            _ => "mailbox_size_limit",
        };
        let (message, message_by) = scope.number("message_size_limit");
        let (limit, by) = scope.number(parameter);
        if limit > 0
            && (limit < message || message == 0)
            && let Some(variable) = by.or(message_by)
        {
            let needed = if message == 0 {
                "0".to_owned()
            } else {
                format!("0, or at least {message}")
            };
            wrong.push((
                variable,
                format!("is below POSTFIX_MESSAGE_SIZE_LIMIT, with which Postfix delivers nothing: must be {needed}"),
            ));
        }
    }
    wrong
}

/// smtpd(8) refuses to work without one of these in smtpd_relay_restrictions or smtpd_recipient_restrictions.
const CLOSING: [&str; 6] = [
    "reject",
    "defer",
    "defer_if_permit",
    "reject_unauth_destination",
    "defer_unauth_destination",
    "check_relay_domains",
];

/// In a conditional value (`${name?{a}:{b}}`) any branch may be the one.
fn is_closing(word: &str) -> bool {
    let mut parts = word.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    CLOSING.contains(&word) || (word.starts_with('$') && parts.any(|part| CLOSING.contains(&part)))
}

/// Of every smtpd: both lists are gone through, and mail is taken when neither refuses it.
fn restrictions(reader: &Reader) -> Wrong {
    let allowed = reader.switch("MAILROOM_ALLOW_OPEN_RELAY");
    let mut wrong = Wrong::new();
    for scope in services(reader, &["smtpd"]) {
        let lists = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"].map(|list| scope.words(list, 0));
        let outcomes = lists.each_ref().map(|(words, _)| scope.outcome(words, 0));
        let is_open = !outcomes.contains(&Outcome::Refused) && outcomes.contains(&Outcome::Admitted);
        let reason = if is_open && !allowed {
            "lets everybody relay through this server: put reject_unauth_destination before permit, or set \
             MAILROOM_ALLOW_OPEN_RELAY=yes"
        } else if !lists.iter().any(|(words, _)| scope.closes(words, 0)) {
            "lets nobody in and nobody out: Postfix wants reject_unauth_destination, reject or defer in it, and not \
             behind permit"
        } else {
            continue;
        };
        let [(_, relay), (_, recipient)] = lists;
        let variable = relay.into_iter().chain(recipient).next();
        wrong.extend(variable.map(|variable| (variable, reason.to_owned())));
    }
    // One list may be that of several services.
    wrong.dedup();
    wrong
}

fn relay_login(reader: &Reader) -> Wrong {
    let set = |name: &str| !reader.text(name).is_empty();
    let (username, password) = ("MAILROOM_RELAYHOST_USERNAME", "MAILROOM_RELAYHOST_PASSWORD");
    let wrong = |variable: &str, reason: &str| vec![(variable.to_owned(), reason.to_owned())];
    match (set(username), set(password)) {
        (true, false) => wrong(
            username,
            "needs MAILROOM_RELAYHOST_PASSWORD, or MAILROOM_RELAYHOST_PASSWORD_FILE",
        ),
        (false, true) => wrong(password, "needs MAILROOM_RELAYHOST_USERNAME"),
        (true, true) if set("POSTFIX_SMTP_SASL_PASSWORD_MAPS") => wrong(
            username,
            "is a login at the relay host, and so is POSTFIX_SMTP_SASL_PASSWORD_MAPS: keep one of them",
        ),
        (true, true) if !set("POSTFIX_RELAYHOST") => {
            wrong(username, "needs POSTFIX_RELAYHOST: the server to log in at")
        }
        (true, true) if reader.text(username).contains(':') => wrong(username, "must not hold a colon"),
        _ => Wrong::new(),
    }
}

/// A single public address may be a server of one's own; a range of them holds strangers.
fn public_networks(reader: &Reader) -> Wrong {
    if reader.switch("MAILROOM_ALLOW_OPEN_RELAY") {
        return Wrong::new();
    }
    let public = |networks: &Networks| {
        let mut nets = networks.nets.iter().filter(|network| !network.excluded);
        nets.find(|network| is_public(network.net)).map(|network| network.net)
    };
    let reason = |net: IpNet| {
        format!(
            "{net} holds public addresses, whose owners could relay through this server: name private networks or \
             single addresses, or set MAILROOM_ALLOW_OPEN_RELAY=yes"
        )
    };
    let in_main_cf = public(&reader.networks().unwrap_or_default());
    let in_main_cf = in_main_cf.map(|net| ("POSTFIX_MYNETWORKS".to_owned(), reason(net)));
    let options = reader.services.iter().filter_map(|service| {
        let (_, value) = service.options.iter().find(|(name, _)| name == "mynetworks")?;
        let net = public(&network::parse_list(value).ok()?)?;
        Some((service.origins.first()?.clone(), reason(net)))
    });
    in_main_cf.into_iter().chain(options).collect()
}

/// At least one listener has to be left.
fn listeners(reader: &Reader) -> Wrong {
    let off: Vec<&str> = reader
        .master
        .iter()
        .filter(|setting| setting.change == Change::Off)
        .map(|setting| setting.variable.as_str())
        .collect();
    match off.last() {
        Some(last) if off.len() >= super::master::OPTIONAL.len() => {
            vec![(
                (*last).to_owned(),
                "switches off the last of the SMTP listeners: keep one of them".to_owned(),
            )]
        }
        _ => Wrong::new(),
    }
}
