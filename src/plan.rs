//! What shall be on disk: every directory, file and table, as values.

use std::path::PathBuf;

use crate::system::files::Owner;

/// A directory with its owner and mode; its contents are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: u32,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Files, in the order in which they are put in place.
    pub files: Vec<File>,
    /// Those of the files that are sources of lmdb tables: `postmap` makes `<path>.lmdb` of each.
    pub tables: Vec<PathBuf>,
}

impl Plan {
    /// Adds a directory.
    pub fn directory(&mut self, path: impl Into<PathBuf>, owner: Owner, mode: u32) {
        self.directories.push(Directory {
            path: path.into(),
            owner,
            mode,
        });
    }

    /// Adds the source of a table, one `key value` line for each entry.
    pub fn table(&mut self, path: PathBuf, entries: &[(String, String)]) {
        let lines = entries.iter().map(|(key, value)| format!("{key} {value}\n"));
        let text = std::iter::once(TABLE_HEADER.to_owned()).chain(lines).collect();
        self.files.push(File::public(path.clone(), text));
        self.tables.push(path);
    }

    /// Adds all of another plan.
    pub fn extend(&mut self, other: Plan) {
        self.directories.extend(other.directories);
        self.files.extend(other.files);
        self.tables.extend(other.tables);
    }
}

/// The first line of every table's source.
pub const TABLE_HEADER: &str = "# Written by Mailroom at every start; edits are lost.\n";
