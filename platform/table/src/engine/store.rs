//! Where an index is kept, and whether it is the right one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::index::{Index, IndexError, LsmIndex, LsmOptions, MemDisk, MemIndex};

/// Version of the index's layout: keys, slots, directory. An older index is rebuilt, a newer one refused.
const INDEX_VERSION: u32 = 1;

/// A place where an index is kept.
pub trait IndexStore: Send + Sync + 'static {
    /// Opens the index of the journal with this id, or makes an empty one.
    ///
    /// # Errors
    /// `Damaged`: rebuild it. `Foreign`: it belongs to another journal or a newer version.
    fn open(&self, journal: [u8; 16]) -> Result<Arc<dyn Index>, IndexError>;

    /// Throws the index away.
    ///
    /// # Errors
    /// When the files cannot be removed.
    fn reset(&self) -> Result<(), IndexError>;

    /// Remembers that the index is damaged, so that the next opening rebuilds it.
    fn mark_damaged(&self);
}

/// An index in a directory.
///
/// | file | content |
/// |---|---|
/// | `FORMAT` | `zizon-index VERSION JOURNAL-ID CRC32C`, one line of text |
/// | `tree/` | the LSM tree |
/// | `DAMAGED` | exists when damage was found while running |
#[derive(Debug, Clone)]
pub struct LsmStore {
    dir: PathBuf,
    options: LsmOptions,
}

impl LsmStore {
    /// A store in `dir`.
    #[must_use]
    pub fn new(dir: &Path, options: LsmOptions) -> Self {
        Self { dir: dir.to_owned(), options }
    }

    fn check_format(&self, journal: [u8; 16]) -> Result<(), IndexError> {
        let text = match fs::read_to_string(self.dir.join("FORMAT")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.create(journal),
            Err(error) => return Err(error.into()),
        };
        let damaged = || IndexError::Damaged("`FORMAT` does not match its checksum".to_owned());
        let (line, sum) = text.trim_end().rsplit_once(' ').ok_or_else(damaged)?;
        if sum != checksum(line) {
            return Err(damaged());
        }
        let mut words = line.split(' ').skip(1);
        let version = words.next().and_then(|word| word.parse::<u32>().ok()).ok_or_else(damaged)?;
        if version > INDEX_VERSION {
            let what = format!("index has format version {version}, this program knows {INDEX_VERSION}");
            return Err(IndexError::Foreign(what));
        }
        if version < INDEX_VERSION {
            return Err(IndexError::Damaged(format!("format version {version} is older than {INDEX_VERSION}")));
        }
        if words.next() != Some(hex(journal).as_str()) {
            return Err(IndexError::Foreign("index was made from another journal".to_owned()));
        }
        Ok(())
    }

    fn create(&self, journal: [u8; 16]) -> Result<(), IndexError> {
        if self.dir.join("tree").exists() {
            return Err(IndexError::Damaged("`FORMAT` is missing".to_owned()));
        }
        fs::create_dir_all(&self.dir)?;
        let line = format!("zizon-index {INDEX_VERSION} {}", hex(journal));
        let temporary = self.dir.join("FORMAT.tmp");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{line} {}", checksum(&line))?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join("FORMAT"))?;
        File::open(&self.dir)?.sync_all()?;
        if let Some(parent) = self.dir.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

impl IndexStore for LsmStore {
    fn open(&self, journal: [u8; 16]) -> Result<Arc<dyn Index>, IndexError> {
        if self.dir.join("DAMAGED").exists() {
            return Err(IndexError::Damaged("damage was found while running".to_owned()));
        }
        self.check_format(journal)?;
        Ok(Arc::new(LsmIndex::open(&self.dir.join("tree"), &self.options)?))
    }

    fn reset(&self) -> Result<(), IndexError> {
        // `FORMAT` goes first and `DAMAGED` last: a crash in between leaves something that is reset again.
        for name in ["FORMAT", "tree", "FORMAT.tmp", "DAMAGED"] {
            let path = self.dir.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn mark_damaged(&self) {
        if let Err(error) = File::create(self.dir.join("DAMAGED")).and_then(|file| file.sync_all()) {
            tracing::error!(error = %error, "cannot mark the index as damaged; delete its directory before the next start");
        }
    }
}

/// An index in memory, for simulations. What was flushed survives its engine.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    disk: MemDisk,
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl IndexStore for MemStore {
    fn open(&self, _journal: [u8; 16]) -> Result<Arc<dyn Index>, IndexError> {
        Ok(Arc::new(MemIndex::open(self.disk.clone())))
    }

    fn reset(&self) -> Result<(), IndexError> {
        self.disk.clear();
        Ok(())
    }

    fn mark_damaged(&self) {
        self.disk.clear();
    }
}

fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn checksum(line: &str) -> String {
    format!("{:08x}", crc32c::crc32c(line.as_bytes()))
}
