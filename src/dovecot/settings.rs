//! `DOVECOT_<SETTING>`, with `__` between the levels of nested ones: `DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL`.
//! Files in `dovecot.d` hold settings as dovecot.conf does, and come last.

use super::config::Written;
use super::{lists, old_names, sieve};
use crate::daemon::{Configured, Grammar};
use crate::report::Mistake;
use crate::secrets;
use crate::settings::table::Variable;
use crate::settings::{DropIn, Knowledge, Line, Names, Reader};
use crate::values::{kind, words};

/// What the names of Dovecot's variables begin with.
pub const PREFIX: &str = "DOVECOT_";
/// Drop-in files of its settings.
pub const DROP_IN_DIRECTORY: &str = "dovecot.d";

/// Dovecot's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Those of the environment.
    pub given: Vec<DovecotSetting>,
    /// Files of settings.
    pub files: Vec<DropIn>,
    /// Sieve scripts of the site.
    pub scripts: Vec<DropIn>,
    /// Whether they are used.
    pub sieve: bool,
    /// Variables that have no effect in a relay alone.
    pub unused: Vec<String>,
}

/// The shapes of settings' names: which settings there are, and what they may hold, only Dovecot knows. It checks them when
/// the configuration is staged.
#[derive(Debug)]
pub struct Shapes;

impl Names for Shapes {
    fn prefixes(&self) -> &'static [&'static str] {
        &[PREFIX]
    }

    fn knows(&self, _: &str, rest: &str) -> Knowledge {
        match rest {
            "" => Knowledge::No,
            rest if is_path_of_a_file(rest) => Knowledge::Yes,
            _ => Knowledge::Perhaps,
        }
    }

    fn drop_in_directories(&self) -> &'static [&'static str] {
        &[DROP_IN_DIRECTORY, sieve::DIRECTORY]
    }

    fn lines(&self, _: &str, _: &DropIn) -> Vec<Result<Line, Mistake>> {
        Vec::new()
    }
}

impl Grammar for Shapes {
    fn check(&self, _: &Variable, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn read(self: Box<Self>, reader: &mut Reader) -> Box<dyn Configured> {
        Box::new(settings(reader))
    }
}

/// Reads all that is Dovecot's.
fn settings(reader: &mut Reader) -> Settings {
    let written = Written::of(reader.values()).unwrap_or_default();
    let mut settings = Settings::default();
    for other in reader.others(PREFIX) {
        let read = read(&reader.origin(&other.name), &other.rest, &other.value, &written)
            .and_then(|setting| setting.map_or(Ok(()), |setting| settings.add(setting)));
        if let Err(reason) = read {
            reader.mistake(&other.name, reason);
        }
    }
    for file in reader.files(DROP_IN_DIRECTORY).to_vec() {
        for mistake in decided_settings(&file, &written) {
            reader.mistake_in_file(mistake);
        }
        let lines = file.text.lines().filter_map(|line| line.split_once('='));
        for (name, value) in lines.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))) {
            if secrets::is_secret(name, value) {
                reader.add_secret(value);
            }
        }
        settings.files.push(without_written(file, &written));
    }
    settings.scripts = reader.files(sieve::DIRECTORY).to_vec();
    settings
}

impl Settings {
    /// Two variables for one place, in another case, must agree.
    fn add(&mut self, setting: DovecotSetting) -> Result<(), String> {
        let is_same = |other: &&DovecotSetting| other.blocks == setting.blocks && other.name == setting.name;
        match self.given.iter().find(is_same) {
            Some(other) if other.value != setting.value => {
                Err(format!("sets what {} sets: keep one of them", other.variable))
            }
            Some(_) => Ok(()),
            None => {
                self.given.push(setting);
                Ok(())
            }
        }
    }
}

