//! Sieve scripts of the site (RFC 5228), which come before each account's own: files in `/etc/mailroom/sieve.d`, in the order
//! of their names. They are copied, and compiled when they are staged, to see whether they can be. What is compiled holds the
//! script's path, so that the first delivery compiles once more, and keeps that.

use std::path::{Path, PathBuf};

use super::config_file;
use super::settings::Settings;
use crate::layout::RUN_DIRECTORY;
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::settings::DropIn;
use crate::settings::gather::DROP_INS;
use crate::site::SIEVE;
use crate::staging::{LIMIT, Staging};
use crate::system::processes::Processes;
use crate::system::programs::{PATH, Program};

/// Where they lie, below `/etc/mailroom`.
pub(super) const DIRECTORY: &str = "sieve.d";

const SIEVEC: Program = Program {
    name: "sievec",
    package: "dovecot-sieve",
    directories: PATH,
};

/// The directory of the copies.
pub(super) fn copies() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/sieve")
}

/// Where deliveries keep what they compile.
pub(super) fn compiled() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/sieve-compiled")
}

/// Where a script is copied to.
pub(super) fn copy(script: &Path) -> PathBuf {
    copies().join(script.file_name().unwrap_or_default())
}

/// The scripts, where filters are on.
pub(super) fn used(settings: &Settings) -> impl Iterator<Item = &DropIn> {
    settings.scripts.iter().filter(|_| settings.sieve)
}

/// Names that dovecot.conf could not hold, or that are no script's.
pub(super) fn wrong_names(settings: &Settings) -> Vec<Mistake> {
    let is_right = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let allowed = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
        name.ends_with(".sieve") && name.chars().all(allowed)
    };
    let wrong = used(settings).filter(|script| !is_right(&script.path));
    let reason = "the name of a script ends with .sieve and has letters, digits and the signs . _ - alone";
    let mistake = |script: &DropIn| Mistake::new(script.path.display().to_string(), "", reason);
    wrong.map(mistake).collect()
}

/// What a user should know of scripts that are not used.
pub(super) fn note(settings: &Settings) -> Option<String> {
    let is_unused = !settings.sieve && !settings.scripts.is_empty();
    is_unused.then(|| format!("Not used: the scripts in {DROP_INS}/{DIRECTORY}, for {SIEVE} is off"))
}

/// Compiles what is staged.
pub(super) async fn check(scripts: &[PathBuf], staging: &Staging, processes: &Processes) -> anyhow::Result<()> {
    let mut mistakes = Vec::new();
    for script in scripts {
        let staged = staging.at(&copy(script));
        let mut sievec = SIEVEC.command()?;
        sievec.arg("-c").arg(staging.at(&config_file()));
        sievec.arg(&staged).arg(staged.with_extension("svbin"));
        let output = processes.output(&mut sievec, LIMIT).await?;
        if !output.exit.is_success() {
            mistakes.push(mistake(script, &staging.without_root(&output.stderr)));
        }
    }
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(Report::of(mistakes, &Secrets::default()).into())
    }
}

/// sievec(1) says `NAME: line N: error: …`, in the order of the lines.
fn mistake(script: &Path, said: &str) -> Mistake {
    let place = |line: &str| {
        let (place, reason) = line.split_once(": error: ")?;
        let (_, number) = place.rsplit_once(": line ")?;
        Some((number.parse::<usize>().ok()?, reason.to_owned()))
    };
    let path = script.display();
    match said.lines().find_map(place) {
        Some((number, reason)) => Mistake::new(format!("{path}:{number}"), "", reason),
        None => Mistake::new(path.to_string(), "", said.lines().next().unwrap_or("does not compile")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_what_sievec_says() {
        let path = Path::new("/etc/mailroom/sieve.d/10.sieve");
        let said = "10: line 3: error: expected end of compound block '}', but found end of file.\n10: error: parse failed.\n\
            sievec: Fatal: failed to compile sieve script\n";
        let found = mistake(path, said);
        assert_eq!(found.variable, "/etc/mailroom/sieve.d/10.sieve:3");
        assert!(found.reason.starts_with("expected end of compound"), "{}", found.reason);
        let found = mistake(path, "sievec: Fatal: x");
        assert_eq!(
            (found.variable.as_str(), found.reason.as_str()),
            ("/etc/mailroom/sieve.d/10.sieve", "sievec: Fatal: x")
        );
    }

    #[test]
    fn scripts_have_simple_names() {
        let script = |name: &str| DropIn {
            path: Path::new("/etc/mailroom/sieve.d").join(name),
            text: String::new(),
        };
        let mut settings = Settings {
            scripts: ["10-junk.sieve", "a b.sieve", "x.conf"].map(script).into(),
            ..Settings::default()
        };
        assert!(wrong_names(&settings).is_empty() && note(&settings).is_some());
        settings.sieve = true;
        let wrong: Vec<String> = wrong_names(&settings)
            .into_iter()
            .map(|mistake| mistake.variable)
            .collect();
        assert_eq!(
            wrong,
            ["/etc/mailroom/sieve.d/a b.sieve", "/etc/mailroom/sieve.d/x.conf"]
        );
        assert_eq!(note(&settings), None);
    }
}
