//! What is declared, as it shall be: with hashes in place of passwords, and with the last good state of what is wrong now.
//!
//! A password in clear is hashed once. Whether all of them are as they were is seen by one hash of them all, the seal, so that a
//! start with a thousand of them takes no longer than with one, and what lies on the disk is no easier to guess than a
//! password's own hash.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::entries::{Declaration, Declared, DeclaredAlias, Entry, Password, Wrong};
use super::password;
use super::records::{Record, Records, Targets};

/// Everything that is declared, hashed. `kept` is what was in force before, if anything was. Of a wrong entry the last good state
/// stays; where it cannot be told whose it is, all stay that have gone: it has no address, or one that was not there before, which
/// may be cut off or misspelt. Who is no longer declared is disabled otherwise.
pub fn settle(declaration: &Declaration, wrong: &[Wrong], kept: Option<&Arc<Records>>) -> Result<Arc<Records>, String> {
    let nothing = Arc::default();
    let kept = kept.unwrap_or(&nothing);
    let (hashes, seal) = hashes(&declaration.accounts, kept)?;
    let mut records = Records {
        seal,
        ..Records::default()
    };
    for (declared, hash) in declaration.accounts.iter().zip(hashes) {
        let record = Record {
            hash,
            role: declared.role,
            quota: declared.quota,
            enabled: true,
            origin: Some(declared.origin.clone()),
        };
        records.accounts.insert(declared.address.text(), record);
    }
    for DeclaredAlias { alias, origin } in &declaration.aliases {
        let targets = Targets {
            targets: alias.targets.clone(),
            origin: Some(origin.clone()),
        };
        records.aliases.insert(alias.address.clone(), targets);
    }
    keep(&mut records, wrong, kept);
    // What is as it was is there once.
    Ok(if records == **kept {
        kept.clone()
    } else {
        Arc::new(records)
    })
}

/// Adds what was there and has no right entry.
fn keep(records: &mut Records, wrong: &[Wrong], kept: &Records) {
    let of = |entry: Entry| wrong.iter().filter(move |wrong| wrong.entry == entry);
    let named = |entry: Entry| -> BTreeSet<&str> { of(entry).filter_map(|wrong| wrong.address.as_deref()).collect() };
    let is_unclear = |entry: Entry, was_there: &dyn Fn(&str) -> bool| {
        of(entry).any(|wrong| wrong.address.as_deref().is_none_or(|address| !was_there(address)))
    };
    let accounts = named(Entry::Account);
    let all_accounts = is_unclear(Entry::Account, &|address| kept.accounts.contains_key(address));
    for (address, record) in &kept.accounts {
        let stays = all_accounts || accounts.contains(address.as_str());
        records.accounts.entry(address.clone()).or_insert_with(|| Record {
            enabled: record.enabled && stays,
            origin: record.origin.clone().filter(|_| stays),
            ..record.clone()
        });
    }
    let aliases = named(Entry::Alias);
    let all_aliases = is_unclear(Entry::Alias, &|address| kept.aliases.contains_key(address));
    for (address, targets) in &kept.aliases {
        if all_aliases || aliases.contains(address.as_str()) {
            records
                .aliases
                .entry(address.clone())
                .or_insert_with(|| targets.clone());
        }
    }
}

/// The hash of each account's password, and the seal of those that are given in clear.
fn hashes(declared: &[Declared], kept: &Records) -> Result<(Vec<String>, Option<String>), String> {
    let clear: Vec<(&Declared, &str)> = declared
        .iter()
        .filter_map(|declared| match &declared.password {
            Password::Clear(clear) => Some((declared, clear.as_str())),
            Password::Hash(_) => None,
        })
        .collect();
    let digest = digest(&clear);
    let of = |declared: &Declared| kept.accounts.get(&declared.address.text()).map(|record| &record.hash);
    let is_sealed = kept.seal.as_ref().is_some_and(|seal| password::verifies(&digest, seal));
    let hash = |declared: &Declared| match &declared.password {
        Password::Hash(hash) => Ok(hash.clone()),
        Password::Clear(clear) => match of(declared) {
            Some(hash) if is_sealed || password::verifies(clear, hash) => Ok(hash.clone()),
            _ => password::hash(clear).map_err(|reason| format!("{}: {reason}", declared.address.text())),
        },
    };
    let hashes = on_all_processors(declared, hash)?;
    let seal = match &kept.seal {
        _ if clear.is_empty() => None,
        Some(seal) if is_sealed => Some(seal.clone()),
        _ => Some(password::hash(&digest)?),
    };
    Ok((hashes, seal))
}

