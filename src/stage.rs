//! The plan, written into a scratch directory: tables are built there, and Postfix's and Dovecot's own checkers read it,
//! before anything that runs is touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

use crate::dovecot;
use crate::layout::POSTFIX_CONFIG_DIRECTORY;
use crate::plan::UserTable;
use crate::plan::{File, Plan};
use crate::postfix::main_cf;
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
    let results = tokio::join!(
        build_tables(plan, &scratch, &config, processes),
        run_postfix(&config, processes, &mut parameters),
        run_postfix(&config, processes, &mut services),
        check_dovecot(plan, &scratch, processes),
    );
    for result in <[_; 4]>::from(results) {
        // The scratch directory's path means nothing to a user.
        result.map_err(|error| match error.downcast::<Report>() {
            Ok(report) => report.into(),
            Err(error) => anyhow!(format!("{error:#}").replace(&scratch.path().display().to_string(), "")),
        })?;
    }
    let mut staged_files = Vec::new();
    for table in &plan.user_tables {
        staged_files.push(built_user_table(&scratch, table)?);
    }
    for file in &plan.files {
        if plan.tables.contains(&file.path) {
            staged_files.push(built_table(&scratch, file)?);
        }
        staged_files.push(file.clone());
    }
    Ok(staged_files)
}

/// The drop-in files are checked where they are staged.
fn include_staged(plan: &Plan, scratch: &TempDir) -> anyhow::Result<()> {
    let Some(config) = plan.files.iter().find(|file| file.path == dovecot::config_file()) else {
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
    let main_cf = fs::read_to_string(config.join("main.cf")).unwrap_or_default();
    let mut mistakes = Vec::new();
    let said = output
        .stderr
        .replace(&config.display().to_string(), POSTFIX_CONFIG_DIRECTORY);
    for said in said.lines() {
        match main_cf::trace(&main_cf, said) {
            Some((variable, value, reason)) => mistakes.push(Mistake {
                variable,
                value,
                reason,
            }),
            None => bail!("{program} refuses the configuration: {said}"),
        }
    }
    if !mistakes.is_empty() {
        return Err(Report(mistakes).into());
    }
    if !output.exit.is_success() {
        bail!("{program} {}", output.exit);
    }
    Ok(())
}

/// doveconf(1) names the line of what it does not like; right above stands the variable that wrote it.
async fn check_dovecot(plan: &Plan, scratch: &TempDir, processes: &Processes) -> anyhow::Result<()> {
    let path = staged(scratch, &dovecot::config_file());
    let mut doveconf = command("/usr/bin/doveconf", [Path::new("-c"), &path, Path::new("-n")]);
    let output = processes.output(&mut doveconf, LIMIT).await?;
    let said = output.stderr.trim();
    if output.exit.is_success() && said.is_empty() {
        return Ok(());
    }
    let config = fs::read_to_string(&path).unwrap_or_default();
    let said = said
        .lines()
        .next()
        .unwrap_or("refuses the configuration")
        .replace(&scratch.path().display().to_string(), "");
    let said = said
        .trim_start_matches("doveconf: ")
        .trim_start_matches("Fatal: ")
        .trim_start_matches("Error: ")
        .to_owned();
    let Some((place, what)) = dovecot::place_of(&said) else {
        bail!("doveconf refuses the configuration: {said}")
    };
    let mistake = match (
        place.path == dovecot::config_file(),
        dovecot::variable_at(&config, place.line),
    ) {
        (true, Some((variable, value))) => Mistake {
            variable,
            value,
            reason: what,
        },
        (true, None) => bail!("doveconf refuses the configuration: {said}"),
        (false, _) => Mistake {
            variable: format!("{}:{}", dovecot::source_of_drop_in(&place.path).display(), place.line),
            value: String::new(),
            reason: what,
        },
    };
    let reason = match dovecot::unknown_setting(&mistake.reason) {
        Some(name) => {
            let names = known_settings(plan, scratch, processes).await.unwrap_or_default();
            let nearest = crate::values::nearest(&name, names.iter().map(String::as_str));
            let nearest = nearest
                .map(|nearest| format!("; did you mean {nearest}?"))
                .unwrap_or_default();
            format!("{name} is not a setting of the installed Dovecot{nearest}")
        }
        None => mistake.reason.clone(),
    };
    Err(Report(vec![Mistake { reason, ..mistake }]).into())
}

/// The names of all settings, from `doveconf -a` with what the template says alone.
async fn known_settings(plan: &Plan, scratch: &TempDir, processes: &Processes) -> anyhow::Result<Vec<String>> {
    let config = plan
        .files
        .iter()
        .find(|file| file.path == dovecot::config_file())
        .context("no configuration")?;
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