/// A line of a drop-in file that sets something.
pub(super) struct SetLine<'a> {
    /// Its number from 1.
    pub(super) number: usize,
    /// The block in which it stands, such as `service imap`; nothing at the top.
    pub(super) block: &'a str,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// All such lines of a drop-in file.
pub(super) fn set_lines(text: &str) -> Vec<SetLine<'_>> {
    let (mut blocks, mut found) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(block) = line.strip_suffix('{') {
            blocks.push(block.trim());
        } else if line == "}" {
            blocks.pop();
        } else if let Some((name, value)) = line.split_once('=') {
            found.push(SetLine {
                number,
                block: blocks.last().copied().unwrap_or_default(),
                name: name.trim(),
                value: value.trim(),
            });
        }
    }
    found
}

/// How many settings a drop-in file holds.
pub(super) fn count(text: &str) -> usize {
    set_lines(text).len()
}

/// The lines of a drop-in file that set what Mailroom decides, to something else.
fn decided_settings(file: &DropIn, written: &Written) -> Vec<Mistake> {
    let lines = set_lines(&file.text).into_iter();
    let mistake = |line: SetLine| {
        let SetLine {
            number,
            block,
            name,
            value,
        } = line;
        let reason = decided(name, value, block.is_empty(), written)?;
        let origin = format!("{}:{number}", file.path.display());
        Some(Mistake::new(origin, format!("{name} = {value}"), reason))
    };
    lines.filter_map(mistake).collect()
}

/// The file without the lines that set what Mailroom decides to what it is: doveconf(1) warns of one that comes behind the
/// filters, which are not changed by it.
fn without_written(file: DropIn, written: &Written) -> DropIn {
    let is_written = |line: &&SetLine| is_written(line.name, line.value, line.block.is_empty(), written);
    let lines: Vec<usize> = set_lines(&file.text)
        .iter()
        .filter(is_written)
        .map(|line| line.number)
        .collect();
    if lines.is_empty() {
        return file;
    }
    let kept = (1..)
        .zip(file.text.lines())
        .map(|(number, line)| if lines.contains(&number) { "" } else { line });
    let text = kept.map(|line| format!("{line}\n")).collect();
    DropIn { text, ..file }
}

/// Whether a setting that Mailroom decides would be given what it has anyway.
fn is_written(name: &str, value: &str, at_the_top: bool, written: &Written) -> bool {
    at_the_top && owned(name, true).is_some() && written.has(name, &unquoted(value))
}

/// Why a setting cannot be set, at the top or in a block.
fn decided(name: &str, value: &str, at_the_top: bool, written: &Written) -> Option<String> {
    let old = || old_names::in_place_of(name).or_else(|| old_names::names_a_file_by_bracket(name, value.trim()));
    match owned(name, at_the_top) {
        Some(_) if is_written(name, value, at_the_top, written) => None,
        Some(reason) => Some(reason),
        None => opens(name, value).map(str::to_owned).or_else(old),
    }
}

/// What would let strangers in, at the top or in a block: reasons for names by their last part (`inet_listener/imap/haproxy`).
fn opens(name: &str, value: &str) -> Option<&'static str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let value = unquoted(value).to_ascii_lowercase();
    let is_off = ["", "no", "n", "false", "0"].contains(&value.trim());
    let names_it = || {
        value
            .split([',', ' '])
            .any(|word| word.trim_start_matches('+') == ANONYMOUS)
    };
    match name {
        "haproxy" | "haproxy_trusted_networks" if !is_off => Some(PROXY),
        "auth_mechanisms" if names_it() => Some(NO_PASSWORD),
        ANONYMOUS | "auth_anonymous_username" if !is_off => Some(NO_PASSWORD),
        _ => None,
    }
}

fn owned(name: &str, at_the_top: bool) -> Option<String> {
    let owned = OWNED.iter().filter(|_| at_the_top).chain(&OWNED_EVERYWHERE);
    let mut reasons = owned.filter(|(owned, _)| *owned == name).map(|(_, reason)| reason);
    reasons.next().map(|reason| format!("is decided by mailroom: {reason}"))
}

