//! Files of the user's own that Postfix's settings name, as in `lmdb:/etc/postfix/sasl_passwd`: what postmap(1) has to build
//! is built at every start; what is missing or opens the relay is a mistake. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::caches;
use super::drop_ins;
use super::lookups::{self, Lookup};
use super::open_tables;
use super::parameters::split_words;
use super::paths;
use super::relay_login;
use super::settings::{Setting, Settings};
use crate::layout::{POSTFIX_CONFIG_DIRECTORY, POSTFIX_TABLES};
use crate::report::Mistake;
use crate::site::Site;
use crate::values::network::{self, OwnNetworks};
use crate::values::text;

/// The source of a table of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserTable {
    /// Its type: `lmdb`.
    pub kind: &'static str,
    /// Where the source is.
    pub source: PathBuf,
    /// Where the built table belongs.
    pub built: PathBuf,
    /// What the source holds.
    pub bytes: Vec<u8>,
    /// Its permission bits, which the built table gets, too.
    pub mode: u32,
}

impl UserTable {
    /// Each build of such a table has other bytes, though it holds the same.
    pub fn differs_at_each_build(&self) -> bool {
        ["hash", "btree"].contains(&self.kind)
    }
}

/// Types that postmap(1) builds, and what it adds to the source's name.
const BUILT: [(&str, &str); 4] = [("lmdb", "lmdb"), ("hash", "db"), ("btree", "db"), ("cdb", "cdb")];
/// Types that are read as they are, and those whose settings are in a file (DATABASE_README).
const READ: [&str; 10] = [
    "texthash", "regexp", "pcre", "cidr", "ldap", "memcache", "mongodb", "mysql", "pgsql", "sqlite",
];
/// No list or table that somebody wrote is larger.
const LARGEST: u64 = 4 << 20;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct UserFiles {
    /// Tables to build.
    pub tables: Vec<UserTable>,
    /// All files that are read as they are, and the sources of those that are built, with what they hold.
    pub referenced: Vec<(PathBuf, Vec<u8>)>,
    /// Tables that Postfix is to ask once.
    pub lookups: Vec<Lookup>,
}

/// Looks at all files that the settings name. Returns what is missing or wrong, too: with such a table a daemon that looks
/// something up defers or refuses all mail.
pub fn find(settings: &Settings, site: &Site) -> (UserFiles, Vec<Mistake>) {
    let mut tables: BTreeMap<PathBuf, UserTable> = BTreeMap::new();
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    let (mut mistakes, mut lookups) = (Vec::new(), Vec::new());
    for Named {
        origin,
        name,
        value,
        is_networks,
    } in named(settings, site)
    {
        let mut wrong = |reason: String| {
            let shown = drop_ins::shown(origin, name, value);
            mistakes.push(Mistake::new(origin, shown, reason));
        };
        if caches::is_one(name) {
            caches::wrong(value).into_iter().for_each(wrong);
            continue;
        }
        paths::wrong(name, value).into_iter().for_each(&mut wrong);
        relay_login::wrong_mechanisms(name, value)
            .into_iter()
            .for_each(&mut wrong);
        lookups.extend(lookups::of(origin, name, value));
        for (kind, path) in references(value) {
            paths.insert(path.into());
            match examine(kind, Path::new(path)) {
                Ok(Some(table)) => {
                    tables.insert(table.built.clone(), table);
                }
                Ok(None) => {}
                Err(reason) => wrong(reason),
            }
        }
        paths.extend(plain_files(value).map(PathBuf::from));
        if is_networks {
            networks(value, site).into_iter().for_each(wrong);
        }
    }
    // A path may be that of a socket or a device.
    let is_list = |path: &Path| fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() <= LARGEST);
    paths.retain(|path| is_list(path) && !is_ours(path));
    let read = |path: PathBuf| Some((path.clone(), fs::read(path).ok()?));
    let files = UserFiles {
        tables: tables.into_values().collect(),
        referenced: paths.into_iter().filter_map(read).collect(),
        lookups,
    };
    (files, mistakes)
}

