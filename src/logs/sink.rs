//! Where lines go: standard output, and the files in /var/log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log file that never grows beyond a limit. When it is full its content is copied to `<path>.1` and the file is
/// emptied in place, so that a `tail -f` goes on showing new lines.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl LogFile {
    /// Opens it for appending.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_owned(),
            file,
            size,
            limit,
        })
    }

    /// Appends whole lines.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.size > 0 && self.size + length > self.limit {
            fs::copy(&self.path, self.path.with_added_extension("1"))?;
            self.file.set_len(0)?;
            self.size = 0;
        }
        self.file.write_all(lines)?;
        self.size += length;
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
        assert_eq!(seen, "67890\n", "the file that a reader holds open goes on");
    }
}
