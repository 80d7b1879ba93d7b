//! Postfix's own programs as its checker: postmap(1) builds the tables and asks each once, postconf(1) reads main.cf and
//! master.cf. They warn
//! of what no daemon would say, so one that says anything on standard error objects, whatever its exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, bail};

use super::destinations::Unresolved;
use super::drop_ins;
use super::external;
use super::files::{main_cf_file, master_cf_file};
use super::lookups::{self, Lookup};
use super::master_cf::Service;
use super::own_services;
use super::parameters::Parameters;
use super::relay_login::Logins;
use super::user_tables::{UserFiles, UserTable};
use super::{META_DIRECTORY, trace};
use crate::daemon::{Built, Checker, Findings, Work};
use crate::layout::POSTFIX_CONFIG_DIRECTORY;
use crate::plan::{File, Plan};
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::staging::{LIMIT, Staging};
use crate::system::files::Owner;
use crate::system::processes::{Output, Processes};
use crate::system::programs::{PATH, Program};

/// A key that no table should hold, and that every type of table takes.
const HARMLESS: &str = "mailroom.invalid";

const POSTCONF: Program = program("postconf");
pub(super) const POSTMAP: Program = program("postmap");

pub(super) const fn program(name: &'static str) -> Program {
    Program {
        name,
        package: "postfix",
        directories: PATH,
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

/// The values that parameters have in the running configuration, in their order, `$names` expanded.
pub(super) async fn in_force(names: &[&str], processes: &Processes) -> anyhow::Result<Vec<String>> {
    let mut command = POSTCONF.command()?;
    command.arg("-xh").args(names);
    let said = processes.output(&mut command, LIMIT).await?.stdout;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Builds the tables and checks the configuration.
#[derive(Debug)]
pub(super) struct PostfixChecker {
    /// Services of the user's own.
    services: Vec<Service>,
    /// Sources of our own tables.
    tables: Vec<File>,
    /// Tables of the user's own, of which a copy is built.
    user_tables: Vec<UserTable>,
    /// Tables that are asked once.
    lookups: Vec<Lookup>,
    /// Logins that should be in them.
    logins: Option<Logins>,
    /// Hosts that may be this server itself.
    destinations: Unresolved,
}

impl PostfixChecker {
    pub(super) fn new(
        plan: &Plan,
        services: &[Service],
        files: &UserFiles,
        logins: Option<Logins>,
        destinations: Unresolved,
    ) -> PostfixChecker {
        let is_table = |file: &&File| plan.tables.contains(&file.path);
        PostfixChecker {
            services: services.to_vec(),
            tables: plan.files.iter().filter(is_table).cloned().collect(),
            user_tables: files.tables.clone(),
            lookups: files.lookups.clone(),
            logins,
            destinations,
        }
    }
}

impl Checker for PostfixChecker {
    fn check<'a>(&'a self, staging: &'a Staging, processes: &'a Processes) -> Work<'a, Findings> {
        Box::pin(async move {
            external::use_staged(staging)?;
            let tables = async {
                self.build(staging, processes).await?;
                self.ask(staging, processes).await
            };
            let destinations = async {
                let mistakes = self.destinations.wrong(processes).await;
                refuse(mistakes)
            };
            let (tables, destinations, parameters, services) = tokio::join!(
                tables,
                destinations,
                run(staging, processes, POSTCONF, &["-n"]),
                run(staging, processes, POSTCONF, &["-M"]),
            );
            let own_services = refuse(own_services::wrong(&self.services));
            let results = [tables, destinations, own_services, parameters, services];
            all_well(results.into_iter().filter_map(Result::err))?;
            Ok(Findings {
                built: self.built(staging, processes).await?,
                left_out: Vec::new(),
                closed_ports: Vec::new(),
                warnings: self.missing_logins(staging, processes).await?,
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

/// All is well where there are none.
fn refuse(mistakes: Vec<Mistake>) -> anyhow::Result<()> {
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(Report::of(mistakes, &Secrets::default()).into())
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
        if tables.is_empty() {
            return Ok(());
        }
        let arguments: Vec<&str> = tables.iter().map(String::as_str).collect();
        run(staging, processes, POSTMAP, &arguments).await
    }

    /// Has Postfix open each table of the user's own, compile its rules and look something up.
    async fn ask(&self, staging: &Staging, processes: &Processes) -> anyhow::Result<()> {
        let mut mistakes = Vec::new();
        for lookup in self.lookups.iter().filter(|lookup| lookup.is_readable()) {
            let shown = drop_ins::shown(&lookup.origin, &lookup.parameter, &lookup.value);
            let wrong = |reason| Mistake::new(&lookup.origin, &shown, reason);
            let said = self.said_of(lookup, staging, processes).await?;
            mistakes.extend(said.into_iter().chain(lookup.wrong_rules()).map(wrong));
        }
        refuse(mistakes)
    }

    /// What postmap(1) has against a table.
    async fn said_of(
        &self,
        lookup: &Lookup,
        staging: &Staging,
        processes: &Processes,
    ) -> anyhow::Result<Option<String>> {
        let output = self.look_up(lookup, HARMLESS, staging, processes).await?;
        let said = staging.without_root(&output.stderr);
        Ok(said.lines().next().map(lookups::reason))
    }

    /// Asks a table; a built one where it is staged.
    async fn look_up(
        &self,
        lookup: &Lookup,
        key: &str,
        staging: &Staging,
        processes: &Processes,
    ) -> anyhow::Result<Output> {
        let staged = self.user_tables.iter().find_map(|table| {
            let is_it = lookup.table == format!("{}:{}", table.kind, table.source.display());
            is_it.then(|| format!("{}:{}", table.kind, staging.at(&table.source).display()))
        });
        let mut command: Command = POSTMAP.command()?;
        let config = staging.at(Path::new(POSTFIX_CONFIG_DIRECTORY));
        command.arg("-c").arg(&config).args(["-q", key]);
        command.arg(staged.as_ref().unwrap_or(&lookup.table));
        Ok(processes.output(&mut command, LIMIT).await?)
    }

    /// Relay hosts for which the user's tables hold no login: one that wants it refuses all mail.
    async fn missing_logins(&self, staging: &Staging, processes: &Processes) -> anyhow::Result<Vec<String>> {
        let mut warnings = Vec::new();
        let Some(Logins { origin, tables, keys }) = &self.logins else {
            return Ok(warnings);
        };
        if !tables.iter().all(Lookup::is_readable) {
            return Ok(warnings);
        }
        for [name, host] in keys {
            let mut is_there = false;
            for (table, key) in tables.iter().flat_map(|table| [(table, name), (table, host)]) {
                is_there = is_there || !self.look_up(table, key, staging, processes).await?.stdout.is_empty();
            }
            if !is_there {
                warnings.push(format!(
                    "Warning: {origin} holds no login for the relay host, neither as {name} nor as {host}: where the host wants \
                     one it refuses all mail"
                ));
            }
        }
        Ok(warnings)
    }

    /// The built tables as files. Processes that may read the source may read the table.
    async fn built(&self, staging: &Staging, processes: &Processes) -> anyhow::Result<Vec<Built>> {
        let mut built = Vec::new();
        for table in &self.user_tables {
            let stays = table.differs_at_each_build() && holds_the_same(table, staging, processes).await;
            let there = stays.then(|| std::fs::read(&table.built).ok()).flatten();
            let file = File {
                path: table.built.clone(),
                bytes: there.map_or_else(|| read(staging, &table.built), Ok)?,
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