/// A value that may name files.
struct Named<'a> {
    /// Who sets it.
    origin: &'a str,
    /// The parameter.
    name: &'a str,
    value: &'a str,
    /// It is an entry of `mynetworks`.
    is_networks: bool,
}

/// What is set and may name files.
fn named<'a>(settings: &'a Settings, site: &'a Site) -> impl Iterator<Item = Named<'a>> {
    let plain = settings.all_set().map(|Setting { origin, name, value }| Named {
        origin,
        name,
        value,
        is_networks: false,
    });
    let origin = settings.networks_origin.as_deref().unwrap_or_default();
    let networks = site.networks.iter().flat_map(|networks| &networks.tables);
    let networks = networks.map(move |table| Named {
        origin,
        name: "mynetworks",
        value: table.trim_start_matches('!'),
        is_networks: true,
    });
    plain.chain(networks)
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ', '\t', '{', '}'])
}

/// `type:/path` in a list of tables.
pub(super) fn references(value: &str) -> impl Iterator<Item = (&str, &str)> {
    words(value)
        .map(|word| word.strip_prefix("proxy:").unwrap_or(word))
        .filter_map(|word| word.split_once(":/").map(|(kind, _)| (kind, &word[kind.len() + 1..])))
        .filter(|(_, path)| !path.contains('$'))
}

/// `/path` in a list, or alone. What stands in braces is a table's.
pub(super) fn plain_files(value: &str) -> impl Iterator<Item = String> {
    split_words(value)
        .into_iter()
        .map(|word| word.trim_start_matches('!').to_owned())
        .filter(|word| word.starts_with('/') && !word.contains('$'))
}

/// What is wrong with a `/file` or table of networks: there is none, or it holds public addresses.
fn networks(entry: &str, site: &Site) -> Option<String> {
    let (kind, path) = entry
        .split_once(":/")
        .map_or(("", entry), |(kind, _)| (kind, &entry[kind.len() + 1..]));
    if kind.is_empty() && !Path::new(path).is_file() {
        return Some(format!("{path} is not a file"));
    }
    if kind.is_empty()
        && let Some(reason) = no_text(Path::new(path))
    {
        return Some(reason);
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let public = match kind.trim_start_matches("proxy:") {
        _ if site.allow_open_relay => None,
        "" => public_in_list(&text, &site.own_networks),
        "cidr" => public_in_table(&text, &site.own_networks),
        "pcre" | "regexp" => {
            let holds_all = !open_tables::answers(entry, &site.own_networks).is_empty();
            holds_all.then(|| "a pattern that fits all".to_owned())
        }
        _ => None,
    };
    public.map(|public| network::why_public(&format!("{public} in {path}")))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#'))
}

/// A file of networks, separated like those of the parameter.
fn public_in_list(text: &str, own: &OwnNetworks) -> Option<String> {
    let mut nets = lines(text)
        .filter_map(|line| network::parse_list(line).ok())
        .flat_map(|list| list.nets);
    nets.find(|network| !network.excluded && own.leave_public(network.net))
        .map(|network| network.net.to_string())
}

/// `pattern result` lines (cidr_table(5)). Almost everybody is outside the network of a `!pattern`.
fn public_in_table(text: &str, own: &OwnNetworks) -> Option<String> {
    let mut patterns = lines(text).filter_map(|line| line.split_whitespace().next());
    let is_public = |pattern: &&str| {
        let nets = network::parse_list(pattern).map(|list| list.nets).unwrap_or_default();
        nets.iter()
            .any(|network| network.excluded || own.leave_public(network.net))
    };
    patterns.find(is_public).map(str::to_owned)
}

/// What we write ourselves is there in time.
fn is_ours(path: &Path) -> bool {
    path.starts_with(POSTFIX_TABLES)
}

fn examine(kind: &str, path: &Path) -> Result<Option<UserTable>, String> {
    if is_ours(path) {
        return Ok(None);
    }
    let Some((kind, suffix)) = BUILT.iter().find(|(built, _)| *built == kind) else {
        return match READ.contains(&kind) {
            true if !path.exists() => Err(format!("{} does not exist", path.display())),
            true => no_text(path).map_or(Ok(None), Err),
            false => Ok(None),
        };
    };
    let built = path.with_added_extension(suffix);
    let directory = path.parent().unwrap_or(Path::new("/"));
    match (path.exists(), built.exists()) {
        (false, false) => Err(format!("neither {} nor {} exists", path.display(), built.display())),
        (false, true) => Ok(None),
        // Somebody has built it who can write there.
        (true, true) if is_read_only(&built) || is_read_only(directory) => Ok(None),
        (true, false) if is_read_only(directory) => Err(format!(
            "{} cannot be written, for {} is read-only: mount {} where there is room beside it, such as below \
             {POSTFIX_CONFIG_DIRECTORY}, or the built table with it",
            built.display(),
            directory.display(),
            path.display()
        )),
        (true, _) => read(kind, path, built).map(Some),
    }
}

/// What is wrong with the text of a file, with its line. Somebody else's check may not be allowed to read it.
pub(super) fn no_text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    in_text(path, &bytes)
}

