//! What shall be on disk: every directory, file and table, as values.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::secrets::Secrets;
use crate::system::files::Owner;
use crate::system::owners::Without;

/// A directory with its owner and mode; its contents are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: u32,
    /// A link may stay in its place, wherever that leads: the daemons run all the same.
    pub optional: bool,
}

/// A directory in which everything has one owner, whatever an older image, a backup or `cp -r` made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its root, which has this owner itself.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// Permission bits that nothing in it has.
    pub without: Without,
    /// It may be large: it is gone through while the services run already.
    pub beside: bool,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// All that it holds.
    pub bytes: Vec<u8>,
    /// Whose it is.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: u32,
}

impl File {
    /// Makes it one that root alone may read.
    fn protect(&mut self) {
        self.owner = Owner::ROOT;
        self.mode = 0o600;
    }

    /// A file of root's that everybody may read.
    pub fn public(path: impl Into<PathBuf>, text: String) -> File {
        File {
            path: path.into(),
            bytes: text.into_bytes(),
            owner: Owner::ROOT,
            mode: 0o644,
        }
    }
}

/// Everything that is written at a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Directories, those above before those below.
    pub directories: Vec<Directory>,
    /// Directories that are looked through.
    pub trees: Vec<Tree>,
    /// Files, in the order in which they are put in place.
    pub files: Vec<File>,
    /// Those of the files that are sources of lmdb tables: `postmap` makes `<path>.lmdb` of each.
    pub tables: Vec<PathBuf>,
    /// Files that are written at every start, with the directory for drop-in files that takes the user's own.
    pub drop_ins: Vec<(PathBuf, PathBuf)>,
    /// Files of the user's own that a daemon reads, with what they hold: when one changes the daemon is reloaded.
    pub referenced: Vec<(PathBuf, Vec<u8>)>,
}

impl Plan {
    /// The file that is written there.
    pub fn file(&self, path: &Path) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Adds a directory without which a daemon does not run.
    pub fn directory(&mut self, path: impl Into<PathBuf>, owner: Owner, mode: u32) {
        self.directories.push(Directory {
            path: path.into(),
            owner,
            mode,
            optional: false,
        });
    }

    /// Adds a directory that the daemons can do without.
    pub fn optional_directory(&mut self, path: impl Into<PathBuf>, owner: Owner, mode: u32) {
        self.directories.push(Directory {
            path: path.into(),
            owner,
            mode,
            optional: true,
        });
    }

    /// Adds a directory in which everything has one owner.
    pub fn tree(&mut self, path: impl Into<PathBuf>, owner: Owner, without: Without, beside: bool) {
        self.trees.push(Tree {
            path: path.into(),
            owner,
            without,
            beside,
        });
    }

    /// A number that changes with any of the files, and with what is made of them; directories follow the accounts.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.files, &self.tables, &self.drop_ins, &self.referenced).hash(&mut hasher);
        hasher.finish()
    }

    /// Adds all of another plan.
    pub fn extend(&mut self, other: Plan) {
        self.directories.extend(other.directories);
        self.trees.extend(other.trees);
        self.files.extend(other.files);
        self.tables.extend(other.tables);
        self.drop_ins.extend(other.drop_ins);
        self.referenced.extend(other.referenced);
    }

    /// Adds the source of a table for root alone.
    pub fn secret_table(&mut self, path: PathBuf, entries: &[(String, String)]) {
        let entries = entries.iter().map(|(key, value)| (key.as_str(), value.into()));
        let mut file = File::public(path.clone(), source(entries));
        file.protect();
        self.files.push(file);
        self.tables.push(path);
    }

    /// Files that everybody may read and into which a secret was put are for root alone.
    pub fn protect(&mut self, secrets: &Secrets) {
        let is_public = |file: &&mut File| file.mode & 0o004 != 0;
        let holds_secret = |file: &&mut File| secrets.stand_in(&String::from_utf8_lossy(&file.bytes));
        let files = self.files.iter_mut().filter(is_public).filter(holds_secret);
        files.for_each(File::protect);
    }
}

/// A key of a table and its value.
pub type Entry<'a> = (&'a str, Cow<'a, str>);

/// The source of a table: one `key value` line for each entry.
pub fn source<'a>(entries: impl Iterator<Item = Entry<'a>>) -> String {
    let mut text = table_of(entries.size_hint().1.unwrap_or_default());
    for (key, value) in entries {
        text.extend([key, " ", &value, "\n"]);
    }
    text
}

/// The beginning of a table's source, with room for so many lines: most are no longer, so that it is filled without being moved.
pub fn table_of(lines: usize) -> String {
    const LINE: usize = 256;
    let mut text = String::with_capacity(TABLE_HEADER.len() + lines * LINE);
    text.push_str(TABLE_HEADER);
    text
}

/// The first line of every table's source.
pub const TABLE_HEADER: &str = "# Written by Mailroom at every start; edits are lost.\n";
