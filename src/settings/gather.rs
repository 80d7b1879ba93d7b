//! Where settings come from: the environment, secret files that it names, and drop-in files. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::table::Table;
use super::{DropIn, Environment, Knowledge, Line, Names, noise, owner};
use crate::report::Mistake;
use crate::values::kind::{self, Kind};
use crate::values::{text, words};

/// Where drop-in files lie, in one directory for each kind of them.
pub const DROP_INS: &str = "/etc/mailroom";
/// What the names of drop-in files end with.
const ENDINGS: [&str; 3] = ["cf", "conf", "sieve"];
/// Bytes of the largest file that is read.
const LARGEST: u64 = 1024 * 1024;
/// The same of a file with many entries, such as accounts.
const LARGEST_OF_ENTRIES: u64 = 64 * 1024 * 1024;

/// One variable as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its value.
    pub value: String,
    /// Its name as the user wrote it, or `file:line`.
    pub origin: String,
    /// It came from a secret file.
    pub secret: bool,
    /// The file that it came from, where its lines count.
    pub file: Option<String>,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Variables by the table's own names; settings of drop-in files are among them as the variables that would set them.
    pub variables: BTreeMap<String, Given>,
    /// Drop-in files by their directories.
    pub files: BTreeMap<&'static str, Vec<DropIn>>,
    /// Files beside these whose names say that they are none.
    pub skipped: Vec<PathBuf>,
    /// What could not be read.
    pub mistakes: Vec<Mistake>,
}

/// Collects everything. `owners` are the daemons' names of settings.
pub fn gather(environment: &Environment, table: &Table, owners: &[&dyn Names]) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.take_environment(environment, table, owners, read_text);
    for owner in owners {
        for directory in owner.drop_in_directories() {
            let files = gathered.drop_ins(&Path::new(DROP_INS).join(directory));
            gathered.take_files(*owner, directory, files, table);
        }
    }
    gathered
}

/// What one variable of the table is given, by itself or by its file; without what drop-in files say.
pub fn given(environment: &Environment, table: &Table, name: &str) -> Option<String> {
    let is_meant = |given: &str| {
        let base = given.strip_suffix("_FILE").or_else(|| given.strip_suffix("_file"));
        [Some(given), base]
            .into_iter()
            .flatten()
            .any(|given| table.own_name(given) == name)
    };
    let of_it = environment.iter().filter(|(given, _)| is_meant(given));
    let of_it = of_it.map(|(given, value)| (given.clone(), value.clone())).collect();
    let mut gathered = Gathered::default();
    gathered.take_environment(&of_it, table, &[], read_text);
    gathered.variables.remove(name).map(|given| given.value)
}

impl Gathered {
    /// Takes each variable, and what the file holds for each `<NAME>_FILE`.
    pub(crate) fn take_environment(
        &mut self,
        environment: &Environment,
        table: &Table,
        owners: &[&dyn Names],
        read: impl Fn(&Path, u64) -> io::Result<String>,
    ) {
        let mut from_files = Vec::new();
        for (name, value) in environment {
            if let Some(rest) = name.strip_prefix(words::BYTE_ORDER_MARK) {
                let reason = "has a byte-order mark (U+FEFF) before its name: save the env file as UTF-8 without one";
                self.mistakes.push(Mistake::new(rest, crate::secrets::HIDDEN, reason));
                continue;
            }
            match stands_for(name, value, table, owners) {
                Some(base) => from_files.push((name, base, value)),
                None => self.take(table, name, value.clone(), false, None),
            }
        }
        for (name, base, path) in from_files {
            let is_same = |other: &&String| *other == base || table.own_name(other) == table.own_name(base);
            let content = match environment.keys().find(is_same) {
                Some(other) => Err(format!("is given, and so is {other}: keep one of them")),
                None if holds_entries(table, base) => {
                    read(Path::new(path), LARGEST_OF_ENTRIES).map_err(|error| format!("cannot be read: {error}"))
                }
                None => secret(path, &read),
            };
            match content {
                Ok(content) => {
                    let file = holds_entries(table, base).then(|| path.clone());
                    self.take(table, base, content, true, file);
                }
                Err(reason) => self.mistakes.push(Mistake::new(name, path, reason)),
            }
        }
    }