fn in_text(path: &Path, bytes: &[u8]) -> Option<String> {
    let (line, reason) = text::wrong(bytes)?;
    Some(format!("{}:{line}: {reason}", path.display()))
}

/// On a read-only file system. That `check` runs as somebody who may not write is another matter.
fn is_read_only(path: &Path) -> bool {
    access(path, AccessFlags::W_OK) == Err(Errno::EROFS)
}

fn read(kind: &'static str, path: &Path, built: PathBuf) -> Result<UserTable, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = fs::read(path).map_err(at)?;
    if let Some(reason) = in_text(path, &bytes) {
        return Err(reason);
    }
    Ok(UserTable {
        kind,
        source: path.to_owned(),
        built,
        bytes,
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
    fn public_networks_in_files() {
        let none = OwnNetworks::default();
        let list = "# ours\n10.0.0.0/8, 192.168.0.0/16\n!8.8.0.0/16 8.8.8.8\n";
        assert_eq!(public_in_list(list, &none), None);
        assert_eq!(
            public_in_list(&format!("{list}8.8.8.0/24"), &none),
            Some("8.8.8.0/24".to_owned())
        );
        let table = "# ours\n10.0.0.0/8 OK\n8.8.8.8 OK\nif 10.0.0.0/8\nendif\n";
        assert_eq!(public_in_table(table, &none), None);
        assert_eq!(
            public_in_table(&format!("{table}0.0.0.0/0 8.8.8.0/24"), &none),
            Some("0.0.0.0/0".to_owned())
        );
        assert_eq!(public_in_table("!10.0.0.0/8 OK", &none), Some("!10.0.0.0/8".to_owned()));
    }

    #[test]
    fn plain_files_in_lists() {
        let found: Vec<_> = plain_files("/a, !/b lmdb:/c $x/d b.test /etc/x$y pcre:{{/./ x}}").collect();
        assert_eq!(found, ["/a", "/b"]);
    }

    #[test]
    fn built_whenever_there_is_a_source() {
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
        assert!(examine("lmdb", &path).unwrap().is_some(), "however old the source is");
        fs::remove_file(&path).unwrap();
        assert_eq!(examine("lmdb", &path), Ok(None));
        fs::write(&path, "a b\n").unwrap();
        assert_eq!(examine("regexp", &path), Ok(None));
        fs::write(&path, "a b\n\u{feff}c d\n").unwrap();
        for kind in ["regexp", "lmdb", "ldap"] {
            let said = examine(kind, &path).unwrap_err();
            assert!(said.contains("passwd:2: begins with a byte-order mark"), "{said}");
        }
    }
}
