//! The files in /var/log. Each has a limit, so that logs never fill the disk; one full file is kept beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log file that never grows beyond a limit. When it is full its content is copied to `<path>.1` and the file is
/// emptied in place, so that a `tail -f` still shows new lines.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl LogFile {
    /// Opens it for appending.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_owned(),
            file,
            size,
            limit,
        })
    }

    /// Appends whole lines: all of them, or none.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.size > 0 && self.size + length > self.limit {
            self.empty()?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // Half a line would be taken for another one.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    /// Keeps the limit also where the content cannot be kept, as on a full disk: standard output has had it.
    fn empty(&mut self) -> io::Result<()> {
        let kept = self.path.with_added_extension("1");
        match fs::copy(&self.path, &kept) {
            // Somebody moved the file away: it is theirs from here on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self = LogFile::open(&self.path, self.limit)?;
                return Ok(());
            }
            Err(_) => drop(fs::remove_file(&kept)),
            Ok(_) => {}
        }
        self.file.set_len(0)?;
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_file_is_emptied_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail.log");
        let mut log = LogFile::open(&path, 10).unwrap();
        let mut reader = File::open(&path).unwrap();
        log.write(b"12345\n").unwrap();
        log.write(b"67890\n").unwrap();
        assert_eq!(fs::read(directory.path().join("mail.log.1")).unwrap(), b"12345\n");
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "67890\n", "a reader that holds the file open sees the new line");

        fs::remove_file(directory.path().join("mail.log.1")).unwrap();
        fs::create_dir(directory.path().join("mail.log.1")).unwrap();
        log.write(b"abcde\n").unwrap();
        assert_eq!(
            fs::read(&path).unwrap(),
            b"abcde\n",
            "it cannot be kept, and is emptied all the same"
        );
        fs::rename(&path, directory.path().join("moved")).unwrap();
        log.write(b"fghij\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"fghij\n");
        assert_eq!(fs::read(directory.path().join("moved")).unwrap(), b"abcde\n");
    }
}
