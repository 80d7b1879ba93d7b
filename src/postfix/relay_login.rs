//! Logins at the relay host: which mechanisms are installed, under which keys smtp(8) looks a login up, and why none could be
//! made. smtp(8) says only that it found no mechanism; posttls-finger(1) shows what the host offers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use super::META_DIRECTORY;
use super::check::{self, program};
use super::lookups::{self, Lookup};
use super::parameters::split_words;
use super::relay::hosts;
use super::settings::Settings;
use crate::layout::RELAY_LOGIN;
use crate::system::processes::Processes;
use crate::system::programs::Program;
use crate::values::relay_host::{self, RelayHost};

/// Where smtp(8) looks up logins, and under which keys.
#[derive(Debug, Clone)]
pub(super) struct Logins {
    /// Who sets the tables.
    pub(super) origin: String,
    /// The tables.
    pub(super) tables: Vec<Lookup>,
    /// The keys of each relay host: the name alone, then as it is written.
    pub(super) keys: Vec<[String; 2]>,
}

/// The logins in tables of the user's own, as far as all of them can be asked. The names behind MX records, and the senders of
/// mail to come, are not known here.
pub(super) fn logins(settings: &Settings) -> Option<Logins> {
    let maps = settings.parameters.get("smtp_sasl_password_maps")?;
    let by_sender = settings.parameters.get("smtp_sender_dependent_authentication");
    let tables = lookups::of(&maps.variable, "smtp_sasl_password_maps", &maps.value);
    let is_ours = tables.iter().any(|table| table.path() == Some(RELAY_LOGIN));
    let words = split_words(&maps.value).len();
    if is_ours || words == 0 || tables.len() != words || by_sender.is_some_and(|given| given.value == "yes") {
        return None;
    }
    let (_, hosts) = hosts(settings)?;
    let keys = |host: &RelayHost| [host.name.clone(), host.text()];
    Some(Logins {
        origin: maps.variable.clone(),
        keys: hosts.iter().filter(|host| host.in_brackets).map(keys).collect(),
        tables,
    })
}

/// Where Cyrus SASL's mechanisms lie, one library for each.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/sasl2",
    "/usr/lib/aarch64-linux-gnu/sasl2",
    "/usr/lib/arm-linux-gnueabihf/sasl2",
    "/usr/lib/sasl2",
];

/// What the libraries are called, where that is not the mechanism's name.
const MECHANISMS: [(&str, &str); 4] = [
    ("crammd5", "CRAM-MD5"),
    ("digestmd5", "DIGEST-MD5"),
    ("gssapiv2", "GSSAPI"),
    ("scram", "SCRAM-SHA-256"),
];

/// Mechanisms that send the password itself.
const IN_CLEAR: [&str; 2] = ["LOGIN", "PLAIN"];

/// A filter that leaves no mechanism which is installed: all mail would wait.
pub(super) fn wrong_mechanisms(name: &str, value: &str) -> Option<String> {
    if !name.ends_with("_sasl_mechanism_filter") {
        return None;
    }
    without_mechanism(value, &installed())
}

fn without_mechanism(value: &str, installed: &BTreeSet<String>) -> Option<String> {
    let words: Vec<&str> = value.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    let may_match = |word: &&str| {
        let upper = word.to_ascii_uppercase();
        word.contains([':', '/', '$']) || installed.contains(&upper) || upper.starts_with("SCRAM-")
    };
    if installed.is_empty() || words.is_empty() || words.iter().any(may_match) {
        return None;
    }
    Some(format!(
        "names no mechanism that is installed ({}): no login would be made, and all mail would wait",
        joined(installed)
    ))
}

