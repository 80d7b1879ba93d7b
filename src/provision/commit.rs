//! The last step: puts what was staged in place. What differs is swapped in whole, what is the same is not touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::desired::Desired;
use super::stage::Staged;
use crate::certificates::Kept;
use crate::daemon::AccountFiles;
use crate::layout::{CERTIFICATE, HOSTS_FILE, RUN_DIRECTORY, STATE_DIRECTORY};
use crate::plan::{Directory, File, Plan, Tree};
use crate::staging;
use crate::supervise::service::Service;
use crate::system::beneath::Link;
use crate::system::files::{self, Prepared};
use crate::system::owners::{self, Repaired};
use crate::system::processes::Processes;
use crate::values::counted;

/// What is in place.
#[derive(Debug)]
pub struct Provisioned {
    /// To be kept running.
    pub services: Vec<Service>,
    /// What each of them reads.
    pub fingerprints: Fingerprints,
    /// The files that were not as they should be, of those that are no tables: some types have other bytes after each build.
    pub written: Vec<PathBuf>,
    /// Directories whose owners are to be looked through before the services start.
    pub trees: Vec<Tree>,
}

/// A number for all that a service reads, by the service's name: it changes with what is read.
pub type Fingerprints = BTreeMap<&'static str, u64>;

/// Puts everything in place. On an error no file was changed, or what is kept of accounts is as it was: the next start or reload
/// makes all else anew from that.
pub async fn commit(
    desired: Desired,
    staged: Staged,
    kept: Kept,
    processes: &Processes,
) -> anyhow::Result<Provisioned> {
    let Desired {
        plan,
        records,
        account_files,
        services,
        host_name,
        ..
    } = desired;
    let left_alone = make_directories(&plan.directories)?;
    let files: Vec<File> = staged.files.into_iter().chain(kept.files).collect();
    let prepared = spawn_blocking(move || prepare(&files)).await??;
    let records = spawn_blocking(move || prepare(&records)).await??;
    let is_built = |path: &Path| staged.built.iter().any(|(table, _)| table == path);
    let written = prepared.iter().map(|file| file.path().to_owned());
    let written = written.filter(|path| !is_built(path)).collect();
    put(prepared)?;
    age_tables(&staged.built);
    follow_accounts(&account_files, processes).await?;
    put(records)?;
    if let Some(news) = kept.news {
        tracing::info!(path = CERTIFICATE, "{news}");
    }
    if let Some((address, name)) = host_name
        && let Err(error) = name_host(address, name)
    {
        tracing::warn!(
            path = HOSTS_FILE,
            "{HOSTS_FILE}: {error}; health probes will show in the log"
        );
    }
    let of_accounts = account_files.iter().flat_map(|files| files.trees());
    let trees = plan.trees.iter().cloned().chain(of_accounts).collect();
    Ok(Provisioned {
        fingerprints: services
            .iter()
            .map(|service| (service.name, fingerprint(service, &plan, &kept.served)))
            .collect(),
        written,
        trees: without(trees, &left_alone),
        services,
    })
}

/// Puts in place what follows from other accounts, where all else is as it is; last the records, so that a change that has failed
/// is not there after a restart.
pub async fn commit_accounts(desired: Desired, processes: &Processes) -> anyhow::Result<()> {
    let Desired {
        plan,
        records,
        account_files,
        ..
    } = desired;
    make_directories(&plan.directories)?;
    let records = spawn_blocking(move || prepare(&records)).await??;
    follow_accounts(&account_files, processes).await?;
    Ok(put(records)?)
}

async fn follow_accounts(account_files: &[Box<dyn AccountFiles>], processes: &Processes) -> anyhow::Result<()> {
    for files in account_files {
        files.put(processes).await?;
    }
    Ok(())
}

/// Returns the places that are left alone, and all below them, because a link is there: an account that owns the directory
/// may have made it.
fn make_directories(directories: &[Directory]) -> io::Result<Vec<PathBuf>> {
    let mut left_alone: Vec<PathBuf> = Vec::new();
    for Directory { path, owner, mode, .. } in directories {
        if left_alone.iter().any(|link| path.starts_with(link)) {
            continue;
        }
        let Err(error) = files::directory(path, *owner, *mode) else {
            continue;
        };
        match Link::within(&error) {
            Some(link) => tracing::warn!(path = %path.display(), "Left alone: {link}"),
            None => return Err(error),
        }
        left_alone.push(path.clone());
    }
    Ok(left_alone)
}

fn without(trees: Vec<Tree>, left_alone: &[PathBuf]) -> Vec<Tree> {
    let is_left_alone = |tree: &Tree| left_alone.iter().any(|link| tree.path.starts_with(link));
    trees.into_iter().filter(|tree| !is_left_alone(tree)).collect()
}

/// Writes all files that differ, each beside its place: what takes time, and what can fail for want of space.
fn prepare(files: &[File]) -> io::Result<Vec<Prepared>> {
    let prepared = files
        .iter()
        .map(|file| files::prepare(&file.path, &file.bytes, file.owner, file.mode));
    prepared.filter_map(Result::transpose).collect()
}

