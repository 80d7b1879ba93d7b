//! What Postfix makes of lists of restrictions: whether a stranger's mail for a stranger is admitted, and whether smtpd(8)
//! finds in them what it insists on. Tables may decide as well: of them is seen alone what they answer to everybody.

use super::main_cf;
use super::master_cf::{self, Service};
use super::master_settings::{Change, applied};
use super::open_tables;
use super::parameters::split_words;
use super::restriction_words::{self, LISTS};
use super::settings::Settings;
use crate::values::network::OwnNetworks;

/// The variable that sets a parameter.
fn variable_of(settings: &Settings, parameter: &str) -> Option<String> {
    let given = settings.parameters.get(parameter).filter(|given| given.explicit)?;
    Some(given.variable.clone())
}

/// A service of master.cf as it will run, with what main.cf says where it has no `-o`.
pub(super) struct Scope<'a> {
    settings: &'a Settings,
    pub(super) service: Service,
}

/// Deepest chain of references that is followed.
const DEPTH: usize = 8;

impl Scope<'_> {
    /// A parameter's value, and who set it: a variable, or `file:line`; none where it is ours.
    pub(super) fn value(&self, parameter: &str) -> (String, Option<String>) {
        let Service {
            name, kind, options, ..
        } = &self.service;
        if let Some((_, value)) = options.iter().find(|(option, _)| option == parameter) {
            let in_file = self
                .settings
                .services
                .iter()
                .rev()
                .find(|service| service.is(name, kind));
            let changed = self.settings.master.iter().rev().find(|setting| {
                let is_it = matches!(&setting.change, Change::Option(option, _) if option == parameter);
                is_it && setting.service == (name.clone(), kind.clone())
            });
            let by = in_file.and_then(|service| service.origins.first().cloned());
            return (
                value.clone(),
                by.or_else(|| changed.map(|setting| setting.variable.clone())),
            );
        }
        let value = match self.settings.parameters.get(parameter) {
            Some(given) => given.value.as_str(),
            None => main_cf::in_template(parameter).unwrap_or_else(|| self.settings.known.default_of(parameter)),
        };
        (value.to_owned(), variable_of(self.settings, parameter))
    }

    pub(super) fn number(&self, parameter: &str) -> (u64, Option<String>) {
        let (value, by) = self.value(parameter);
        (value.parse().unwrap_or(0), by)
    }

    /// The words of a list, with what `$name` stands for, and who set any of them.
    pub(super) fn words(&self, parameter: &str, depth: usize) -> (Vec<String>, Vec<String>) {
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

    /// What is wrong with the words of each list and of each class of the user's own, and who set any of them.
    pub(super) fn wrong_words(&self) -> Vec<(String, String)> {
        let (classes, _) = self.words("smtpd_restriction_classes", 0);
        let wrong = |(words, setters): (Vec<String>, Vec<String>)| {
            let reason = restriction_words::wrong(&words, &classes, &self.settings.known)?;
            Some((setters.into_iter().next()?, reason))
        };
        self.lists().into_iter().filter_map(wrong).collect()
    }

    /// The words of each list and of each class of the user's own, and who set any of them.
    pub(super) fn lists(&self) -> Vec<(Vec<String>, Vec<String>)> {
        let (classes, _) = self.words("smtpd_restriction_classes", 0);
        let lists = LISTS.into_iter().chain(classes.iter().map(String::as_str));
        lists.map(|list| self.words(list, 0)).collect()
    }

    /// The restrictions of a class of the user's own.
    fn class(&self, word: &str, depth: usize) -> Option<Vec<String>> {
        let (classes, _) = self.words("smtpd_restriction_classes", 0);
        (depth < DEPTH && classes.iter().any(|class| class == word)).then(|| self.words(word, 0).0)
    }

    /// Whether smtpd(8) finds one of those that it wants: it looks at words alone, and at none behind `permit`.
    pub(super) fn closes(&self, words: &[String], depth: usize) -> bool {
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

    /// What becomes of a stranger's mail for a stranger. `own` are networks that count as private.
    pub(super) fn outcome(&self, words: &[String], own: &OwnNetworks, depth: usize) -> Outcome {
        let (mut words, mut only_warns) = (words.iter(), false);
        while let Some(word) = words.next() {
            let lower = word.to_ascii_lowercase();
            let outcome = match self.class(&lower, depth) {
                Some(class) => self.outcome(&class, own, depth + 1),
                None if lower == "permit" => Outcome::Admitted,
                None if is_closing(&lower) => Outcome::Refused,
                None if restriction_words::has_table(&lower) => {
                    let table = words.next().filter(|_| restriction_words::asks_of_strangers(&lower));
                    self.outcome_of_table(table.map_or("", String::as_str), own, depth)
                }
                None if lower.contains(':') => self.outcome_of_table(word, own, depth),
                None => Outcome::Undecided,
            };
            match outcome {
                Outcome::Undecided => {}
                Outcome::Refused if only_warns => {}
                decided => return decided,
            }
            only_warns = lower == "warn_if_reject";
        }
        Outcome::Undecided
    }

    /// Of an access table (access(5)): the first word of an answer is an action, a number for OK, or a restriction.
    fn outcome_of_table(&self, table: &str, own: &OwnNetworks, depth: usize) -> Outcome {
        let admits = |answer: &String| {
            let words = split_words(answer);
            let Some(action) = words.first().map(|word| word.to_ascii_uppercase()) else {
                return false;
            };
            let is_number = action.bytes().all(|byte| byte.is_ascii_digit());
            let is_code = action.len() == 3 && action.starts_with(['4', '5']);
            let is_admitted = ["OK", "RELAY"].contains(&&*action) || (is_number && !is_code);
            is_admitted || (depth < DEPTH && self.outcome(&words, own, depth + 1) == Outcome::Admitted)
        };
        if open_tables::answers(table, own).iter().any(admits) {
            Outcome::Admitted
        } else {
            Outcome::Undecided
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Admitted,
    Refused,
    Undecided,
}

/// The services that run one of these programs.
pub(super) fn services<'a>(settings: &'a Settings, programs: &'a [&str]) -> impl Iterator<Item = Scope<'a>> {
    let services = applied(master_cf::services(), &settings.master, &settings.services);
    let runs = |service: &Service| programs.contains(&service.program.as_str());
    services
        .into_iter()
        .filter(runs)
        .map(|service| Scope { settings, service })
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
