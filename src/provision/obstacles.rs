//! What stands where a directory belongs, found before anything is written: a link on a volume, which is not followed, or a
//! file.

use std::io;
use std::path::Path;

use crate::plan::Directory;
use crate::system::beneath::{self, Link, NoDirectory, Place};

/// Fails at the first directory that cannot be had: without it a daemon would fail at each start. A link stays where it leads to
/// a directory, or where the daemons can do without. What this process may not look at is no obstacle.
pub(super) fn look(directories: &[Directory]) -> io::Result<()> {
    directories.iter().try_for_each(|Directory { path, optional, .. }| {
        let Err(error) = Place::directory(path) else {
            return Ok(());
        };
        match (Link::within(&error), NoDirectory::within(&error)) {
            (Some(link), _) if !optional && !link.leads_to_a_directory() => Err(error),
            (_, Some(NoDirectory { path })) => Err(in_words(path)),
            _ => Ok(()),
        }
    })
}

/// A file where a directory belongs may be an mbox, as other images and Debian's own programs make them.
fn in_words(path: &Path) -> io::Error {
    let what = match beneath::read_text(path) {
        Ok(text) if text.starts_with("From ") => "an mbox file",
        Ok(text) if text.is_empty() => "an empty file, perhaps an mbox,",
        _ => "a file",
    };
    let path = path.display();
    io::Error::other(format!(
        "{path} is {what} where a directory belongs: move it to another name and start again; mail in it can be imported \
         then"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::Owner;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn links_and_files_where_directories_belong() {
        let root = tempfile::tempdir().unwrap();
        // As on a volume: others may write there.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let at = |name: &str| root.path().join(name);
        let look = |name: &str, optional: bool| {
            let (path, owner, mode) = (at(name), Owner::ROOT, 0o700);
            let directory = Directory {
                path,
                owner,
                mode,
                optional,
            };
            look(&[directory]).map_err(|error| error.to_string())
        };
        fs::create_dir(at("there")).unwrap();
        fs::write(at("mbox"), "From a\n").unwrap();
        for (link, target) in [("nowhere", "/nonexistent"), ("file", "mbox"), ("directory", "there")] {
            symlink(target, at(link)).unwrap();
        }
        for right in ["there", "missing", "directory"] {
            assert_eq!(look(right, false), Ok(()), "{right}");
        }
        for wrong in ["nowhere", "nowhere/below", "file"] {
            let said = look(wrong, false).unwrap_err();
            assert!(
                said.contains(" is a link to ") && said.contains(", which is no"),
                "{said}"
            );
            assert_eq!(look(wrong, true), Ok(()), "{wrong}");
        }
        for optional in [false, true] {
            let said = look("mbox", optional).unwrap_err();
            assert!(
                said.contains("mbox is an mbox file where a directory belongs"),
                "{said}"
            );
        }
    }
}