/// Puts them in place, in order.
fn put(prepared: Vec<Prepared>) -> io::Result<()> {
    let directories: BTreeSet<PathBuf> = prepared.into_iter().map(Prepared::put).collect::<io::Result<_>>()?;
    directories
        .iter()
        .try_for_each(|directory| files::sync_directory(directory))
}

/// A table that is older than its source is taken for stale: each process that opens it warns (dict_lmdb_open in Postfix's
/// sources). A source of the user's own may be younger than what we write, which is dated back, and one of which only a comment
/// has changed leaves the table as it was. A date that cannot be set is no reason not to start.
fn age_tables(built: &[(PathBuf, PathBuf)]) {
    for (table, source) in built {
        if let Err(error) = files::not_older(table, source) {
            tracing::debug!(path = %table.display(), "older than its source: {error}");
        }
    }
}

/// Gives an address a name. Without one for the health probe's, Postfix asks DNS at each greeting, which takes 10 s when DNS
/// is dead.
fn name_host(address: &str, name: &str) -> io::Result<()> {
    let mut hosts = fs::OpenOptions::new().append(true).open(HOSTS_FILE)?;
    writeln!(hosts, "{address}\t{name}")
}

/// Repairs owners, after another image, a backup or `cp -r`. Mailboxes may be large: they are gone through while mail flows
/// already.
pub async fn repair(trees: Vec<Tree>) {
    let (beside, first): (Vec<Tree>, Vec<Tree>) = trees.into_iter().partition(|tree| tree.beside);
    let repair = |trees: Vec<Tree>| spawn_blocking(move || there(trees).iter().for_each(repair_tree));
    // A panic in there is logged; the services start all the same.
    let _ = repair(first).await;
    repair(beside);
}

/// Those that there are. Each directory is listed once: of many accounts most may have no mailbox yet.
fn there(trees: Vec<Tree>) -> Vec<Tree> {
    let parents: BTreeSet<&Path> = trees.iter().filter_map(|tree| tree.path.parent()).collect();
    let entries = |parent: &Path| fs::read_dir(parent).into_iter().flatten().flatten();
    let there: HashSet<PathBuf> = parents
        .into_iter()
        .flat_map(|parent| entries(parent).map(|entry| entry.path()))
        .collect();
    trees.into_iter().filter(|tree| there.contains(&tree.path)).collect()
}

fn repair_tree(tree: &Tree) {
    let Tree {
        path, owner, without, ..
    } = tree;
    let Repaired { owners, modes } = match owners::repair(path, *owner, *without) {
        Ok(repaired) => repaired,
        Err(error) => return tracing::warn!("Not repaired: {error}"),
    };
    let (path, user) = (path.display(), owner.user);
    if owners > 0 {
        tracing::info!(%path, "Repaired: {user} owns {} below {path} again", counted(owners, "file", "files"));
    }
    if modes > 0 {
        tracing::info!(%path, "Repaired: {} below {path} closed to other accounts again", counted(modes, "file", "files"));
    }
}

/// Removes what an earlier PID 1 that was killed left unfinished: it may hold secrets. Files that follow the accounts are made
/// anew.
pub fn remove_leftovers(desired: &Desired) {
    let plan = &desired.plan;
    let of_accounts = desired.account_files.iter().flat_map(|files| files.files());
    for file in of_accounts {
        let _ = files::remove(&file.path);
    }
    let stages = fs::read_dir(RUN_DIRECTORY).into_iter().flatten().flatten();
    for entry in stages.filter(|entry| staging::is_staging(&entry.path())) {
        let _ = fs::remove_dir_all(entry.path());
    }
    let of_certificates = Path::new(CERTIFICATE).parent();
    let directories = plan.files.iter().map(|file| file.path.parent());
    let more = [RUN_DIRECTORY, STATE_DIRECTORY].map(|path| Some(Path::new(path)));
    let directories = directories.chain([of_certificates]).chain(more);
    let directories: BTreeSet<&Path> = directories.flatten().collect();
    directories.into_iter().for_each(files::remove_temporary);
}

/// Of the files that a service reads, the user's own among them, and of the certificate. Tables that were built count by
/// their sources: some types have other bytes after each build.
fn fingerprint(service: &Service, plan: &Plan, served: &str) -> u64 {
    let files = plan.files.iter().map(|file| (&file.path, &file.bytes));
    let referenced = plan.referenced.iter().map(|(path, bytes)| (path, bytes));
    let is_read = |path: &Path| service.reads.iter().any(|read| path.starts_with(read));
    let mut hasher = DefaultHasher::new();
    for file in files.chain(referenced).filter(|(path, _)| is_read(path)) {
        file.hash(&mut hasher);
    }
    if is_read(Path::new(CERTIFICATE)) {
        served.hash(&mut hasher);
    }
    hasher.finish()
}