/// One Dovecot setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DovecotSetting {
    /// The variable that sets it.
    pub variable: String,
    /// The blocks around it, from outside: `service imap-login`.
    pub blocks: Vec<(String, String)>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

const TRUST: &str = "trusted networks alone may send passwords in clear; POSTFIX_MYNETWORKS names them";

const ANONYMOUS: &str = "anonymous";
const NO_PASSWORD: &str = "would let strangers log in without a password, by IMAP, POP3 and to send mail: leave it out, and give \
    each client an account";
const PROXY: &str = "is not supported: strangers who reach the port could say that they have a trusted address, and health checks \
    would fail; leave it out, and let the proxy pass addresses on by routing";

/// Settings that cannot be set anywhere, and why.
const OWNED_EVERYWHERE: [(&str, &str); 2] = [("auth_allow_cleartext", TRUST), ("login_trusted_networks", TRUST)];

/// Settings that hold the path of a file by their own names, at the top or in a block (Dovecot 2.4, doveconf -a).
const PATHS: [&str; 12] = [
    "crypt_global_public_key_file",
    "crypt_private_key_file",
    "lua_file",
    "ssl_client_ca_file",
    "ssl_client_cert_file",
    "ssl_client_key_file",
    "ssl_server_alt_cert_file",
    "ssl_server_alt_key_file",
    "ssl_server_ca_file",
    "ssl_server_cert_file",
    "ssl_server_dh_file",
    "ssl_server_key_file",
];

/// Whether a name behind `DOVECOT_` is that of such a setting.
fn is_path_of_a_file(rest: &str) -> bool {
    let name = rest.rsplit("__").next().unwrap_or(rest).to_ascii_lowercase();
    PATHS.contains(&name.as_str())
}

const LAYOUT: &str = "the image's layout depends on it";
const LOGS: &str = "all logs go through PID 1 to stdout and /var/log";
const CERTIFICATE: &str = "both daemons serve the certificate in /etc/dovecot/certs; mount your own there";
const ACCOUNTS: &str = "accounts and mailboxes are provisioned together with Postfix's";

/// Settings that cannot be set at the top, and why.
const OWNED: &[(&str, &str)] = &[
    ("auth_default_domain", ACCOUNTS),
    ("auth_username_format", ACCOUNTS),
    ("base_dir", LAYOUT),
    (
        "dovecot_config_version",
        "the rendered configuration is written for one version",
    ),
    (
        "dovecot_storage_version",
        "the rendered configuration is written for one version",
    ),
    ("first_valid_uid", ACCOUNTS),
    ("listen", "it follows POSTFIX_INET_PROTOCOLS"),
    ("log_path", LOGS),
    ("mail_driver", ACCOUNTS),
    ("mail_gid", ACCOUNTS),
    ("mail_home", ACCOUNTS),
    ("mail_path", ACCOUNTS),
    ("mail_uid", ACCOUNTS),
    ("recipient_delimiter", "it follows POSTFIX_RECIPIENT_DELIMITER"),
    ("shutdown_clients", "PID 1 ends the sessions when everything stops"),
    ("ssl_server_cert_file", CERTIFICATE),
    ("ssl_server_key_file", CERTIFICATE),
    ("state_dir", LAYOUT),
];

