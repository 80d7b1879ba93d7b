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
use crate::layout::{POSTFIX_CONFIG_DIRECTORY, RUN_DIRECTORY};
use crate::plan::{File, Plan};
use crate::system::files::{self, Owner};
use crate::system::processes::Processes;

/// Longest run of a checker or of postmap(1).
const LIMIT: Duration = Duration::from_secs(30);

/// Checks the plan and returns all its files, with the built table in front of each table's source.
pub async fn stage(plan: &Plan, processes: &Processes) -> anyhow::Result<Vec<File>> {
    files::directory(Path::new(RUN_DIRECTORY), Owner::ROOT, 0o755)?;
    let scratch = tempfile::Builder::new().prefix("stage-").tempdir_in(RUN_DIRECTORY)?;
    for file in &plan.files {
        let path = staged(&scratch, &file.path);
        write(&path, &file.bytes).with_context(|| path.display().to_string())?;
    }
    let config = staged(&scratch, Path::new(POSTFIX_CONFIG_DIRECTORY));
    let dovecot = staged(&scratch, &dovecot::config_file());
    let tables: Vec<String> = plan
        .tables
        .iter()
        .map(|table| format!("lmdb:{}", staged(&scratch, table).display()))
        .collect();
    let postconf = |what: &str| command("/usr/sbin/postconf", [Path::new("-c"), &config, Path::new(what)]);
    let mut postmap = command("/usr/sbin/postmap", [Path::new("-c"), &config]);
    let mut doveconf = command("/usr/bin/doveconf", [Path::new("-c"), &dovecot, Path::new("-n")]);
    let (mut parameters, mut services) = (postconf("-n"), postconf("-M"));
    let results = tokio::join!(
        run(processes, postmap.args(&tables)),
        run(processes, &mut parameters),
        run(processes, &mut services),
        run(processes, &mut doveconf),
    );
    for result in <[_; 4]>::from(results) {
        // The scratch directory's path means nothing to a user.
        result.map_err(|error| anyhow!(format!("{error:#}").replace(&scratch.path().display().to_string(), "")))?;
    }
    let mut staged_files = Vec::new();
    for file in &plan.files {
        if plan.tables.contains(&file.path) {
            staged_files.push(built_table(&scratch, &file.path)?);
        }
        staged_files.push(file.clone());
    }
    Ok(staged_files)
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

fn built_table(scratch: &TempDir, source: &Path) -> anyhow::Result<File> {
    let path = source.with_added_extension("lmdb");
    let built = staged(scratch, &path);
    let bytes = fs::read(&built).with_context(|| path.display().to_string())?;
    Ok(File {
        path,
        bytes,
        owner: Owner::ROOT,
        mode: 0o644,
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

/// A checker that says anything on standard error objects, whatever its exit code.
async fn run(processes: &Processes, command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = processes.output(command, LIMIT).await?;
    let said = output.stderr.trim();
    if !output.exit.is_success() || !said.is_empty() {
        bail!("{program} refuses the configuration ({}): {said}", output.exit);
    }
    Ok(())
}
