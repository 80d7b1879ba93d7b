//! The third step: the files in a scratch directory, where every daemon's own checker reads them, before anything that runs
//! is touched.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::desired::Desired;
use super::obstacles;
use crate::daemon::{Built, Checker, Findings};
use crate::health;
use crate::plan::File;
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::staging::Staging;
use crate::system::processes::Processes;

/// Files that every checker accepts.
#[derive(Debug)]
pub struct Staged {
    /// In the order in which they are put in place.
    pub files: Vec<File>,
    /// Those of them that were built, each with its source.
    pub built: Vec<(PathBuf, PathBuf)>,
    /// What will not work, as things stand.
    pub warnings: Vec<String>,
}

/// Checks everything, in a scratch directory below `parent`.
pub async fn stage(desired: &Desired, parent: &Path, processes: &Processes) -> anyhow::Result<Staged> {
    obstacles::look(&desired.plan.directories)?;
    let staging = Staging::below(parent)?;
    for file in &desired.plan.files {
        let path = file.path.display().to_string();
        staging.write(&file.path, &file.bytes).context(path)?;
    }
    let results = check(&desired.checkers, &staging, processes).await;
    let findings = all_well(results, &staging, &desired.secrets)?;
    let closed: Vec<u16> = findings.iter().flat_map(|found| &found.closed_ports).copied().collect();
    let is_open = |port: Option<u16>| port.is_none_or(|port| !closed.contains(&port));
    let probes: Vec<health::Named> = desired
        .probes
        .iter()
        .filter(|named| is_open(named.port()))
        .cloned()
        .collect();
    let planned: Vec<File> = desired.plan.files.iter().map(|file| without(file, &findings)).collect();
    let warnings = findings.iter().flat_map(|found| &found.warnings);
    let warnings = warnings.map(|warning| desired.secrets.hide(warning)).collect();
    let built: Vec<Built> = findings.into_iter().flat_map(|found| found.built).collect();
    let pairs = built
        .iter()
        .map(|built| (built.file.path.clone(), built.source.clone()));
    let pairs = pairs.collect();
    let mut files = in_order(&planned, built);
    let troubles: Vec<String> = desired.troubles.iter().map(Mistake::line).collect();
    files.push(health::file(&probes, &troubles)?);
    Ok(Staged {
        files,
        built: pairs,
        warnings,
    })
}

/// Runs all checkers at the same time: each waits for its programs most of the time.
async fn check(
    checkers: &[Box<dyn Checker>],
    staging: &Staging,
    processes: &Processes,
) -> Vec<anyhow::Result<Findings>> {
    let mut works: Vec<_> = checkers
        .iter()
        .map(|checker| (checker.check(staging, processes), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut all_done = true;
        for (work, result) in &mut works {
            if result.is_some() {
                continue;
            }
            match work.as_mut().poll(context) {
                std::task::Poll::Ready(done) => *result = Some(done),
                std::task::Poll::Pending => all_done = false,
            }
        }
        if all_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    works.into_iter().filter_map(|(_, result)| result).collect()
}

/// What all checkers have against the files comes in one report. What could not be traced counts where there is nothing
/// else.
fn all_well(
    results: Vec<anyhow::Result<Findings>>,
    staging: &Staging,
    secrets: &Secrets,
) -> anyhow::Result<Vec<Findings>> {
    let (mut findings, mut mistakes, mut untraced) = (Vec::new(), Vec::<Mistake>::new(), None);
    for result in results {
        match result.map_err(anyhow::Error::downcast::<Report>) {
            Ok(found) => findings.push(found),
            Err(Ok(Report(more))) => mistakes.extend(more),
            Err(Err(error)) => untraced = untraced.or(Some(error)),
        }
    }
    match untraced {
        _ if !mistakes.is_empty() => Err(Report::of(mistakes, secrets).into()),
        Some(error) => {
            let said = staging.without_root(&format!("{error:#}"));
            Err(anyhow!(secrets.hide(&said)))
        }
        None => Ok(findings),
    }
}

/// A file without the lines that are not written.
fn without(file: &File, findings: &[Findings]) -> File {
    let left_out = findings.iter().flat_map(|found| &found.left_out);
    let lines: Vec<usize> = left_out
        .filter(|(path, _)| *path == file.path)
        .map(|(_, line)| *line)
        .collect();
    if lines.is_empty() {
        return file.clone();
    }
    let mut bytes = Vec::new();
    for (number, line) in (1..).zip(file.bytes.split_inclusive(|byte| *byte == b'\n')) {
        bytes.extend_from_slice(if lines.contains(&number) { b"" } else { line });
    }
    File { bytes, ..file.clone() }
}

/// A built file comes right behind its source, so that it is the younger one, and has the source's owner and mode: it holds
/// the same secrets. Those whose sources are the user's own come first.
fn in_order(files: &[File], built: Vec<Built>) -> Vec<File> {
    let is_planned = |built: &Built| files.iter().any(|file| file.path == built.source);
    let (of_ours, of_the_users): (Vec<Built>, Vec<Built>) = built.into_iter().partition(is_planned);
    let mut ordered: Vec<File> = of_the_users.into_iter().map(|built| built.file).collect();
    for file in files {
        ordered.push(file.clone());
        let built_of_it = of_ours.iter().filter(|built| built.source == file.path);
        ordered.extend(built_of_it.map(|built| File {
            owner: file.owner,
            mode: file.mode,
            ..built.file.clone()
        }));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::Owner;

    #[test]
    fn a_built_table_is_as_secret_as_its_source() {
        let file = |path: &str, mode: u32| File {
            mode,
            ..File::public(path, String::new())
        };
        let built = |path: &str, source: &str| Built {
            file: file(path, 0o644),
            source: source.into(),
        };
        let planned = [file("/a", 0o644), file("/login", 0o600), file("/z", 0o644)];
        let ordered = in_order(&planned, vec![built("/login.lmdb", "/login"), built("/own.db", "/own")]);
        let shown: Vec<(String, u32)> = ordered
            .iter()
            .map(|file| (file.path.display().to_string(), file.mode))
            .collect();
        let expected = [
            ("/own.db", 0o644),
            ("/a", 0o644),
            ("/login", 0o600),
            ("/login.lmdb", 0o600),
            ("/z", 0o644),
        ];
        assert_eq!(shown, expected.map(|(path, mode)| (path.to_owned(), mode)));
        assert!(ordered.iter().all(|file| file.owner == Owner::ROOT));
    }
}
