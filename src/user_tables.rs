//! Tables that a user keeps in files and names in a parameter, as in `lmdb:/etc/postfix/sasl_passwd`: those that postmap(1)
//! has to build are built when there is none, or an older one. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::layout::POSTFIX_CONFIG_DIRECTORY;
use crate::plan::UserTable;
use crate::settings::{Mistake, Settings};

/// Types that postmap(1) builds, and what it adds to the source's name.
const BUILT: [(&str, &str); 4] = [("lmdb", "lmdb"), ("hash", "db"), ("btree", "db"), ("cdb", "cdb")];
/// Types that are read as they are.
const READ: [&str; 4] = ["texthash", "regexp", "pcre", "cidr"];

/// The tables to build, and those that are missing altogether: with one of these a daemon that looks something up defers
/// or refuses all mail.
pub fn find(settings: &Settings) -> (Vec<UserTable>, Vec<Mistake>) {
    let mut tables: BTreeMap<PathBuf, UserTable> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (variable, value) in values(settings) {
        let mut wrong = |reason: String| {
            mistakes.push(Mistake {
                variable: variable.to_owned(),
                value: value.to_owned(),
                reason,
            });
        };
        for (kind, path) in references(value) {
            match examine(kind, Path::new(path)) {
                Ok(Some(table)) => {
                    tables.insert(table.built.clone(), table);
                }
                Ok(None) => {}
                Err(reason) => wrong(reason),
            }
        }
        // mynetworks may name plain files, too.
        if variable == NETWORKS && value.starts_with('/') && !Path::new(value).is_file() {
            wrong(format!("{value} is not a file"));
        }
    }
    (tables.into_values().collect(), mistakes)
}

const NETWORKS: &str = "POSTFIX_MYNETWORKS";

/// What is set and may name tables, with the variable that sets it.
fn values(settings: &Settings) -> impl Iterator<Item = (&str, &str)> {
    let parameters = settings.parameters.values().filter(|given| given.explicit);
    let networks = settings.networks.iter().flat_map(|networks| &networks.tables);
    parameters
        .map(|given| (given.variable.as_str(), given.value.as_str()))
        .chain(networks.map(|table| (NETWORKS, table.trim_start_matches('!'))))
}

/// `type:/path` in a list of tables.
fn references(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value
        .split([',', ' ', '\t', '{', '}'])
        .map(|word| word.strip_prefix("proxy:").unwrap_or(word))
        .filter_map(|word| word.split_once(":/").map(|(kind, _)| (kind, &word[kind.len() + 1..])))
        .filter(|(_, path)| !path.contains('$'))
}

fn examine(kind: &str, path: &Path) -> Result<Option<UserTable>, String> {
    // What we write ourselves is there in time.
    let ours = ["vmailbox", "virtual", "sender_login", "relay_login"]
        .map(|name| Path::new(POSTFIX_CONFIG_DIRECTORY).join(name));
    if ours.iter().any(|ours| ours == path) {
        return Ok(None);
    }
    let Some((kind, suffix)) = BUILT.iter().find(|(built, _)| *built == kind) else {
        let missing = READ.contains(&kind) && !path.exists();
        return if missing {
            Err(format!("{} does not exist", path.display()))
        } else {
            Ok(None)
        };
    };
    let built = path.with_added_extension(suffix);
    let modified = |path: &Path| fs::metadata(path).and_then(|there| there.modified()).ok();
    match (modified(path), modified(&built)) {
        (None, None) => Err(format!("neither {} nor {} exists", path.display(), built.display())),
        (None, Some(_)) => Ok(None),
        (Some(source), Some(built)) if source <= built => Ok(None),
        (Some(_), _) => read(kind, path, built).map(Some),
    }
}

fn read(kind: &'static str, path: &Path, built: PathBuf) -> Result<UserTable, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    Ok(UserTable {
        kind,
        source: path.to_owned(),
        built,
        bytes: fs::read(path).map_err(at)?,
        mode: fs::metadata(path).map_err(at)?.permissions().mode() & 0o777,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_lists() {
        let found: Vec<_> =
            references("lmdb:/a, proxy:lmdb:/b inline:{x=y} unionmap:{hash:/c,static:d} lmdb:$x/e").collect();
        assert_eq!(found, [("lmdb", "/a"), ("lmdb", "/b"), ("hash", "/c")]);
    }

    #[test]
    fn built_when_there_is_none_or_an_older_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        assert!(examine("lmdb", &path).unwrap_err().contains("nor"));
        assert!(examine("regexp", &path).unwrap_err().contains("does not exist"));
        fs::write(&path, "a b\n").unwrap();
        let table = examine("lmdb", &path).unwrap().unwrap();
        assert_eq!(
            (table.kind, table.built.clone()),
            ("lmdb", directory.path().join("passwd.lmdb"))
        );
        fs::write(&table.built, "").unwrap();
        assert_eq!(examine("lmdb", &path), Ok(None));
        assert_eq!(examine("regexp", &path), Ok(None));
    }
}
