//! The file that keeps the authorities over restarts, so that peers go on trusting what they trust.
//!
//! It is replaced as a whole: written beside, synced, renamed, directory synced. At any moment there is either the earlier or the
//! later set, never half of one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::schedule::Slot;

/// The only version of the file's form this program knows.
const VERSION: u32 = 1;
/// Far beyond what eight authorities take.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why the authorities cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another issuer uses the directory.
    #[error("another issuer uses {directory}; stop it first", directory = .0.display())]
    Locked(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {file}", file = file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{file} is damaged ({reason}); restore it, or remove it to begin with an authority nobody trusts yet", file = file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a later version.
    #[error("{file} has version {found}, this program knows {VERSION}; use a later zizon", file = file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// The version it has.
        found: u64,
    },
    /// The file belongs to another trust domain.
    #[error("{file} holds the authorities of {found}, configured is {wanted}; use another data directory", file = file.display())]
    TrustDomain {
        /// The file.
        file: PathBuf,
        /// The domain it was made for.
        found: String,
        /// The configured domain.
        wanted: String,
    },
    /// The keys are readable by others.
    #[error("{file} may be read by others (mode {mode:o}); chmod 600 it, and renew its authorities if that went on", file = file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// One authority as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) slot: Slot,
    /// PEM.
    pub(crate) certificate: String,
    /// PKCS#8 PEM; wiped when this is dropped.
    pub(crate) key: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    trust_domain: String,
    authorities: Vec<Kept>,
}

/// The directory of one issuer, locked until it is released or dropped.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    trust_domain: String,
    lock: Option<File>,
}

impl Store {
    /// Makes the directory (0700) and locks it.
    pub(crate) fn open(directory: &Path, trust_domain: &str) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(failed("make", directory))?;
        let path = directory.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = opened.map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Self { directory: directory.to_owned(), trust_domain: trust_domain.to_owned(), lock: Some(lock) })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// Lets another issuer have the directory.
    pub(crate) fn release(&mut self) {
        self.lock = None;
    }

    fn file(&self) -> PathBuf {
        self.directory.join("ca.json")
    }

    /// What was kept; empty when nothing ever was.
    pub(crate) fn load(&self) -> Result<Vec<Kept>, StoreError> {
        let file = self.file();
        let metadata = match fs::metadata(&file) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &file)(error)),
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoreError::Exposed { file, mode });
        }
        let damaged = |reason: String| StoreError::Damaged { file: file.clone(), reason };
        if metadata.len() > FILE_BYTES_MAX {
            return Err(damaged(format!("{} bytes are too many", metadata.len())));
        }
        let text = Zeroizing::new(fs::read_to_string(&file).map_err(failed("read", &file))?);
        let version = serde_json::from_str::<VersionOnly>(&text).map_err(|error| damaged(error.to_string()))?.version;
        if version != u64::from(VERSION) {
            return Err(StoreError::Version { file, found: version });
        }
        let document: Document = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if document.trust_domain != self.trust_domain {
            return Err(StoreError::TrustDomain {
                file,
                found: document.trust_domain,
                wanted: self.trust_domain.clone(),
            });
        }
        Ok(document.authorities)
    }

    /// Something in the file cannot be used.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { file: self.file(), reason: reason.into() }
    }

    /// Replaces what is kept. When this returns without an error, it survives a loss of power.
    pub(crate) fn save(&self, authorities: Vec<Kept>) -> Result<(), StoreError> {
        if self.lock.is_none() {
            return Err(StoreError::Locked(self.directory.clone()));
        }
        let document = Document { version: VERSION, trust_domain: self.trust_domain.clone(), authorities };
        let text =
            serde_json::to_string_pretty(&document).map_err(|error| failed("encode", &self.file())(error.into()))?;
        let text = Zeroizing::new(text);
        let (temporary, file) = (self.directory.join("ca.json.new"), self.file());
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace", &temporary)(error)),
            _ => {}
        }
        let written =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary).and_then(|mut out| {
                out.write_all(text.as_bytes())?;
                out.sync_all()
            });
        written.map_err(failed("write", &temporary))?;
        fs::rename(&temporary, &file).map_err(failed("replace", &file))?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed("sync", &self.directory))
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

fn failed(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let file = file.to_owned();
    move |source| StoreError::Io { action, file, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &Path) -> Store {
        Store::open(directory, "zizon.local").unwrap()
    }

    #[test]
    fn a_second_issuer_on_the_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _first = store(directory.path());
        assert!(matches!(Store::open(directory.path(), "zizon.local"), Err(StoreError::Locked(_))));
    }

    #[test]
    fn keys_that_others_may_read_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.save(Vec::new()).unwrap();
        fs::set_permissions(store.file(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.save(Vec::new()).unwrap();
        for (text, expected) in [
            ("{\"version\":1", "is damaged"),
            ("{\"version\":2,\"keys\":[]}", "has version 2"),
            (
                "{\"version\":1,\"trust_domain\":\"other.example\",\"authorities\":[]}",
                "the authorities of other.example",
            ),
        ] {
            fs::write(store.file(), text).unwrap();
            let message = store.load().err().unwrap().to_string();
            assert!(message.contains(expected) && message.contains("ca.json"), "{message}");
        }
    }

    #[test]
    fn what_a_crash_left_beside_the_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        fs::write(directory.path().join("ca.json.new"), "half").unwrap();
        store.save(Vec::new()).unwrap();
        assert!(store.load().unwrap().is_empty());
        assert!(!directory.path().join("ca.json.new").exists());
    }
}
