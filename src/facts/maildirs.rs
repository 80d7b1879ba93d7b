//! Where Maildirs lie on the mail volume. Other images have other layouts than ours: `example.org/user`,
//! `vhosts/example.org/user`, a Maildir that is the home itself.
//!
//! Only names are read, no more than so many and so deep: the volume may be huge. What lies deeper is not found.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// As `vhosts/example.org/user/Maildir`.
const DEEPEST: usize = 4;
/// Most names that are read.
const MOST: usize = 5_000;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maildirs {
    /// Directories with `cur` and `new` in them, in the order of their names.
    pub paths: Vec<PathBuf>,
    /// There may be more of them.
    pub more: bool,
}

impl Maildirs {
    /// Looks below a directory. Links are not followed, and what may not be read is left out.
    pub fn below(root: &Path) -> Maildirs {
        let (mut found, mut read) = (Maildirs::default(), 0);
        let mut queue = VecDeque::from([(root.to_owned(), 1)]);
        while let Some((directory, depth)) = queue.pop_front() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                read += 1;
                if read > MOST {
                    found.more = true;
                    queue.clear();
                    break;
                }
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if !is_directory || entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let path = entry.path();
                if path.join("cur").is_dir() && path.join("new").is_dir() {
                    found.paths.push(path);
                } else if depth < DEEPEST {
                    queue.push_back((path, depth + 1));
                }
            }
        }
        found.paths.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_other_images() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let maildirs = [
            "a",
            "example.org/b",
            "user/Maildir",
            "vhosts/example.org/c",
            "vhosts/example.org/d/Maildir",
        ];
        for path in maildirs.iter().chain(&["one/two/three/four/deep", "a/.Old", ".hidden"]) {
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(at(path).join(part)).unwrap();
            }
        }
        fs::create_dir_all(at("empty/cur")).unwrap();
        fs::write(at("mbox"), "From x\n").unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let expected = Maildirs {
            paths: maildirs.map(at).into(),
            more: false,
        };
        assert_eq!(Maildirs::below(root.path()), expected);
        assert_eq!(Maildirs::below(&at("nowhere")), Maildirs::default());
    }

    #[test]
    fn a_huge_volume_is_not_walked() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..=MOST {
            fs::create_dir(root.path().join(number.to_string())).unwrap();
        }
        assert!(Maildirs::below(root.path()).more);
    }
}
