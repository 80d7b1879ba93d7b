//! Postfix's own programs as its checker: postmap(1) builds the tables, postconf(1) reads main.cf and master.cf. They warn
//! of what no daemon would say, so one that says anything on standard error objects, whatever its exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, bail};

use super::files::{main_cf_file, master_cf_file};
use super::parameters::Parameters;
use super::user_tables::UserTable;
use super::{META_DIRECTORY, trace};
use crate::daemon::{Built, Checker, Findings, Work};
use crate::layout::POSTFIX_CONFIG_DIRECTORY;
use crate::plan::{File, Plan};
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::staging::{LIMIT, Staging};
use crate::system::files::Owner;
use crate::system::processes::Processes;
use crate::system::programs::Program;

const POSTCONF: Program = program("postconf");
const POSTMAP: Program = program("postmap");

const fn program(name: &'static str) -> Program {
    Program {
        name,
        package: "postfix",
        directories: "/usr/sbin:/usr/bin:/sbin:/bin",
    }
}

/// The parameters of the installed Postfix, and the types of tables that it reads.
pub(super) async fn known_parameters(processes: &Processes) -> anyhow::Result<Parameters> {
    let ask = async |what: &str| -> anyhow::Result<String> {
        let mut command = POSTCONF.command()?;
        command.args(["-c", META_DIRECTORY, what]);
        Ok(processes.output(&mut command, LIMIT).await?.stdout)
    };
    let (defaults, types) = tokio::join!(ask("-d"), ask("-m"));
    Ok(Parameters::parse(&defaults?, &types?))
}

/// Builds the tables and checks the configuration.
#[derive(Debug)]
pub(super) struct PostfixChecker {
    /// Sources of our own tables.
    tables: Vec<File>,
    /// Tables of the user's own, of which a copy is built.
    user_tables: Vec<UserTable>,
}

impl PostfixChecker {
    pub(super) fn new(plan: &Plan, user_tables: &[UserTable]) -> PostfixChecker {
        let is_table = |file: &&File| plan.tables.contains(&file.path);
        PostfixChecker {
            tables: plan.files.iter().filter(is_table).cloned().collect(),
            user_tables: user_tables.to_vec(),
        }
    }
}

impl Checker for PostfixChecker {
    fn check<'a>(&'a self, staging: &'a Staging, processes: &'a Processes) -> Work<'a, Findings> {
        Box::pin(async move {
            let (built, parameters, services) = tokio::join!(
                self.build(staging, processes),
                run(staging, processes, POSTCONF, &["-n"]),
                run(staging, processes, POSTCONF, &["-M"]),
            );
            let objections = [built, parameters, services].into_iter().filter_map(Result::err);
            all_well(objections)?;
            Ok(Findings {
                built: self.built(staging, processes).await?,
                closed_ports: Vec::new(),
            })
        })
    }
}

/// What all programs have against the configuration comes in one report. An error that could not be traced counts where
/// there is nothing else.
fn all_well(errors: impl Iterator<Item = anyhow::Error>) -> anyhow::Result<()> {
    let (mut mistakes, mut untraced) = (Vec::new(), None);
    for error in errors {
        match error.downcast::<Report>() {
            Ok(Report(more)) => mistakes.extend(more),
            Err(error) => untraced = untraced.or(Some(error)),
        }
    }
    match untraced {
        _ if !mistakes.is_empty() => Err(Report::of(mistakes, &Secrets::default()).into()),
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl PostfixChecker {
    async fn build(&self, staging: &Staging, processes: &Processes) -> anyhow::Result<()> {
        let ours = self.tables.iter();
        let mut tables: Vec<String> = ours
            .map(|table| format!("lmdb:{}", staging.at(&table.path).display()))
            .collect();
        for table in &self.user_tables {
            let path = table.source.display().to_string();
            staging.write(&table.source, &table.bytes).context(path)?;
            tables.push(format!("{}:{}", table.kind, staging.at(&table.source).display()));
        }
        let arguments: Vec<&str> = tables.iter().map(String::as_str).collect();
        run(staging, processes, POSTMAP, &arguments).await
    }

    /// The built tables as files. Processes that may read the source may read the table.
    async fn built(&self, staging: &Staging, processes: &Processes) -> anyhow::Result<Vec<Built>> {
        let mut built = Vec::new();
        for table in &self.user_tables {
            if table.differs_at_each_build() && holds_the_same(table, staging, processes).await {
                continue;
            }
            let file = File {
                path: table.built.clone(),
                bytes: read(staging, &table.built)?,
                owner: Owner::ROOT,
                mode: table.mode,
            };
            let source = table.source.clone();
            built.push(Built { file, source });
        }
        for source in &self.tables {
            let path = source.path.with_added_extension("lmdb");
            let file = File {
                bytes: read(staging, &path)?,
                path,
                ..source.clone()
            };
            let source = source.path.clone();
            built.push(Built { file, source });
        }
        Ok(built)
    }
}

fn read(staging: &Staging, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(staging.at(path)).with_context(|| path.display().to_string())
}

/// Whether the table that is in place holds what the new one holds: then it stays, and no process reads it again.
async fn holds_the_same(table: &UserTable, staging: &Staging, processes: &Processes) -> bool {
    let dump = async |source: PathBuf| -> Option<String> {
        let mut command = POSTMAP.command().ok()?;
        command.arg("-s").arg(format!("{}:{}", table.kind, source.display()));
        let output = processes.output(&mut command, LIMIT).await.ok()?;
        output.exit.is_success().then_some(output.stdout)
    };
    let (there, new) = tokio::join!(dump(table.source.clone()), dump(staging.at(&table.source)));
    there.is_some() && there == new
}

/// Runs one of the programs on what is staged.
async fn run(staging: &Staging, processes: &Processes, program: Program, arguments: &[&str]) -> anyhow::Result<()> {
    let config = staging.at(Path::new(POSTFIX_CONFIG_DIRECTORY));
    let mut command: Command = program.command()?;
    command.arg("-c").arg(&config).args(arguments);
    let path = command.get_program().to_string_lossy().into_owned();
    let output = processes.output(&mut command, LIMIT).await?;
    let (main_cf, master_cf) = (staging.read(&main_cf_file()), staging.read(&master_cf_file()));
    let said = output
        .stderr
        .replace(&config.display().to_string(), POSTFIX_CONFIG_DIRECTORY);
    let (mut mistakes, mut untraced): (Vec<Mistake>, Option<&str>) = (Vec::new(), None);
    for said in said.lines() {
        match trace::trace(&main_cf, &master_cf, said) {
            Some(mistake) => mistakes.push(mistake),
            None => untraced = untraced.or(Some(said)),
        }
    }
    if !mistakes.is_empty() {
        return Err(Report::of(mistakes, &Secrets::default()).into());
    }
    if let Some(said) = untraced {
        bail!("{path} refuses the configuration: {said}");
    }
    if !output.exit.is_success() {
        return Err(anyhow!("{path} {}", output.exit));
    }
    Ok(())
}