fn joined(mechanisms: &BTreeSet<String>) -> String {
    mechanisms.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn installed() -> BTreeSet<String> {
    let entries = LIBRARIES
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten();
    entries.filter_map(|entry| mechanism(&entry.path())).collect()
}

fn mechanism(library: &Path) -> Option<String> {
    let name = library.file_name()?.to_str()?;
    let name = name.strip_prefix("lib")?.strip_suffix(".so")?;
    let other = MECHANISMS.iter().find(|(there, _)| *there == name);
    (name != "sasldb")
        .then(|| other.map_or_else(|| name.to_ascii_uppercase(), |(_, mechanism)| (*mechanism).to_owned()))
}

const FINGER: Program = program("posttls-finger");

/// Time for one conversation with the relay host.
const CONVERSATION: Duration = Duration::from_secs(15);

/// An account that owns nothing: what a stranger's server sends is parsed with it.
const NOBODY: u32 = 65_534;

/// The settings in force that decide about a login.
#[derive(Debug, Default)]
struct InForce {
    relay_host: String,
    level: String,
    is_wrapped: bool,
    has_login: bool,
    holds_passwords_back: bool,
    filter: String,
}

impl InForce {
    async fn ask(processes: &Processes) -> anyhow::Result<InForce> {
        let names = [
            "relayhost",
            "smtp_tls_security_level",
            "smtp_tls_wrappermode",
            "smtp_sasl_auth_enable",
            "smtp_sasl_security_options",
            "smtp_sasl_mechanism_filter",
        ];
        let mut values = check::in_force(&names, processes).await?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        Ok(InForce {
            relay_host: next(),
            level: next(),
            is_wrapped: next() == "yes",
            has_login: next() == "yes",
            holds_passwords_back: next().contains("noplaintext"),
            filter: next(),
        })
    }
}

/// What a relay host offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    answers: bool,
    starttls: bool,
    /// Mechanisms before TLS.
    clear: BTreeSet<String>,
    /// Mechanisms inside TLS, where there was any.
    inside: Option<BTreeSet<String>>,
}

impl Offer {
    /// From the conversation that posttls-finger(1) prints.
    fn parse(conversation: &str) -> Offer {
        let mut offer = Offer::default();
        for line in conversation.lines() {
            if line.contains("TLS connection established") {
                offer.inside = Some(BTreeSet::new());
            }
            let Some((_, said)) = line.split_once(": < 250") else {
                continue;
            };
            offer.answers = true;
            let said = said.trim_start_matches(['-', ' ']);
            offer.starttls |= said == "STARTTLS";
            let Some(mechanisms) = said.strip_prefix("AUTH").filter(|rest| rest.starts_with([' ', '='])) else {
                continue;
            };
            let mechanisms = mechanisms[1..].split_whitespace().map(str::to_ascii_uppercase);
            offer.inside.as_mut().unwrap_or(&mut offer.clear).extend(mechanisms);
        }
        offer
    }

    /// Why a login cannot be made with these settings and mechanisms.
    fn objection(&self, settings: &InForce, installed: &BTreeSet<String>) -> Option<String> {
        if !self.answers {
            return None;
        }
        if self.starttls && settings.level == "none" && !settings.is_wrapped {
            return Some(
                "it offers TLS, which POSTFIX_SMTP_TLS_SECURITY_LEVEL=none leaves out: set secure, or encrypt"
                    .to_owned(),
            );
        }
        let (offered, place) = match &self.inside {
            Some(inside) => (inside, "inside TLS"),
            None => (&self.clear, "and no TLS"),
        };
        let common: Vec<&String> = offered.intersection(installed).collect();
        let is_in_clear = |mechanism: &&String| IN_CLEAR.contains(&mechanism.as_str());
        if offered.is_empty() {
            return Some(format!(
                "it offers no login {place} on this port; relay hosts take logins on 587 or 465"
            ));
        }
        let offers = format!("it offers {} {place}", joined(offered));
        if common.is_empty() {
            return Some(format!("{offers}; installed here are {}", joined(installed)));
        }
        if self.inside.is_none() && settings.holds_passwords_back && common.iter().all(is_in_clear) {
            return Some(format!(
                "{offers}, so the password is held back; where you trust the network between, set \
                 POSTFIX_SMTP_SASL_SECURITY_OPTIONS=noanonymous"
            ));
        }
        let filter = &settings.filter;
        (!filter.is_empty()).then(|| format!("{offers}; POSTFIX_SMTP_SASL_MECHANISM_FILTER={filter} leaves none of it"))
    }
}

