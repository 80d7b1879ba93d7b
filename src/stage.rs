//! The plan, written into a scratch directory: tables are built there, and Postfix's and Dovecot's own checkers read it,
//! before anything that runs is touched.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

use crate::dovecot::{self, Place};
use crate::health;
use crate::layout::POSTFIX_CONFIG_DIRECTORY;
use crate::plan::UserTable;
use crate::plan::{File, Plan};
use crate::postfix::{main_cf, master_cf};
use crate::settings::report::without;
use crate::settings::{Mistake, Report};
use crate::system::files::Owner;
use crate::system::processes::Processes;

/// What a scratch directory's name begins with.
const SCRATCH: &str = "stage-";

/// Whether this is such a directory.
pub fn is_scratch(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH))
}

/// Longest run of a checker or of postmap(1).
const LIMIT: Duration = Duration::from_secs(30);

/// Checks the plan, in a scratch directory below `parent`, and returns all its files, with the built table in front of
/// each table's source.
pub async fn stage(plan: &Plan, parent: &Path, processes: &Processes) -> anyhow::Result<Vec<File>> {
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent)?;
    for file in &plan.files {
        let path = staged(&scratch, &file.path);
        write(&path, &file.bytes).with_context(|| path.display().to_string())?;
    }
    include_staged(plan, &scratch)?;
    let config = staged(&scratch, Path::new(POSTFIX_CONFIG_DIRECTORY));
    let postconf = |what: &str| command("/usr/sbin/postconf", [Path::new("-c"), &config, Path::new(what)]);
    let (mut parameters, mut services) = (postconf("-n"), postconf("-M"));
    let (built, parameters, services, dovecot) = tokio::join!(
        build_tables(plan, &scratch, &config, processes),
        run_postfix(&config, processes, &mut parameters),
        run_postfix(&config, processes, &mut services),
        check_dovecot(plan, &scratch, processes),
    );
    let (dovecot, shown) = match dovecot {
        Ok(shown) => (Ok(()), shown),
        Err(error) => (Err(error), String::new()),
    };
    all_well([built, parameters, services, dovecot], &scratch, &plan.secrets)?;
    let closed = dovecot::closed_ports(&shown);
    let mut staged_files = Vec::new();
    for table in &plan.user_tables {
        staged_files.push(built_user_table(&scratch, table)?);
    }
    for file in &plan.files {
        if plan.tables.contains(&file.path) {
            staged_files.push(built_table(&scratch, file)?);
        }
        staged_files.push(if file.path == health::targets_file() {
            health::without(file, &closed)?
        } else {
            file.clone()
        });
    }
    Ok(staged_files)
}

/// What all checkers have against the plan comes in one report. What could not be traced is told where nothing else is.
fn all_well(results: [anyhow::Result<()>; 4], scratch: &TempDir, secrets: &BTreeSet<String>) -> anyhow::Result<()> {
    let (mut mistakes, mut others) = (Vec::new(), Vec::new());
    for error in results.into_iter().filter_map(Result::err) {
        match error.downcast::<Report>() {
            Ok(Report(more)) => mistakes.extend(more),
            Err(error) => others.push(error),
        }
    }
    // Several of Postfix's programs warn of the same.
    let mut told: Vec<Mistake> = Vec::new();
    for mistake in mistakes {
        if !told.contains(&mistake) {
            told.push(mistake);
        }
    }
    match others.into_iter().next() {
        _ if !told.is_empty() => Err(Report(told).without(secrets).into()),
        // The scratch directory's path means nothing to a user.
        Some(error) => {
            let said = format!("{error:#}").replace(&scratch.path().display().to_string(), "");
            Err(anyhow!(without(secrets, &said)))
        }
        None => Ok(()),
    }
}

