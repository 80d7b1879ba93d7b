//! Where settings come from besides the environment itself: secret files that it names, and drop-in files. Reads only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::postfix::parameters::Parameters;
use crate::settings::{DropIn, Environment, Mistake, Sources, dovecot, master, noise, table};
use crate::values::PREFIXES;
use crate::values::kind;

/// Where drop-in files lie: in `main.cf.d`, `master.cf.d` and `dovecot.d`.
pub const DROP_INS: &str = "/etc/mailroom";

/// Reads what the environment names, and the drop-in files.
pub fn gather(environment: &Environment, known: &Parameters) -> Sources {
    let mut sources = read_secrets(environment, known, |path| fs::read_to_string(path));
    let root = Path::new(DROP_INS);
    sources.main_cf = drop_ins(&mut sources, &root.join("main.cf.d"));
    sources.master_cf = drop_ins(&mut sources, &root.join("master.cf.d"));
    sources.dovecot = drop_ins(&mut sources, &root.join("dovecot.d"));
    sources
}

/// Replaces each `<NAME>_FILE` by `<NAME>` with what the file holds, without its last line break. A name that is a
/// variable or parameter of its own (`smtpd_tls_dh1024_param_file`) is not read so.
fn read_secrets(environment: &Environment, known: &Parameters, read: impl Fn(&Path) -> io::Result<String>) -> Sources {
    let mut sources = Sources {
        environment: environment.clone(),
        ..Sources::default()
    };
    for (name, path) in environment {
        let Some(base) = stands_for(name, path, known) else {
            continue;
        };
        sources.environment.remove(name);
        let is_same = |other: &&String| *other == base || table::own_name(other) == table::own_name(base);
        if let Some(other) = environment.keys().find(is_same) {
            let reason = format!("is given, and so is {other}: keep one of them");
            mistake(&mut sources, name, path, reason);
            continue;
        }
        let content = match read(Path::new(path)) {
            Ok(content) => content,
            Err(error) => {
                mistake(&mut sources, name, path, format!("cannot be read: {error}"));
                continue;
            }
        };
        let content = content.strip_suffix('\n').unwrap_or(&content);
        let content = content.strip_suffix('\r').unwrap_or(content);
        if let Err(reason) = kind::one_line(content) {
            mistake(&mut sources, name, path, format!("what the file holds {reason}"));
            continue;
        }
        sources.environment.insert(base.to_owned(), content.to_owned());
        sources.secrets.insert(base.to_owned());
    }
    sources
}

fn mistake(sources: &mut Sources, variable: &str, value: &str, reason: String) {
    sources.mistakes.push(Mistake {
        variable: variable.to_owned(),
        value: value.to_owned(),
        reason,
    });
}

/// The files of a directory, by name. Hidden ones are left out: Kubernetes keeps its own there.
fn drop_ins(sources: &mut Sources, directory: &Path) -> Vec<DropIn> {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let reason = format!("cannot be read: {error}");
            mistake(sources, &directory.display().to_string(), "", reason);
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
        if !path.extension().is_some_and(|of| of == "cf" || of == "conf") {
            sources.skipped.push(path);
            continue;
        }
        match fs::read_to_string(&path) {
            Ok(text) => found.push(DropIn { path, text }),
            Err(error) => mistake(
                sources,
                &path.display().to_string(),
                "",
                format!("cannot be read: {error}"),
            ),
        }
    }
    found
}

/// The name that `<NAME>_FILE` stands for, if there is a setting of that name. A setting whose own name ends so is itself.
fn stands_for<'a>(name: &'a str, value: &str, known: &Parameters) -> Option<&'a str> {
    let base = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_file"))?;
    let (prefix, rest) = PREFIXES
        .iter()
        .find_map(|prefix| Some((*prefix, base.strip_prefix(prefix)?)))?;
    let full = &name[prefix.len()..];
    let is_known = |name: &str, rest: &str| {
        let in_table = table::variable(table::own_name(name)).is_some();
        in_table
            || match (prefix, rest.strip_prefix("MASTER_")) {
                ("POSTFIX_", _) => known.find(rest).is_some(),
                ("MAILROOM_", Some(rest)) => master::is_known(rest, known),
                ("DOVECOT_", _) => dovecot::is_path_of_a_file(rest),
                _ => false,
            }
    };
    let may_be = prefix == "DOVECOT_" && !rest.is_empty() && !noise::is_noise(full, value);
    (!is_known(name, full) && (is_known(base, rest) || may_be)).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Sources {
        let environment = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let known = Parameters::parse(
            "smtpd_tls_dh1024_param_file =\nrelayhost =\na =\nb =\nsyslog_name =\nsmtp_tls_cert_file =\n",
            "",
        );
        read_secrets(&environment, &known, |path| match path.to_str() {
            Some("/secret") => Ok("hunter2\n".to_owned()),
            Some("/windows") => Ok("hunter2\r\n".to_owned()),
            Some("/two") => Ok("a\nb\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn files_stand_for_values() {
        for path in ["/secret", "/windows"] {
            let sources = read(&[("MAILROOM_RELAYHOST_PASSWORD_FILE", path)]);
            assert_eq!(sources.environment["MAILROOM_RELAYHOST_PASSWORD"], "hunter2");
            assert!(sources.secrets.contains("MAILROOM_RELAYHOST_PASSWORD"));
            assert_eq!(sources.environment.len(), 1);
        }
    }

    #[test]
    fn a_parameter_of_that_name_is_itself() {
        let sources = read(&[
            ("POSTFIX_SMTPD_TLS_DH1024_PARAM_FILE", "/secret"),
            ("OTHER_FILE", "/secret"),
        ]);
        assert!(sources.secrets.is_empty() && sources.mistakes.is_empty());
        assert_eq!(sources.environment["POSTFIX_SMTPD_TLS_DH1024_PARAM_FILE"], "/secret");
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
            assert_eq!(
                sources.environment.get(name).map(String::as_str),
                Some("/secret"),
                "{name}"
            );
            assert!(sources.secrets.is_empty() && sources.mistakes.is_empty(), "{name}");
        }
        for base in [
            "DOVECOT_SSL_CLIENT_CA_FILE",
            "DOVECOT_DOVEADM_PASSWORD",
            "POSTFIX_relayhost",
            "MAILROOM_MASTER_SMTP_UNIX_SYSLOG_NAME",
        ] {
            let sources = read(&[(&format!("{base}_FILE"), "/secret")]);
            assert_eq!(
                sources.environment.get(base).map(String::as_str),
                Some("hunter2"),
                "{base}"
            );
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
        let mut sources = Sources::default();
        let found = drop_ins(&mut sources, directory.path());
        let texts: Vec<&str> = found.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["10.conf", "20.cf"]);
        assert_eq!(sources.skipped.len(), 2);
        assert!(drop_ins(&mut sources, &directory.path().join("none")).is_empty() && sources.mistakes.is_empty());
        drop_ins(&mut sources, &directory.path().join("README"));
        std::os::unix::fs::symlink("/nonexistent", directory.path().join("30.cf")).unwrap();
        drop_ins(&mut sources, directory.path());
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
}
