//! Which process was handed which certificate: one JSON object per line, append-only, bounded by rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::Serialize;
use zizon_base::time::Timestamp;

/// One fact.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Fact<'a> {
    /// A leaf was signed.
    Issued { id: &'a str, serial: &'a str, not_after: u64 },
    /// A leaf and its key were sent to a process.
    Delivered { id: &'a str, serial: &'a str, not_after: u64, pid: u32, uid: u32, exe: Option<&'a str> },
    /// An authority changed its slot.
    Authority { step: &'a str, number: u64 },
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    fact: Fact<'a>,
}

/// The log with its bound.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    file_bytes: u64,
    files: u32,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl Audit {
    /// `path` and `files - 1` older ones beside it, `path.1` the youngest; each about `file_bytes` long.
    pub(crate) fn open(path: &Path, file_bytes: u64, files: u32) -> io::Result<Self> {
        let first = Open::append_to(path)?;
        Ok(Self { path: path.to_owned(), file_bytes, files, open: Mutex::new(Some(first)) })
    }

    /// Appends a line. Not synced: the log tells what happened, it does not decide anything.
    pub(crate) fn write(&self, wall_ms: u64, fact: Fact<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { at: Timestamp::from_millis(wall_ms).to_rfc3339(), fact })?;
        line.push(b'\n');
        let mut open = self.open.lock();
        if open.as_ref().is_some_and(|open| open.bytes + line.len() as u64 > self.file_bytes) {
            *open = None;
            self.shift()?;
        }
        let current = match open.as_mut() {
            Some(current) => current,
            None => open.insert(Open::append_to(&self.path)?),
        };
        current.file.write_all(&line)?;
        current.bytes += line.len() as u64;
        Ok(())
    }

    fn shift(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.files == 1 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.files - 1).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

impl Open {
    fn append_to(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(audit: &Audit, pid: u32) {
        let fact =
            Fact::Delivered { id: "spiffe://a/b", serial: "01", not_after: 7, pid, uid: 0, exe: Some("/bin/true") };
        audit.write(1_000, fact).unwrap();
    }

    #[test]
    fn a_line_names_identity_serial_process_and_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        deliver(&Audit::open(&path, 4096, 4).unwrap(), 42);
        let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for (key, value) in [("event", "delivered"), ("id", "spiffe://a/b"), ("serial", "01"), ("exe", "/bin/true")] {
            assert_eq!(line[key], value);
        }
        assert_eq!((line["pid"].as_u64(), line["not_after"].as_u64()), (Some(42), Some(7)));
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_youngest_lines_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let audit = Audit::open(&path, 500, 3).unwrap();
        (0..100).for_each(|pid| deliver(&audit, pid));
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= 500));
        assert!(fs::read_to_string(&path).unwrap().contains("\"pid\":99"));
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        deliver(&Audit::open(&path, 4096, 4).unwrap(), 1);
        deliver(&Audit::open(&path, 4096, 4).unwrap(), 2);
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 2);
    }
}
