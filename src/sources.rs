//! Where settings come from besides the environment itself: secret files that it names, and drop-in files. Reads only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::postfix::parameters::Parameters;
use crate::settings::{DropIn, Environment, Mistake, PREFIXES, Sources, noise, table};
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
        if environment.contains_key(base) {
            mistake(
                &mut sources,
                name,
                path,
                format!("is given, and so is {base}: keep one of them"),
            );
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
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.is_file()
                && !path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
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

/// The name that `<NAME>_FILE` stands for, if there is a setting of that name.
fn stands_for<'a>(name: &'a str, value: &str, known: &Parameters) -> Option<&'a str> {
    let base = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_file"))?;
    let (prefix, rest) = PREFIXES
        .iter()
        .find_map(|prefix| Some((*prefix, base.strip_prefix(prefix)?)))?;
    let is_setting = |name: &str, rest: &str| {
        table::variable(name).is_some()
            || match prefix {
                "POSTFIX_" => known.find(rest).is_some(),
                "MAILROOM_" => rest.starts_with("MASTER_"),
                _ => !rest.is_empty(),
            }
    };
    let exact = prefix == "POSTFIX_" && is_setting(name, &name[prefix.len()..]);
    (!exact && is_setting(base, rest) && !noise::is_noise(rest, value)).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Sources {
        let environment = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let known = Parameters::parse("smtpd_tls_dh1024_param_file =\nrelayhost =\na =\nb =\n", "");
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
    fn mistakes_name_the_variable_and_never_the_content() {
        let sources = read(&[
            ("POSTFIX_A_FILE", "/missing"),
            ("POSTFIX_B_FILE", "/two"),
            ("POSTFIX_RELAYHOST", "x"),
            ("POSTFIX_RELAYHOST_FILE", "/secret"),
        ]);
        let told: Vec<_> = sources
            .mistakes
            .iter()
            .map(|mistake| format!("{} {}", mistake.variable, mistake.reason))
            .collect();
        assert!(told[0].starts_with("POSTFIX_A_FILE cannot be read"), "{told:?}");
        assert!(told[1].contains("must be one line"), "{told:?}");
        assert!(told[2].contains("so is POSTFIX_RELAYHOST"), "{told:?}");
    }
}