/// The drop-in files are checked where they are staged.
fn include_staged(plan: &Plan, scratch: &TempDir) -> anyhow::Result<()> {
    let Some(config) = plan.file(&dovecot::config_file()) else {
        return Ok(());
    };
    let prefix = format!("!include {}", scratch.path().display());
    let text = String::from_utf8_lossy(&config.bytes).replace("!include ", &prefix);
    let path = staged(scratch, &config.path);
    write(&path, text.as_bytes()).with_context(|| path.display().to_string())
}

/// postmap(1), for our tables and for the user's own, a copy of which is built.
async fn build_tables(plan: &Plan, scratch: &TempDir, config: &Path, processes: &Processes) -> anyhow::Result<()> {
    let ours = plan
        .tables
        .iter()
        .map(|table| format!("lmdb:{}", staged(scratch, table).display()));
    let mut tables: Vec<String> = ours.collect();
    for table in &plan.user_tables {
        let path = staged(scratch, &table.source);
        write(&path, &table.bytes).with_context(|| path.display().to_string())?;
        tables.push(format!("{}:{}", table.kind, path.display()));
    }
    let mut postmap = command("/usr/sbin/postmap", [Path::new("-c"), config]);
    run_postfix(config, processes, postmap.args(&tables)).await
}

/// Runs one of Postfix's programs, which warn of what no daemon will tell. One that says anything on standard error
/// objects, whatever its exit code.
async fn run_postfix(config: &Path, processes: &Processes, command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = processes.output(command, LIMIT).await?;
    let read = |name: &str| fs::read_to_string(config.join(name)).unwrap_or_default();
    let (main_cf, master_cf) = (read("main.cf"), read("master.cf"));
    let said = output
        .stderr
        .replace(&config.display().to_string(), POSTFIX_CONFIG_DIRECTORY);
    let (mut mistakes, mut untraced) = (Vec::new(), None);
    for said in said.lines() {
        match master_cf::trace(&master_cf, said).or_else(|| main_cf::trace(&main_cf, said)) {
            Some((variable, value, reason)) => mistakes.push(Mistake {
                variable,
                value,
                reason,
            }),
            None => untraced = untraced.or(Some(said)),
        }
    }
    if !mistakes.is_empty() {
        return Err(Report(mistakes).into());
    }
    if let Some(said) = untraced {
        bail!("{program} refuses the configuration: {said}");
    }
    if !output.exit.is_success() {
        bail!("{program} {}", output.exit);
    }
    Ok(())
}

/// Most mistakes of Dovecot's that are told at once.
const MOST: usize = 20;

/// What `doveconf -n` shows. It stops at the first line that it does not like: that one is taken out, and it is asked
/// again.
async fn check_dovecot(plan: &Plan, scratch: &TempDir, processes: &Processes) -> anyhow::Result<String> {
    let mut mistakes = Vec::new();
    while mistakes.len() < MOST {
        let said = match doveconf(scratch, processes).await? {
            Ok(shown) if mistakes.is_empty() => return Ok(shown),
            Ok(_) => break,
            Err(said) => said,
        };
        let blamed = dovecot::place_of(&said).and_then(|(place, what)| Some((blame(scratch, &place, what)?, place)));
        let Some((mistake, place)) = blamed else {
            if mistakes.is_empty() {
                bail!("doveconf refuses the configuration: {said}");
            }
            break;
        };
        mistakes.push(explained(mistake, plan, scratch, processes).await);
        if !take_out(&staged(scratch, &place.path), place.line)? {
            break;
        }
    }
    Err(Report(mistakes).into())
}

/// What `doveconf -n` shows of what is staged, or the first thing that it has against it.
async fn doveconf(scratch: &TempDir, processes: &Processes) -> anyhow::Result<Result<String, String>> {
    let path = staged(scratch, &dovecot::config_file());
    let mut doveconf = command("/usr/bin/doveconf", [Path::new("-c"), &path, Path::new("-n")]);
    let output = processes.output(&mut doveconf, LIMIT).await?;
    let said = output.stderr.trim();
    if output.exit.is_success() && said.is_empty() {
        return Ok(Ok(output.stdout));
    }
    let said = said
        .lines()
        .next()
        .unwrap_or("refuses the configuration")
        .replace(&scratch.path().display().to_string(), "");
    let said = said
        .trim_start_matches("doveconf: ")
        .trim_start_matches("Fatal: ")
        .trim_start_matches("Error: ");
    Ok(Err(said.to_owned()))
}