/// Reads one variable; `rest` is its name behind `DOVECOT_`. Names are Dovecot's, in any case; one with a small letter
/// is taken as it is, for mailboxes have such names. Nothing comes of one that sets what Mailroom decides to what it is.
pub fn read(variable: &str, rest: &str, value: &str, written: &Written) -> Result<Option<DovecotSetting>, String> {
    let as_it_is = rest.chars().any(|c| c.is_ascii_lowercase());
    let rest = if as_it_is {
        rest.to_owned()
    } else {
        rest.to_ascii_lowercase()
    };
    let mut levels: Vec<&str> = rest.split("__").collect();
    let name = levels.pop().unwrap_or_default().to_owned();
    let allowed = |level: &&str| {
        !level.is_empty()
            && level
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-./:".contains(&b))
    };
    if !levels.iter().chain([&&*name]).all(allowed) || !levels.len().is_multiple_of(2) {
        return Err(
            "must be DOVECOT_<SETTING>, or DOVECOT_<BLOCK>__<NAME>__<SETTING> for one in a block, such as \
             DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL"
                .to_owned(),
        );
    }
    let blocks = levels.chunks(2).map(|pair| {
        // Dovecot's services have names such as imap-login, which no variable can have.
        let name = if pair[0] == "service" {
            pair[1].replace('_', "-")
        } else {
            pair[1].to_owned()
        };
        (pair[0].to_owned(), name)
    });
    let blocks: Vec<(String, String)> = blocks.collect();
    let value = if lists::is_one(&blocks, &name) {
        words::on_one_line(value)
    } else {
        words::tidy(value).to_owned()
    };
    if let Some(reason) = decided(&name, &value, blocks.is_empty(), written) {
        return Err(reason);
    }
    kind::one_line(&value)?;
    words::without_quotes(&value)?;
    let is_new = !is_written(&name, &value, blocks.is_empty(), written);
    Ok(is_new.then(|| DovecotSetting {
        variable: variable.to_owned(),
        blocks,
        name,
        value,
    }))
}

impl DovecotSetting {
    /// As it stands in dovecot.conf, the variable in a comment right above the setting.
    pub fn lines(&self) -> String {
        let depth = self.blocks.len();
        let indented = |depth: usize, text: &str| format!("{}{text}", "  ".repeat(depth)).trim_end().to_owned() + "\n";
        let open = self.blocks.iter().enumerate();
        let open = open.map(|(depth, (block, name))| indented(depth, &format!("{block} {name} {{")));
        let setting = [
            indented(depth, &format!("# {}", self.variable)),
            indented(depth, &format!("{} = {}", self.name, quoted(&self.value))),
        ];
        let close = (0..depth).rev().map(|depth| indented(depth, "}"));
        open.chain(setting).chain(close).collect()
    }
}

/// A value as Dovecot reads it: in quotes where it would take a part for a comment, for quotes, or for the end of a line
/// that is continued.
fn quoted(value: &str) -> String {
    if value.contains('#') || value.starts_with(['"', '\'']) || value.ends_with('\\') {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        value.to_owned()
    }
}

