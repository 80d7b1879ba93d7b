//! doveconf(1) as Dovecot's checker. It stops at the first line that it does not like: that one is taken out, and it is
//! asked again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::config::template_part;
use super::settings::unquoted;
use super::shown::settings;
use super::{config_file, drop_in_copies, sieve, source_of_drop_in};
use crate::daemon::{Checker, Findings, Work};
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::staging::{LIMIT, Staging};
use crate::system::processes::Processes;
use crate::system::programs::{PATH, Program};
use crate::values::nearest;

const DOVECONF: Program = Program {
    name: "doveconf",
    package: "dovecot-core",
    directories: PATH,
};

/// Most mistakes that are reported at once.
const MOST: usize = 20;

/// Checks the configuration, and compiles the site's scripts.
#[derive(Debug)]
pub(super) struct DovecotChecker {
    /// Sieve scripts of the site.
    pub(super) scripts: Vec<PathBuf>,
    /// Mail comes by LMTP.
    pub(super) delivers: bool,
}

impl Checker for DovecotChecker {
    fn check<'a>(&'a self, staging: &'a Staging, processes: &'a Processes) -> Work<'a, Findings> {
        Box::pin(async move {
            include_staged(staging)?;
            let (shown, left_out) = check(staging, processes).await?;
            if self.delivers && settings(&shown).iter().any(|setting| setting.switches_off("lmtp")) {
                return Err(Report::of(vec![Mistake::new("protocols", "", WITHOUT_LMTP)], &Secrets::default()).into());
            }
            sieve::check(&self.scripts, staging, processes).await?;
            Ok(Findings {
                built: Vec::new(),
                left_out,
                closed_ports: super::probes::closed_ports(&shown),
                warnings: super::limits::notes(&shown)
                    .into_iter()
                    .chain(super::probes::without_tls(&shown))
                    .collect(),
            })
        })
    }
}

const WITHOUT_LMTP: &str = "Dovecot delivers by LMTP where MAILROOM_SIEVE is on and for accounts with a quota: leave lmtp \
    among the protocols (DOVECOT_PROTOCOLS, or a file in dovecot.d)";

/// The drop-in files and ours are checked where they are staged.
fn include_staged(staging: &Staging) -> anyhow::Result<()> {
    let mut text = staging.read(&config_file());
    for word in ["!include ", "!include_try "] {
        text = text.replace(word, &format!("{word}{}", staging.root().display()));
    }
    let path = config_file().display().to_string();
    staging.write(&config_file(), text.as_bytes()).context(path)
}

/// What `doveconf -n` shows of what is staged, without the lines that set nothing where something must be: a variable that is
/// empty is not set then.
async fn check(staging: &Staging, processes: &Processes) -> anyhow::Result<(String, Vec<(PathBuf, usize)>)> {
    let (mut mistakes, mut left_out) = (Vec::new(), Vec::new());
    while mistakes.len() < MOST {
        let said = match doveconf(staging, processes).await? {
            Ok(shown) if mistakes.is_empty() => return Ok((shown, left_out)),
            Ok(_) => break,
            Err(said) => said,
        };
        let blamed = place_of(&said).and_then(|(place, what)| Some((blame(staging, &place, &what)?, place)));
        let Some((mistake, place)) = blamed else {
            if mistakes.is_empty() {
                bail!("doveconf refuses the configuration: {}", with_sources(&said));
            }
            break;
        };
        let is_empty = mistake.value.is_empty() && place.path == config_file();
        if is_empty && unknown_setting(&mistake.reason).is_none() {
            left_out.push((place.path.clone(), place.line));
        } else {
            mistakes.push(explained(mistake, staging, processes).await);
        }
        if !take_out(staging, &place)? {
            break;
        }
    }
    Err(Report::of(mistakes, &Secrets::default()).into())
}

fn command(staging: &Staging, path: &Path, what: &str) -> anyhow::Result<Command> {
    let mut command = DOVECONF.command()?;
    command.arg("-c").arg(staging.at(path)).arg(what);
    Ok(command)
}

/// What `doveconf -n` shows of what is staged, or the first thing that it has against it.
async fn doveconf(staging: &Staging, processes: &Processes) -> anyhow::Result<Result<String, String>> {
    let mut doveconf = command(staging, &config_file(), "-n")?;
    let output = processes.output(&mut doveconf, LIMIT).await?;
    let said = output.stderr.trim();
    if output.exit.is_success() && said.is_empty() {
        return Ok(Ok(output.stdout));
    }
    let said = staging.without_root(said.lines().next().unwrap_or("refuses the configuration"));
    let said = said
        .trim_start_matches("doveconf: ")
        .trim_start_matches("Fatal: ")
        .trim_start_matches("Error: ");
    Ok(Err(said.to_owned()))
}

/// Right above the line stands the variable that wrote it; drop-in files are the user's own.
fn blame(staging: &Staging, place: &Place, what: &str) -> Option<Mistake> {
    let reason = with_sources(what);
    if place.path.parent() == Some(&drop_in_copies()) {
        let source = source_of_drop_in(&place.path);
        return Some(Mistake::new(format!("{}:{}", source.display(), place.line), "", reason));
    }
    let (variable, value) = variable_at(&staging.read(&place.path), place.line)?;
    Some(Mistake::new(variable, value, reason))
}

