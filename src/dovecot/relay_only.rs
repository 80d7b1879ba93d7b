//! `MAILROOM_MAILBOXES=off`: Dovecot checks logins for Postfix and serves no protocol. Settings that ask for one are refused;
//! those of mailboxes have no effect, and a note names them.

use super::settings::{DovecotSetting, SetLine, Settings, set_lines, unquoted};
use crate::report::Mistake;
use crate::site::MAILBOXES;

/// What the names of settings, of blocks, and of services and protocols in them begin with, where they are about mailboxes.
const OF_MAILBOXES: [&str; 13] = [
    "acl",
    "fts",
    "imap",
    "lmtp",
    "mail",
    "managesieve",
    "namespace",
    "pop3",
    "quota",
    "sieve",
    "submission",
    "trash",
    "userdb",
];

/// The settings that ask for a protocol.
pub(super) fn wrong(settings: &Settings) -> Vec<Mistake> {
    let is_asked_for = |setting: &&DovecotSetting| setting.blocks.is_empty() && asks("", &setting.name, &setting.value);
    let given = settings.given.iter().filter(is_asked_for);
    let given = given.map(|setting| mistake(&setting.variable, &setting.value));
    let in_files = settings.files.iter().flat_map(|file| {
        let lines = set_lines(&file.text).into_iter();
        lines.filter(|line| asks(line.block, line.name, line.value)).map(
            |SetLine {
                 number, name, value, ..
             }| {
                mistake(
                    &format!("{}:{number}", file.path.display()),
                    &format!("{name} = {value}"),
                )
            },
        )
    });
    given.chain(in_files).collect()
}

/// `protocols = imap`, or `imap = yes` in the block of that name.
fn asks(block: &str, name: &str, value: &str) -> bool {
    let value = unquoted(value);
    match (block, name) {
        ("", "protocols") => !value.is_empty(),
        ("protocols", _) => value != "no",
        _ => false,
    }
}

fn mistake(origin: &str, value: &str) -> Mistake {
    let reason = format!("asks for a protocol, and {MAILBOXES}=off leaves nothing to serve: keep one of the two");
    Mistake::new(origin, value, reason)
}

/// The variables that are about mailboxes.
pub(super) fn unused(settings: &Settings) -> Vec<String> {
    let unused = settings.given.iter().filter(|setting| is_of_mailboxes(setting));
    unused.map(|setting| setting.variable.clone()).collect()
}

fn is_of_mailboxes(setting: &DovecotSetting) -> bool {
    let what = match setting.blocks.first() {
        Some((kind, name)) if ["protocol", "service"].contains(&kind.as_str()) => name,
        Some((kind, _)) => kind,
        None => &setting.name,
    };
    OF_MAILBOXES.iter().any(|begin| what.starts_with(begin))
}

/// What a user should know of them.
pub(super) fn note(unused: &[String]) -> Option<String> {
    (!unused.is_empty()).then(|| format!("{MAILBOXES}=off: not used: {}", unused.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DropIn;

    fn setting(blocks: &[(&str, &str)], name: &str, value: &str) -> DovecotSetting {
        let blocks = blocks
            .iter()
            .map(|(block, name)| ((*block).to_owned(), (*name).to_owned()));
        DovecotSetting {
            variable: name.to_ascii_uppercase(),
            blocks: blocks.collect(),
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn protocols_that_are_asked_for() {
        let text = "auth_verbose = yes\nprotocols {\n  imap = no\n  pop3 = yes\n}\nprotocols =\nprotocols = lmtp\n";
        let settings = Settings {
            given: vec![setting(&[], "protocols", "imap"), setting(&[], "auth_verbose", "yes")],
            files: vec![DropIn {
                path: "/x.conf".into(),
                text: text.to_owned(),
            }],
            ..Settings::default()
        };
        let origins: Vec<String> = wrong(&settings).into_iter().map(|mistake| mistake.variable).collect();
        assert_eq!(origins, ["PROTOCOLS", "/x.conf:4", "/x.conf:7"]);
    }

    #[test]
    fn settings_of_mailboxes() {
        let settings = Settings {
            given: vec![
                setting(&[], "mail_max_userip_connections", "5"),
                setting(&[("service", "imap-login")], "process_min_avail", "4"),
                setting(&[("namespace", "inbox")], "separator", "."),
                setting(&[("service", "auth")], "client_limit", "2000"),
                setting(&[], "auth_mechanisms", "plain"),
            ],
            ..Settings::default()
        };
        let unused = unused(&settings);
        assert_eq!(
            unused,
            ["MAIL_MAX_USERIP_CONNECTIONS", "PROCESS_MIN_AVAIL", "SEPARATOR"]
        );
        assert!(
            note(&unused)
                .unwrap()
                .starts_with("MAILROOM_MAILBOXES=off: not used: MAIL_")
        );
        assert_eq!(note(&[]), None);
    }
}