/// Of all passwords in clear, with their addresses.
fn digest(clear: &[(&Declared, &str)]) -> String {
    let mut digest = Sha256::new();
    for (declared, clear) in clear {
        digest.update(format!("{}\n{clear}\n", declared.address.text()));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes of all, in their order: one takes some 50 ms.
pub(super) fn on_all_processors<T: Sync>(
    declared: &[T],
    hash: impl Fn(&T) -> Result<String, String> + Sync,
) -> Result<Vec<String>, String> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = declared.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let hash = &hash;
        let works: Vec<_> = declared
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(hash).collect::<Result<Vec<_>, String>>()))
            .collect();
        let mut hashes = Vec::with_capacity(declared.len());
        for work in works {
            hashes.extend(work.join().map_err(|_| "a password cannot be hashed".to_owned())??);
        }
        Ok(hashes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::entries;
    use crate::provision::read::tests::site_and_values;

    /// What entries of a file come to, with what is told of them.
    fn settled(accounts: &str, aliases: &str, kept: Option<&Arc<Records>>) -> (Arc<Records>, usize) {
        let (site, values) = site_and_values(&[("MAILROOM_ACCOUNTS", accounts), ("MAILROOM_ALIASES", aliases)]);
        let (declaration, wrong) = entries::read(&values, &site, &Records::default());
        (settle(&declaration, &wrong, kept).unwrap(), wrong.len())
    }

    fn enabled(records: &Records) -> Vec<&str> {
        let accounts = records.accounts.iter().filter(|(_, record)| record.enabled);
        accounts
            .map(|(address, _)| address.split('@').next().unwrap())
            .collect()
    }

    #[test]
    fn a_password_is_hashed_once() {
        let (first, _) = settled("a:one b:two", "", None);
        let (same, _) = settled("a:one b:two", "", Some(&first));
        assert_eq!(first, same);
        let (other, _) = settled("a:one b:three", "", Some(&first));
        let of = |records: &Records, name: &str| records.accounts[&format!("{name}@metabuilder.local")].hash.clone();
        assert_eq!(of(&other, "a"), of(&first, "a"), "one that fits stays");
        assert!(password::verifies("three", &of(&other, "b")));
        assert_ne!(other.seal, first.seal);
        let (swapped, _) = settled("a:two b:one", "", Some(&first));
        assert!(
            password::verifies("two", &of(&swapped, "a")),
            "the seal is of addresses, too"
        );
    }

    #[test]
    fn a_wrong_entry_keeps_its_last_good_state() {
        let (first, _) = settled("a:one b:two:admin c:three", "info:a sales:b", None);
        let (later, wrong) = settled("a:one b: d:four", "info:nobody sales:b", Some(&first));
        assert_eq!(wrong, 2);
        assert_eq!(enabled(&later), ["a", "b", "d"], "c is gone, b wrong");
        assert_eq!(
            later.accounts["b@metabuilder.local"],
            first.accounts["b@metabuilder.local"]
        );
        let gone = &later.accounts["c@metabuilder.local"];
        assert!(!gone.enabled && gone.origin.is_none(), "its mail is kept");
        assert_eq!(later.aliases["info@metabuilder.local"].targets, ["a@metabuilder.local"]);
        let (unclear, _) = settled("a:one ../b:two", "", Some(&first));
        assert_eq!(
            enabled(&unclear),
            ["a", "b", "c"],
            "whose the wrong one is cannot be told"
        );
        let (cut_off, _) = settled("a:one b", "", Some(&first));
        assert_eq!(enabled(&cut_off), ["a", "b"], "b was there, and has no password now");
        let (cut_off, _) = settled("a:one\nc", "", Some(&settled("a:one cora:two", "", None).0));
        assert_eq!(enabled(&cut_off), ["a", "cora"], "no account was called c");
        let (back, _) = settled("a:one c:three", "", Some(&later));
        assert_eq!(enabled(&back), ["a", "c"]);
        assert!(back.aliases.is_empty());
    }
}
