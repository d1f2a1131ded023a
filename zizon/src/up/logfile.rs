//! A role's log on disk, bounded: when a file is full it becomes `.1`, and the one before that is gone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Bytes after which a file is put aside.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// An append-only file of bounded size.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl LogFile {
    /// Opens `path` for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, MAX_BYTES)
    }

    fn with_limit(path: &Path, max_bytes: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, max_bytes })
    }

    /// Appends, putting a full file aside first.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + bytes.len() as u64 > self.max_bytes {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            // It is gone already when an earlier attempt could not open the next one.
            if let Err(error) = fs::rename(&self.path, aside)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            *self = Self::with_limit(&self.path, self.max_bytes)?;
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_hold_the_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log/edge.log");
        let mut log = LogFile::with_limit(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n".split_at(6).1);
        assert_eq!(fs::read_to_string(dir.path().join("log/edge.log.1")).unwrap(), "three\n");
    }

    #[test]
    fn a_change_of_files_that_stopped_half_way_is_finished_by_the_next_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.log");
        let mut log = LogFile::with_limit(&path, 10).unwrap();
        log.write(b"one two\n").unwrap();
        // What is left when the full file was put aside and the next could not be opened.
        fs::rename(&path, dir.path().join("edge.log.1")).unwrap();
        for line in ["three\n", "four\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        assert_eq!(fs::read_to_string(dir.path().join("edge.log.1")).unwrap(), "three\n");
    }
}