/// The value that was quoted so.
pub fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variable: &str, rest: &str, value: &str) -> Result<DovecotSetting, String> {
        super::read(variable, rest, value, &Written::default()).map(Option::unwrap)
    }

    #[test]
    fn nested_settings() {
        let setting = read("DOVECOT_X", "SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL", "4").unwrap();
        assert_eq!(
            setting.lines(),
            "service imap-login {\n  # DOVECOT_X\n  process_min_avail = 4\n}\n"
        );
        let setting = read("DOVECOT_X", "namespace__inbox__mailbox__Archive__auto", "create").unwrap();
        assert!(
            setting
                .lines()
                .starts_with("namespace inbox {\n  mailbox Archive {\n    # DOVECOT_X\n    auto = create\n")
        );
        assert_eq!(
            read("DOVECOT_X", "MAIL_DEBUG", " yes ").unwrap().lines(),
            "# DOVECOT_X\nmail_debug = yes\n"
        );
        let lines = read("DOVECOT_X", "PROTOCOL__IMAP__MAIL_PLUGINS", "acl\n  quota\n")
            .unwrap()
            .lines();
        assert!(lines.contains("mail_plugins = acl quota\n"), "{lines}");
        assert!(
            read("DOVECOT_X", "LOGIN_GREETING", "a\nb")
                .unwrap_err()
                .contains("one line")
        );
    }

    #[test]
    fn values_are_quoted_where_dovecot_would_read_something_else() {
        for (value, written) in [
            ("a b", "a b"),
            (r"a\b", r"a\b"),
            ("it's \"x\"", "it's \"x\""),
            ("a #b", r#""a #b""#),
            (r"a\", r#""a\\""#),
            (r#""a" b"#, r#""\"a\" b""#),
            ("'a'", r#""'a'""#),
        ] {
            assert_eq!(quoted(value), written, "{value}");
            assert_eq!(unquoted(written), value, "{value}");
        }
    }

    #[test]
    fn drop_in_files_do_not_set_what_mailroom_decides() {
        let file = DropIn {
            path: "/etc/mailroom/dovecot.d/x.conf".into(),
            text:
                "mail_debug = yes\n# listen = x\nlisten = *\nprotocol imap {\n  listen = x\n  auth_allow_cleartext = \
                   yes\n}\n"
                    .to_owned(),
        };
        let mistakes = decided_settings(&file, &Written::default());
        let named: Vec<&str> = mistakes.iter().map(|mistake| &*mistake.variable).collect();
        assert_eq!(
            named,
            ["/etc/mailroom/dovecot.d/x.conf:3", "/etc/mailroom/dovecot.d/x.conf:6"]
        );
        assert!(mistakes[0].reason.contains("POSTFIX_INET_PROTOCOLS"), "{mistakes:?}");
    }

    #[test]
    fn owned_and_odd_ones_are_refused() {
        assert!(read("X", "LISTEN", "*").unwrap_err().contains("POSTFIX_INET_PROTOCOLS"));
        for name in [
            "AUTH_ALLOW_CLEARTEXT",
            "protocol__imap__auth_allow_cleartext",
            "LOGIN_TRUSTED_NETWORKS",
        ] {
            assert!(
                read("X", name, "yes").unwrap_err().contains("POSTFIX_MYNETWORKS"),
                "{name}"
            );
        }
        for (name, value) in [
            ("HAPROXY_TRUSTED_NETWORKS", "10.0.0.0/8"),
            ("SERVICE__IMAP_LOGIN__INET_LISTENER__IMAP__HAPROXY", "yes"),
            ("SERVICE__IMAP_LOGIN__INET_LISTENER/IMAP/HAPROXY", "yes"),
        ] {
            assert!(
                read("X", name, value).unwrap_err().contains("trusted address"),
                "{name}"
            );
        }
        for (name, value) in [
            ("AUTH_MECHANISMS", "plain ANONYMOUS"),
            ("AUTH_MECHANISMS", "plain, anonymous"),
            ("AUTH_ANONYMOUS_USERNAME", "user"),
        ] {
            assert!(
                read("X", name, value).unwrap_err().contains("without a password"),
                "{name}"
            );
        }
        for (name, value) in [("AUTH_MECHANISMS", "plain login"), ("HAPROXY_TRUSTED_NETWORKS", "")] {
            assert!(read("X", name, value).is_ok(), "{name}");
        }
        let file = DropIn {
            path: "/x.conf".into(),
            text: "auth_mechanisms {\n  plain = yes\n  anonymous = yes\n}\nservice imap-login {\n  inet_listener imap {\n    \
                   haproxy = yes\n  }\n  inet_listener imaps {\n    haproxy = no\n  }\n}\n"
                .to_owned(),
        };
        let mistakes = decided_settings(&file, &Written::default());
        let lines: Vec<&str> = mistakes.iter().map(|mistake| &*mistake.variable).collect();
        assert_eq!(lines, ["/x.conf:3", "/x.conf:7"]);
        for odd in ["", "A__B", "SERVICE____X", "A B", "PASSDB__x }__y"] {
            assert!(read("X", odd, "1").unwrap_err().contains("DOVECOT_<SETTING>"), "{odd}");
        }
    }
}