    /// Takes a variable; the table's in another case stand for the table's, and must agree with them.
    fn take(&mut self, table: &Table, name: &str, value: String, secret: bool, file: Option<String>) {
        let own = table.own_name(name);
        match self.variables.get_mut(own) {
            Some(other) if other.value != value => {
                let reason = format!("is given, and so is {}: keep one of them", other.origin);
                let secret = secret || other.secret || table.variable(own).is_some_and(|variable| variable.secret);
                let shown = if secret {
                    crate::secrets::HIDDEN.to_owned()
                } else {
                    value
                };
                self.mistakes.push(Mistake::new(name, shown, reason));
            }
            Some(other) => other.secret |= secret,
            None => {
                let given = Given {
                    value,
                    origin: name.to_owned(),
                    secret,
                    file,
                };
                self.variables.insert(own.to_owned(), given);
            }
        }
    }

    /// Takes the settings of drop-in files, and keeps the files for their owner.
    pub(crate) fn take_files(&mut self, owner: &dyn Names, directory: &'static str, files: Vec<DropIn>, table: &Table) {
        for line in files.iter().flat_map(|file| owner.lines(directory, file)) {
            match line {
                Ok(line) => self.take_over(line, table),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        self.files.insert(directory, files);
    }

    /// A setting of a drop-in file comes in place of the variable that sets the same, in whatever case.
    fn take_over(&mut self, line: Line, table: &Table) {
        let own = table
            .of_parameter(&line.name)
            .map_or(line.name.clone(), |variable| variable.name.to_owned());
        let sets_the_same = |other: &String| *other == own || other.eq_ignore_ascii_case(&line.name);
        self.variables.retain(|other, _| !sets_the_same(other));
        let given = Given {
            value: line.value,
            origin: line.origin,
            secret: false,
            file: None,
        };
        self.variables.insert(own, given);
    }

    /// The files of a directory, by name. Hidden ones are left out: Kubernetes keeps its own there.
    fn drop_ins(&mut self, directory: &Path) -> Vec<DropIn> {
        let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.cannot_be_read(directory, &error);
                return Vec::new();
            }
        };
        let is_hidden = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        };
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| !path.is_dir() && !is_hidden(path));
        paths.sort();
        let mut found = Vec::new();
        for path in paths {
            // An editor's 10.cf~ would come after 10.cf, and win.
            if !path
                .extension()
                .is_some_and(|of| ENDINGS.iter().any(|ending| of == *ending))
            {
                self.skipped.push(path);
                continue;
            }
            match read_bytes(&path, LARGEST).map(text::utf8) {
                Ok(Ok(text)) => found.push(DropIn { path, text }),
                Ok(Err((line, reason))) => {
                    let place = format!("{}:{line}", path.display());
                    self.mistakes.push(Mistake::new(place, "", reason));
                }
                Err(error) => self.cannot_be_read(&path, &error),
            }
        }
        found
    }

    fn cannot_be_read(&mut self, path: &Path, error: &io::Error) {
        let reason = format!("cannot be read: {error}");
        self.mistakes.push(Mistake::new(path.display().to_string(), "", reason));
    }
}

/// Reads a file that a user names. A pipe would wait for ever, and a device would fill the memory.
fn read_bytes(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::Error::other(
            "it is a directory, as docker makes one where the file is missing on the host: remove the directory there, put \
             the file in its place, and make the container anew",
        ));
    }
    if !about.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if about.len() > largest {
        let largest = largest / 1024 / 1024;
        return Err(io::Error::other(format!("it is larger than {largest} MiB")));
    }
    fs::read(path)
}

/// The same as text; what is wrong with a secret's letters is found later.
fn read_text(path: &Path, largest: u64) -> io::Result<String> {
    let bytes = read_bytes(path, largest)?;
    String::from_utf8(bytes).map_err(|error| {
        let reason = text::wrong(error.as_bytes()).map_or("it is not UTF-8 text", |(_, reason)| reason);
        io::Error::other(reason)
    })
}

/// Whether a variable's value has lines of its own.
fn holds_entries(table: &Table, name: &str) -> bool {
    let variable = table.variable(table.own_name(name));
    variable.is_some_and(|variable| matches!(variable.kind, Kind::Entries))
}

/// What a secret file holds, without its last line break.
fn secret(path: &str, read: impl Fn(&Path, u64) -> io::Result<String>) -> Result<String, String> {
    let content = read(Path::new(path), LARGEST).map_err(|error| format!("cannot be read: {error}"))?;
    let content = content.strip_suffix('\n').unwrap_or(&content);
    let content = content.strip_suffix('\r').unwrap_or(content);
    if content
        .trim_matches([words::BYTE_ORDER_MARK, ' ', '\t', '\r', '\n'])
        .is_empty()
    {
        return Err("names a file that is empty".to_owned());
    }
    kind::one_line(content).map_err(|reason| format!("what the file holds {reason}"))?;
    if content.trim() != content {
        return Err("names a file whose content begins or ends with a blank, which no daemon would keep".to_owned());
    }
    Ok(content.to_owned())
}