/// What is said of copies, said of the files that the user knows.
fn with_sources(said: &str) -> String {
    let sources = source_of_drop_in(Path::new("x"));
    let sources = sources.parent().unwrap_or(Path::new("/"));
    said.replace(&drop_in_copies().display().to_string(), &sources.display().to_string())
}

/// With the nearest right name, where there is no such setting.
async fn explained(mistake: Mistake, staging: &Staging, processes: &Processes) -> Mistake {
    let Some(name) = unknown_setting(&mistake.reason) else {
        return mistake;
    };
    let names = known_settings(staging, processes).await.unwrap_or_default();
    let nearest = nearest(&name, names.iter().map(String::as_str));
    let written = |nearest: &str| match mistake.variable.rfind(&name.to_ascii_uppercase()) {
        Some(at) if !mistake.variable.starts_with('/') => {
            format!("{}{}", &mistake.variable[..at], nearest.to_ascii_uppercase())
        }
        _ => nearest.to_owned(),
    };
    let nearest = nearest
        .map(|nearest| format!("; did you mean {}?", written(nearest)))
        .unwrap_or_default();
    let reason = format!("{name} is not a setting of the installed Dovecot{nearest}");
    Mistake { reason, ..mistake }
}

/// Empties a line that sets something; false where there is another line, or one that opens a block or is continued.
fn take_out(staging: &Staging, place: &Place) -> io::Result<bool> {
    let text = staging.read(&place.path);
    let mut lines: Vec<&str> = text.lines().collect();
    let is_setting = |line: &&mut &str| line.contains('=') && !line.ends_with(['{', '\\']);
    let Some(line) = place
        .line
        .checked_sub(1)
        .and_then(|index| lines.get_mut(index))
        .filter(is_setting)
    else {
        return Ok(false);
    };
    *line = "";
    staging.write(&place.path, (lines.join("\n") + "\n").as_bytes())?;
    Ok(true)
}

/// The names of all settings, from `doveconf -a` with what the template says alone.
async fn known_settings(staging: &Staging, processes: &Processes) -> anyhow::Result<Vec<String>> {
    let path = Path::new("/template.conf");
    let config = staging.read(&config_file());
    staging.write(path, template_part(&config).as_bytes())?;
    let mut doveconf = command(staging, path, "-a")?;
    let output = processes.output(&mut doveconf, LIMIT).await?;
    let names = output
        .stdout
        .lines()
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name.trim().to_owned());
    Ok(names.collect())
}

/// A place in a configuration file.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The file.
    path: PathBuf,
    /// The line, counted from 1.
    line: usize,
}

/// The place that doveconf(1) names, and what it says of it: `Error in configuration file PATH line N: …`. Of a block that is
/// not closed it is where that begins: `…: Missing '}' (section started at PATH:N)`.
fn place_of(said: &str) -> Option<(Place, String)> {
    let place = |path: &str, line: &str| {
        let (path, line) = (PathBuf::from(path), line.parse().ok()?);
        Some(Place { path, line })
    };
    if let Some((_, begin)) = said.split_once("Missing '}' (section started at ") {
        let (path, line) = begin.strip_suffix(')')?.rsplit_once(':')?;
        return Some((place(path, line)?, "the block that begins here has no }".to_owned()));
    }
    let rest = ["Error in configuration file ", "Warning: "]
        .iter()
        .find_map(|begin| said.strip_prefix(begin))?;
    let (of, what) = rest.split_once(": ")?;
    let (path, line) = of.rsplit_once(" line ")?;
    Some((place(path, line)?, what.to_owned()))
}

/// The variable above a line of dovecot.conf, and the value in the line.
fn variable_at(config: &str, line: usize) -> Option<(String, String)> {
    let line_at = |number: usize| config.lines().nth(number.checked_sub(1)?);
    let variable = line_at(line.checked_sub(1)?)?.trim().strip_prefix("# DOVECOT_")?;
    let value = line_at(line)?.split_once(" =").map_or("", |(_, value)| value.trim());
    Some((format!("DOVECOT_{variable}"), unquoted(value)))
}

/// The name in `…: Unknown setting: NAME`, behind which may stand in brackets where else it was looked for.
fn unknown_setting(what: &str) -> Option<String> {
    let (_, name) = what.rsplit_once("Unknown setting: ")?;
    let name = name.split(" (").next().unwrap_or(name);
    Some(name.rsplit('/').next().unwrap_or(name).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_what_doveconf_says() {
        for (said, path, line, reason) in [
            (
                "Error in configuration file /a/b line 3: x: Invalid number",
                "/a/b",
                3,
                "x: Invalid number",
            ),
            (
                "Error in configuration file /c: Missing '}' (section started at /a/b:2)",
                "/a/b",
                2,
                "the block that begins here has no }",
            ),
            (
                "Warning: /a/b line 7: Global setting y won't change it at /a/b line 5",
                "/a/b",
                7,
                "Global setting y won't change it at /a/b line 5",
            ),
        ] {
            let (place, what) = place_of(said).expect(said);
            assert_eq!((place.path.to_str(), place.line, &*what), (Some(path), line, reason));
        }
        assert_eq!(place_of("Fatal: out of memory"), None);
        let said = "no matches in /run/mailroom/dovecot/conf.d/10.conf line 3";
        assert_eq!(
            with_sources(said),
            "no matches in /etc/mailroom/dovecot.d/10.conf line 3"
        );
    }
}