/// Why no login can be made at the relay host, where that is known. Speaks with it, once.
pub(super) async fn explain(processes: &Processes) -> anyhow::Result<Option<String>> {
    let settings = InForce::ask(processes).await?;
    let hosts = relay_host::parse_list(&settings.relay_host).unwrap_or_default();
    let Some(host) = hosts.first().map(RelayHost::text) else {
        return Ok(None);
    };
    if !settings.has_login {
        return Ok(Some(format!(
            "The relay host {host} wants a login, and there is none: set MAILROOM_RELAYHOST_USERNAME and \
             MAILROOM_RELAYHOST_PASSWORD"
        )));
    }
    let mut command = FINGER.command()?;
    command.env("MAIL_CONFIG", META_DIRECTORY).env("LOCALDOMAIN", "");
    command
        .uid(NOBODY)
        .gid(NOBODY)
        .args(["-l", "may", "-t", "5", "-T", "5"]);
    if settings.is_wrapped {
        command.arg("-w");
    }
    let output = processes.output(command.arg(&host), CONVERSATION).await?;
    let offer = Offer::parse(&format!("{}\n{}", output.stdout, output.stderr));
    let objection = offer.objection(&settings, &installed());
    Ok(objection.map(|objection| format!("No login can be made at the relay host {host}: {objection}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mechanisms: &[&str]) -> BTreeSet<String> {
        mechanisms.iter().map(|mechanism| (*mechanism).to_owned()).collect()
    }

    #[test]
    fn mechanisms_that_are_installed() {
        let installed = ["libplain.so", "libcrammd5.so", "libsasldb.so", "libplain.so.2"];
        let installed: BTreeSet<String> = installed.iter().filter_map(|name| mechanism(Path::new(name))).collect();
        assert_eq!(installed, set(&["CRAM-MD5", "PLAIN"]));
        for right in ["", "digestmd5,crammd5,plain", "!gssapi, !login, static:all", "$x"] {
            assert_eq!(without_mechanism(right, &installed), None, "{right}");
        }
        for wrong in ["xoauth2", "\"plain, login\"", "gssapi"] {
            assert!(
                without_mechanism(wrong, &installed)
                    .unwrap()
                    .contains("(CRAM-MD5, PLAIN)"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_offer_is_read_before_and_inside_tls() {
        let said = "posttls-finger: Connected to far[192.0.2.1]:587\nposttls-finger: < 220 far ESMTP\n\
                    posttls-finger: > EHLO me\nposttls-finger: < 250-far\nposttls-finger: < 250 STARTTLS\n\
                    posttls-finger: Untrusted TLS connection established to far[192.0.2.1]:587: TLSv1.3\n\
                    posttls-finger: < 250-far\nposttls-finger: < 250-AUTH=login\nposttls-finger: < 250 AUTH PLAIN login\n";
        let offer = Offer::parse(said);
        assert!(offer.answers && offer.starttls && offer.clear.is_empty());
        assert_eq!(offer.inside, Some(set(&["LOGIN", "PLAIN"])));
        assert_eq!(
            Offer::parse("posttls-finger: connect to far: Connection refused"),
            Offer::default()
        );
    }

    #[test]
    fn what_stands_against_a_login() {
        let installed = set(&["CRAM-MD5", "LOGIN", "PLAIN"]);
        let usual = || InForce {
            level: "may".to_owned(),
            holds_passwords_back: true,
            ..InForce::default()
        };
        let offer = |clear: &[&str], inside: Option<&[&str]>| Offer {
            answers: true,
            starttls: inside.is_some(),
            clear: set(clear),
            inside: inside.map(set),
        };
        let objection = |offer: Offer, settings: InForce| offer.objection(&settings, &installed);
        assert_eq!(objection(Offer::default(), usual()), None);
        assert_eq!(objection(offer(&[], Some(&["PLAIN"])), usual()), None);
        assert_eq!(objection(offer(&["CRAM-MD5", "PLAIN"], None), usual()), None);
        let none = InForce {
            level: "none".to_owned(),
            ..usual()
        };
        let filter = InForce {
            filter: "gssapi".to_owned(),
            ..usual()
        };
        for (offer, settings, said) in [
            (
                offer(&[], Some(&["XOAUTH2"])),
                usual(),
                "XOAUTH2 inside TLS; installed here are CRAM-MD5, LOGIN, PLAIN",
            ),
            (offer(&["PLAIN", "LOGIN"], None), usual(), "the password is held back"),
            (offer(&[], Some(&["PLAIN"])), none, "SECURITY_LEVEL=none"),
            (offer(&[], Some(&[])), usual(), "no login inside TLS"),
            (offer(&[], Some(&["PLAIN"])), filter, "MECHANISM_FILTER=gssapi"),
        ] {
            assert!(objection(offer, settings).unwrap().contains(said), "{said}");
        }
    }
}