/// The name that `<NAME>_FILE` stands for, if there is a setting of that name. A setting whose own name ends so is itself.
fn stands_for<'a>(name: &'a str, value: &str, table: &Table, owners: &[&dyn Names]) -> Option<&'a str> {
    let base = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_file"))?;
    let knows = |name: &str| {
        if table.variable(table.own_name(name)).is_some() {
            return Knowledge::Yes;
        }
        owner(owners, name).map_or(Knowledge::No, |(owner, prefix, rest)| owner.knows(prefix, rest))
    };
    let is_noise = || owner(owners, name).is_some_and(|(.., rest)| noise::is_noise(rest, value));
    match (knows(name), knows(base)) {
        (Knowledge::Yes, _) | (_, Knowledge::No) => None,
        (_, Knowledge::Yes) => Some(base),
        (_, Knowledge::Perhaps) => (!is_noise()).then_some(base),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Variable;
    use super::*;

    /// A daemon that knows some names, and one that knows only the names of its files.
    struct Known;
    struct Unsure;

    impl Names for Known {
        fn prefixes(&self) -> &'static [&'static str] {
            &["POSTFIX_", "MAILROOM_MASTER_"]
        }

        fn knows(&self, _: &str, rest: &str) -> Knowledge {
            let known = [
                "smtpd_tls_dh1024_param_file",
                "relayhost",
                "a",
                "b",
                "syslog_name",
                "smtp_unix_syslog_name",
                "smtp_unix_smtp_tls_cert_file",
            ];
            if known.contains(&&*rest.to_ascii_lowercase()) {
                Knowledge::Yes
            } else {
                Knowledge::No
            }
        }

        fn drop_in_directories(&self) -> &'static [&'static str] {
            &["main.cf.d"]
        }

        fn lines(&self, _: &str, file: &DropIn) -> Vec<Result<Line, Mistake>> {
            let line = |text: &str| Line {
                name: "POSTFIX_relayhost".to_owned(),
                value: text.to_owned(),
                origin: file.path.display().to_string(),
            };
            file.text.lines().map(|text| Ok(line(text))).collect()
        }
    }

    impl Names for Unsure {
        fn prefixes(&self) -> &'static [&'static str] {
            &["DOVECOT_"]
        }

        fn knows(&self, _: &str, rest: &str) -> Knowledge {
            let is_path = ["ca_file", "key_file", "cert_file"]
                .iter()
                .any(|end| rest.to_ascii_lowercase().ends_with(end));
            if is_path { Knowledge::Yes } else { Knowledge::Perhaps }
        }

        fn drop_in_directories(&self) -> &'static [&'static str] {
            &[]
        }

        fn lines(&self, _: &str, _: &DropIn) -> Vec<Result<Line, Mistake>> {
            Vec::new()
        }
    }

    static VARIABLES: [Variable; 2] = [
        Variable {
            name: "MAILROOM_RELAYHOST_PASSWORD",
            secret: true,
            ..Variable::NEW
        },
        Variable {
            name: "POSTFIX_RELAYHOST",
            parameter: Some("relayhost"),
            ..Variable::NEW
        },
    ];

    fn table() -> Table {
        Table::of([&VARIABLES[..]])
    }

    fn read(pairs: &[(&str, &str)]) -> Gathered {
        let environment = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut gathered = Gathered::default();
        gathered.take_environment(&environment, &table(), &[&Known, &Unsure], |path, _| {
            match path.to_str() {
                Some("/secret") => Ok("hunter2\n".to_owned()),
                Some("/windows") => Ok("hunter2\r\n".to_owned()),
                Some("/two") => Ok("a\nb\n".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        });
        gathered
    }

    /// A variable's value, and whether it came from a secret file.
    fn value<'a>(gathered: &'a Gathered, name: &str) -> Option<(&'a str, bool)> {
        let given = gathered.variables.get(name)?;
        Some((&given.value, given.secret))
    }

    #[test]
    fn files_stand_for_values() {
        for path in ["/secret", "/windows"] {
            let sources = read(&[("MAILROOM_RELAYHOST_PASSWORD_FILE", path)]);
            assert_eq!(value(&sources, "MAILROOM_RELAYHOST_PASSWORD"), Some(("hunter2", true)));
            assert_eq!(sources.variables.len(), 1);
        }
    }

    #[test]
    fn a_parameter_of_that_name_is_itself() {
        let sources = read(&[
            ("POSTFIX_SMTPD_TLS_DH1024_PARAM_FILE", "/secret"),
            ("OTHER_FILE", "/secret"),
        ]);
        assert!(sources.mistakes.is_empty());
        let itself = value(&sources, "POSTFIX_SMTPD_TLS_DH1024_PARAM_FILE");
        assert_eq!(itself, Some(("/secret", false)));
    }

    #[test]
    fn settings_whose_own_names_end_so_are_themselves() {
        for name in [
            "DOVECOT_SSL_CLIENT_CA_FILE",
            "DOVECOT_PROTOCOL__IMAP__SSL_CLIENT_KEY_FILE",
            "DOVECOT_ssl_client_cert_file",
            "MAILROOM_MASTER_SMTP_UNIX_SMTP_TLS_CERT_FILE",
            "MAILROOM_MASTER_SMTP_UNIX_NONSENSE_FILE",
            "DOVECOT_SERVICE_PORT_FILE",
        ] {
            let sources = read(&[(name, "/secret")]);
            assert_eq!(value(&sources, name), Some(("/secret", false)), "{name}");
            assert!(sources.mistakes.is_empty(), "{name}");
        }
        for base in [
            "DOVECOT_SSL_CLIENT_CA_FILE",
            "DOVECOT_DOVEADM_PASSWORD",
            "POSTFIX_relayhost",
            "MAILROOM_MASTER_SMTP_UNIX_SYSLOG_NAME",
        ] {
            let sources = read(&[(&format!("{base}_FILE"), "/secret")]);
            let own = table().own_name(base).to_owned();
            assert_eq!(value(&sources, &own), Some(("hunter2", true)), "{base}");
        }
        // A docker link to `postfix` has such a value in POSTFIX_NAME.
        let sources = read(&[("POSTFIX_SYSLOG_NAME_FILE", "/run/secrets/missing")]);
        assert!(sources.mistakes[0].reason.starts_with("cannot be read"));
    }

    #[test]
    fn drop_in_files_by_the_ends_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["20.cf", "10.conf", "10.cf~", "README", ".hidden.cf"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        fs::create_dir(directory.path().join("..data.cf")).unwrap();
        let mut sources = Gathered::default();
        let found = sources.drop_ins(directory.path());
        let texts: Vec<&str> = found.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["10.conf", "20.cf"]);
        assert_eq!(sources.skipped.len(), 2);
        assert!(sources.drop_ins(&directory.path().join("none")).is_empty() && sources.mistakes.is_empty());
        sources.drop_ins(&directory.path().join("README"));
        std::os::unix::fs::symlink("/nonexistent", directory.path().join("30.cf")).unwrap();
        sources.drop_ins(directory.path());
        let told: Vec<&str> = sources
            .mistakes
            .iter()
            .map(|mistake| mistake.variable.as_str())
            .collect();
        assert!(told[0].ends_with("/README") && told[1].ends_with("/30.cf"), "{told:?}");
    }

    #[test]
    fn mistakes_name_the_variable_and_never_the_content() {
        let sources = read(&[
            ("POSTFIX_A_FILE", "/missing"),
            ("POSTFIX_B_FILE", "/two"),
            ("POSTFIX_relayhost", "x"),
            ("POSTFIX_RELAYHOST_FILE", "/secret"),
        ]);
        let told: Vec<_> = sources
            .mistakes
            .iter()
            .map(|mistake| format!("{} {}", mistake.variable, mistake.reason))
            .collect();
        assert!(told[0].starts_with("POSTFIX_A_FILE cannot be read"), "{told:?}");
        assert!(told[1].contains("must be one line"), "{told:?}");
        assert!(told[2].contains("so is POSTFIX_relayhost"), "{told:?}");
    }

    #[test]
    fn a_line_of_a_drop_in_file_comes_in_place_of_the_variable() {
        let mut gathered = read(&[("POSTFIX_relayhost", "from the environment")]);
        let file = DropIn {
            path: "/x.cf".into(),
            text: "from a file\n".to_owned(),
        };
        gathered.take_files(&Known, "main.cf.d", vec![file], &table());
        let given = &gathered.variables["POSTFIX_RELAYHOST"];
        assert_eq!((&*given.value, &*given.origin), ("from a file", "/x.cf"));
        assert_eq!(gathered.variables.len(), 1);
        assert_eq!(gathered.files["main.cf.d"].len(), 1);
    }
}