/// Right above the line stands the variable that wrote it; drop-in files are the user's own.
fn blame(scratch: &TempDir, place: &Place, reason: String) -> Option<Mistake> {
    let (variable, value) = if place.path == dovecot::config_file() {
        let config = fs::read_to_string(staged(scratch, &place.path)).unwrap_or_default();
        dovecot::variable_at(&config, place.line)?
    } else {
        let source = dovecot::source_of_drop_in(&place.path);
        (format!("{}:{}", source.display(), place.line), String::new())
    };
    Some(Mistake {
        variable,
        value,
        reason,
    })
}

/// With the nearest right name, where there is no such setting.
async fn explained(mistake: Mistake, plan: &Plan, scratch: &TempDir, processes: &Processes) -> Mistake {
    let Some(name) = dovecot::unknown_setting(&mistake.reason) else {
        return mistake;
    };
    let names = known_settings(plan, scratch, processes).await.unwrap_or_default();
    let nearest = crate::values::nearest(&name, names.iter().map(String::as_str));
    let nearest = nearest
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default();
    let reason = format!("{name} is not a setting of the installed Dovecot{nearest}");
    Mistake { reason, ..mistake }
}

/// Empties a line that sets something; false where there is another line, or one that opens a block or goes on.
fn take_out(path: &Path, number: usize) -> io::Result<bool> {
    let text = fs::read_to_string(path)?;
    let mut lines: Vec<&str> = text.lines().collect();
    let is_setting = |line: &&mut &str| line.contains('=') && !line.ends_with(['{', '\\']);
    let Some(line) = number
        .checked_sub(1)
        .and_then(|index| lines.get_mut(index))
        .filter(is_setting)
    else {
        return Ok(false);
    };
    *line = "";
    fs::write(path, lines.join("\n") + "\n")?;
    Ok(true)
}

/// The names of all settings, from `doveconf -a` with what the template says alone.
async fn known_settings(plan: &Plan, scratch: &TempDir, processes: &Processes) -> anyhow::Result<Vec<String>> {
    let config = plan.file(&dovecot::config_file()).context("no configuration")?;
    let path = scratch.path().join("template.conf");
    write(
        &path,
        dovecot::template_part(&String::from_utf8_lossy(&config.bytes)).as_bytes(),
    )?;
    let mut doveconf = command("/usr/bin/doveconf", [Path::new("-c"), &path, Path::new("-a")]);
    let output = processes.output(&mut doveconf, LIMIT).await?;
    let names = output
        .stdout
        .lines()
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name.trim().to_owned());
    Ok(names.collect())
}

fn built_user_table(scratch: &TempDir, table: &UserTable) -> anyhow::Result<File> {
    let built = staged(scratch, &table.built);
    Ok(File {
        path: table.built.clone(),
        bytes: fs::read(&built).with_context(|| table.built.display().to_string())?,
        owner: Owner::ROOT,
        mode: table.mode,
    })
}

fn staged(scratch: &TempDir, path: &Path) -> PathBuf {
    scratch.path().join(path.strip_prefix("/").unwrap_or(path))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes)?;
    // Postfix waits for younger files to settle.
    let file = fs::File::options().write(true).open(path)?;
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(10))
}

/// Whoever may read the source may read the table.
fn built_table(scratch: &TempDir, source: &File) -> anyhow::Result<File> {
    let path = source.path.with_added_extension("lmdb");
    let built = staged(scratch, &path);
    let bytes = fs::read(&built).with_context(|| path.display().to_string())?;
    Ok(File {
        path,
        bytes,
        ..source.clone()
    })
}

fn command<const N: usize>(program: &str, arguments: [&Path; N]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}
