//! `MAILROOM_MAILBOXES=off`: a relay alone. No domain has mailboxes here: mail for the own domain goes out like any other, that
//! for its postmaster, abuse and the like included.
//!
//! So does what Postfix itself has to say. A bounce that is refused goes to the postmaster once (`2bounce` in
//! `notify_classes`), and that is where it ends: bounce(8) drops what is refused then, with a warning in the log.

use std::path::Path;

use super::drop_ins;
use super::main_cf::Given;
use super::settings::{Setting, Settings};
use super::user_tables::{UserFiles, references};
use crate::layout::LMTP_SOCKET;
use crate::report::Mistake;
use crate::site::{MAILBOXES, Site};

/// What main.cf says without mailboxes.
const PARAMETERS: [(&str, &str); 4] = [
    ("notify_classes", "resource, software, 2bounce"),
    ("virtual_alias_maps", ""),
    ("virtual_mailbox_domains", ""),
    ("virtual_mailbox_maps", ""),
];

/// What main.cf says of a parameter, where it says something else than with mailboxes.
pub(super) fn written(parameter: &str) -> Option<&'static str> {
    let mut written = PARAMETERS.iter().filter(|(name, _)| *name == parameter);
    written.next().map(|(_, value)| *value)
}

/// Changes the settings, where it is on. What the user has set stays. Returns what a user should know.
pub(super) fn apply(settings: &mut Settings, site: &Site) -> Option<String> {
    if site.mailboxes {
        return None;
    }
    for (name, value) in PARAMETERS {
        settings.parameters.entry(name.to_owned()).or_insert_with(|| Given {
            variable: MAILBOXES.to_owned(),
            value: value.to_owned(),
            explicit: true,
        });
    }
    let domain = &site.domain;
    let there = match settings.relay.host.as_str() {
        "" => format!("the MX of {domain}"),
        host => host.to_owned(),
    };
    Some(format!(
        "{MAILBOXES}=off: this server is a relay alone: IMAP, POP3 and LMTP are off, and mail for {domain} goes out like any \
         other, to {there}"
    ))
}

/// Routes that lead into mailboxes: that mail would bounce, or wait for ever.
pub(super) fn wrong(settings: &Settings, files: &UserFiles, site: &Site) -> Vec<Mistake> {
    if site.mailboxes {
        return Vec::new();
    }
    let routes = settings.all_set().filter(|setting| is_route(setting.name));
    routes
        .flat_map(|Setting { origin, name, value }| {
            let itself = leads_in(value).then(|| mistake(origin, &drop_ins::shown(origin, name, value)));
            let tables = references(value).flat_map(|(_, path)| in_table(path, files));
            itself.into_iter().chain(tables)
        })
        .collect()
}

/// A parameter that says how mail goes on.
fn is_route(name: &str) -> bool {
    name == "content_filter" || name.ends_with("transport") || name.ends_with("transport_maps")
}

/// The lines of a table that lead in.
fn in_table(path: &str, files: &UserFiles) -> Vec<Mistake> {
    let source = files.referenced.iter().find(|(there, _)| there == Path::new(path));
    let text = source.map(|(_, bytes)| String::from_utf8_lossy(bytes));
    let lines = text.iter().flat_map(|text| (1..).zip(text.lines()));
    lines
        .filter(|(_, line)| !line.starts_with('#') && leads_in(line))
        .map(|(number, line)| mistake(&format!("{path}:{number}"), line))
        .collect()
}

/// Whether a word is the transport `virtual`, or Dovecot's LMTP.
fn leads_in(text: &str) -> bool {
    let mut words = text.split([',', ' ', '\t', '=', '{', '}']);
    words.any(|word| word == "virtual" || word.starts_with("virtual:")) || text.contains(lmtp_socket())
}

/// As Postfix names it: below the queue directory.
fn lmtp_socket() -> &'static str {
    LMTP_SOCKET
        .rsplit_once("/private/")
        .map_or(LMTP_SOCKET, |(_, name)| name)
}

fn mistake(origin: &str, value: &str) -> Mistake {
    let reason = format!("leads into a mailbox, and {MAILBOXES}=off leaves none: keep one of the two");
    Mistake::new(origin, value, reason)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::*;
    use crate::postfix::parameters::Parameters;

    const OFF: (&str, &str) = (MAILBOXES, "off");

    fn known() -> Parameters {
        Parameters::parse(
            "transport_maps =\ndefault_transport = smtp\ncontent_filter =\nvirtual_alias_maps =\nvirtual_alias_domains =\n\
             notify_classes = resource, software\nvirtual_mailbox_domains =\n",
            "inline\nstatic\n",
        )
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let pairs = [&[OFF], pairs].concat();
        let read = read_with(sources(environment(&pairs)), known());
        read.map(|whole| whole.postfix).map_err(|report| report.to_string())
    }

    #[test]
    fn no_domain_has_mailboxes() {
        let settings = read(&[]).unwrap();
        for (name, value) in PARAMETERS {
            assert_eq!(settings.parameters[name].value, value, "{name}");
        }
        // What the user sets stays, without our role addresses behind it; the own domain may be one of aliases.
        let settings = read(&[
            ("POSTFIX_VIRTUAL_ALIAS_MAPS", "inline:{a@b.test=c@d.test}"),
            ("POSTFIX_VIRTUAL_ALIAS_DOMAINS", "metabuilder.local"),
            ("POSTFIX_NOTIFY_CLASSES", "software"),
        ])
        .unwrap();
        assert_eq!(
            settings.parameters["virtual_alias_maps"].value,
            "inline:{a@b.test=c@d.test}"
        );
        assert_eq!(settings.parameters["notify_classes"].value, "software");
    }

    #[test]
    fn what_it_decides_may_be_set_to_what_it_is() {
        assert!(read(&[("POSTFIX_VIRTUAL_MAILBOX_DOMAINS", "")]).is_ok());
        let said = read(&[("POSTFIX_VIRTUAL_MAILBOX_DOMAINS", "metabuilder.local")]).unwrap_err();
        assert!(said.contains("is decided by mailroom"), "{said}");
    }

    #[test]
    fn routes_into_mailboxes_are_refused() {
        for (name, value) in [
            ("POSTFIX_DEFAULT_TRANSPORT", "virtual"),
            ("POSTFIX_TRANSPORT_MAPS", "inline:{ a.test=virtual: }"),
            (
                "POSTFIX_TRANSPORT_MAPS",
                "inline:{ a.test=lmtp:unix:private/dovecot-lmtp }",
            ),
            (
                "POSTFIX_CONTENT_FILTER",
                "lmtp:unix:/var/spool/postfix/private/dovecot-lmtp",
            ),
            ("MAILROOM_MASTER_SMTP_INET_CONTENT_FILTER", "virtual:"),
        ] {
            let said = read(&[(name, value)]).unwrap_err();
            assert!(said.contains(name) && said.contains("leads into a mailbox"), "{said}");
        }
        for value in ["inline:{ virtual.test=smtp:[a.test] }", "static:smtp:[virtual.test]"] {
            assert!(read(&[("POSTFIX_TRANSPORT_MAPS", value)]).is_ok(), "{value}");
        }
        let files = UserFiles {
            referenced: vec![("/t".into(), b"# virtual\na.test smtp:\nb.test virtual:\n".to_vec())],
            ..UserFiles::default()
        };
        let found = in_table("/t", &files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].variable, "/t:3");
    }
}
