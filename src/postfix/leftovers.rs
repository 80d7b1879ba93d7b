//! What a crash leaves in the queue: files that cleanup(8) or postdrop(1) had begun, and not yet given their queue id.
//! postsuper(1) warns of their "bogus file names" at every start and leaves them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::layout::QUEUE_DIRECTORY;
use crate::system::beneath::Place;
use crate::system::files;
use crate::values::counted;

/// A younger file may be one that a process is still writing.
const OLD: Duration = Duration::from_secs(60);

/// Removes them; returns a line for each directory that held some.
pub(super) fn remove() -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for name in ["incoming", "maildrop"] {
        let directory = Path::new(QUEUE_DIRECTORY).join(name);
        let count = remove_from(&directory)?;
        if count > 0 {
            lines.push(format!(
                "Removed: {} in {} that a crash had left unfinished",
                counted(count, "file", "files"),
                directory.display()
            ));
        }
    }
    Ok(lines)
}

fn remove_from(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    // Postfix's own account could put a link there.
    let Ok(place) = Place::directory(directory) else {
        return Ok(0);
    };
    for entry in fs::read_dir(place.path()).into_iter().flatten().flatten() {
        let is_bogus = !is_queue_id(&entry.file_name().to_string_lossy());
        if is_bogus && entry.metadata().is_ok_and(|there| is_old(&there)) {
            files::at(&directory.join(entry.file_name()), place.remove(&entry.file_name()))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Queue ids, short and long ones, are letters and digits (mail_queue_id_ok in Postfix's sources).
fn is_queue_id(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_old(there: &fs::Metadata) -> bool {
    let age = there.modified().ok().and_then(|modified| modified.elapsed().ok());
    there.is_file() && age.is_some_and(|age| age > OLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::SystemTime;

    #[test]
    fn old_files_without_a_queue_id_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - OLD * 2;
        for (name, modified) in [
            ("543218.1234", old),
            ("4bXyZ12abcz1", old),
            ("A1B2C3", old),
            ("99.7", SystemTime::now()),
        ] {
            File::create(directory.path().join(name))
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        fs::create_dir(directory.path().join("x.y")).unwrap();
        assert_eq!(remove_from(directory.path()).unwrap(), 1);
        assert!(!directory.path().join("543218.1234").exists());
        assert_eq!(remove_from(directory.path()).unwrap(), 0);
        assert_eq!(remove_from(Path::new("/nonexistent")).unwrap(), 0);
    }
}
