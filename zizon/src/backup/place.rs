//! The directory of a backup.
//!
//! | file | content |
//! |---|---|
//! | `backup.json` | the manifest, replaced as a whole |
//! | `backup.lock` | locked by whoever uses the directory; its process id |
//! | `PATH.HASH` | a file of the data directory, `HASH` the first 16 digits of its BLAKE3 |
//! | `PATH.tmp` | unfinished |
//!
//! A file gets its name once it is durable and is never changed. The manifest is written after all it names, and what it does not
//! name is removed after that: whenever a backup is ended, the one before is whole. Only files with names that a backup gives, in
//! directories that it makes, are ever removed: whatever else is kept in this directory stays, another backup with it.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use zizon_journal::{Fs, LockError, LockGuard, RealFs};

use super::{
    file_failure,
    layout::{self, TAG_DIGITS},
    manifest::{Entry, Manifest, Unreadable},
};
use crate::exit::Failure;

const MANIFEST: &str = "backup.json";
const LOCK: &str = "backup.lock";
const UNFINISHED: &str = "backup.json.tmp";
/// Largest manifest, in bytes: a million segments.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;
const STEP: usize = 1 << 20;

/// The directory of a backup, ours alone.
pub struct Place {
    dir: PathBuf,
    /// What is there.
    pub previous: Option<Manifest>,
    _lock: Option<Arc<dyn LockGuard>>,
}

/// A file that was put.
pub struct Put {
    /// Its line in the manifest.
    pub entry: Entry,
    /// Whether it was not there before.
    pub new: bool,
}

impl Place {
    /// Takes `dir` for another backup, making it (0700) where it is not there.
    pub fn begin(dir: &Path) -> Result<Self> {
        refuse_nested(dir)?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| file_failure("make", dir, &error))?;
        let mut entries = fs::read_dir(dir).map_err(|error| file_failure("list", dir, &error))?;
        if entries.next().is_some() && !dir.join(LOCK).exists() && !dir.join(MANIFEST).exists() {
            let message = format!("{} is not empty and holds no backup", dir.display());
            return Err(Failure::usage(message, "name an empty directory, or one that zizon backup has made").into());
        }
        let lock = Some(lock(dir)?);
        let previous = read_manifest(dir)?;
        let place = Self { dir: dir.to_owned(), previous, _lock: lock };
        place.sweep(place.previous.as_ref())?;
        Ok(place)
    }

    /// Takes a backup that is there. On a disk that cannot be written nobody else can change it.
    pub fn open(dir: &Path) -> Result<(Self, Manifest)> {
        let none = || {
            let remedy = "name a directory that zizon backup has made";
            Failure::usage(format!("no backup in {}", dir.display()), remedy)
        };
        if !dir.join(MANIFEST).exists() {
            let unfinished = dir.join(LOCK).exists();
            let begun = || {
                let message = format!("{} holds a backup that was begun and never finished", dir.display());
                Failure::refused(message, "run zizon backup again, or restore another one")
            };
            return Err(if unfinished { begun() } else { none() }.into());
        }
        let lock = match lock(dir) {
            Ok(lock) => Some(lock),
            Err(Busy::Io(_, error)) if is_read_only(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let manifest = read_manifest(dir)?.ok_or_else(none)?;
        Ok((Self { dir: dir.to_owned(), previous: None, _lock: lock }, manifest))
    }

    /// Where a file of the manifest is.
    pub fn file(&self, entry: &Entry) -> PathBuf {
        self.dir.join(&entry.stored)
    }

    /// Puts `path`, whose content `write` writes.
    pub fn put(&self, path: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<Put> {
        let temporary = self.dir.join(format!("{path}.tmp"));
        let made =
            temporary.parent().map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o700).create(parent));
        let written = made.and_then(|()| {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let mut out = Hashing { out: file, hasher: blake3::Hasher::new(), bytes: 0 };
            write(&mut out)?;
            out.out.sync_all()?;
            Ok((out.hasher.finalize().to_hex().to_string(), out.bytes))
        });
        let named = written.and_then(|(blake3, bytes)| {
            let stored = format!("{path}.{}", &blake3[..TAG_DIGITS]);
            let entry = Entry { path: path.to_owned(), stored, bytes, blake3, segment: None };
            let new = !self.holds(&entry);
            if new { fs::rename(&temporary, self.file(&entry)) } else { fs::remove_file(&temporary) }?;
            Ok(Put { entry, new })
        });
        named.map_err(|error| {
            // What stays is removed by the next backup.
            let _ = fs::remove_file(&temporary);
            file_failure("write", &temporary, &error).into()
        })
    }

    /// Puts `bytes` as `path`; writes nothing when they are there.
    pub fn put_bytes(&self, path: &str, bytes: &[u8]) -> Result<Put> {
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        let stored = format!("{path}.{}", &blake3[..TAG_DIGITS]);
        let entry = Entry { path: path.to_owned(), stored, bytes: bytes.len() as u64, blake3, segment: None };
        if self.holds(&entry) {
            return Ok(Put { entry, new: false });
        }
        self.put(path, &mut |out| out.write_all(bytes))
    }

    /// Whether the backup that is there has this file.
    pub fn holds(&self, entry: &Entry) -> bool {
        let same = |known: &Entry| known.stored == entry.stored && known.blake3 == entry.blake3;
        let known = self.previous.as_ref().is_some_and(|previous| previous.files.iter().any(same));
        known && fs::symlink_metadata(self.file(entry)).is_ok_and(|found| found.is_file() && found.len() == entry.bytes)
    }

    /// Makes `manifest` the backup that is there, and removes what it does not name.
    pub fn publish(&self, manifest: &Manifest) -> Result<()> {
        let file = self.dir.join(MANIFEST);
        let temporary = self.dir.join(UNFINISHED);
        let failed = |error: io::Error| file_failure("write", &file, &error);
        let bytes = manifest.encode()?;
        let mut directories: BTreeSet<PathBuf> = BTreeSet::from([self.dir.clone()]);
        for entry in &manifest.files {
            let path = self.file(entry);
            directories
                .extend(path.ancestors().skip(1).take_while(|path| path.starts_with(&self.dir)).map(Path::to_owned));
        }
        for directory in &directories {
            sync_dir(directory).map_err(failed)?;
        }
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            out.write_all(&bytes)?;
            out.sync_all()?;
            fs::rename(&temporary, &file)?;
            sync_dir(&self.dir)
        };
        write().map_err(failed)?;
        self.sweep(Some(manifest))
    }

    /// Removes files of backups that no manifest names: of one before, or of one that was ended.
    pub fn sweep(&self, manifest: Option<&Manifest>) -> Result<()> {
        let named: HashSet<&str> =
            manifest.into_iter().flat_map(|manifest| &manifest.files).map(|entry| entry.stored.as_str()).collect();
        for below in layout::DIRECTORIES {
            if self.is_foreign(Path::new(below)) {
                continue;
            }
            let directory = self.dir.join(below);
            let failed = |error: io::Error| file_failure("list", &directory, &error);
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let (path, stored) = (entry.path(), Path::new(below).join(entry.file_name()));
                let is_named = stored.to_str().is_some_and(|stored| named.contains(stored));
                let is_ours = stored == Path::new(UNFINISHED) || layout::is_ours(&stored);
                if is_ours && !is_named && !entry.file_type().map_err(failed)?.is_dir() {
                    fs::remove_file(&path).map_err(|error| file_failure("remove", &path, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a directory below this one is no directory of this backup's: reached by a link, or within another backup.
    fn is_foreign(&self, below: &Path) -> bool {
        let within = |part: &Path| {
            let directory = self.dir.join(part);
            let is_link = fs::symlink_metadata(&directory).is_ok_and(|found| !found.is_dir());
            is_link || directory.join(LOCK).exists() || directory.join(MANIFEST).exists()
        };
        below.ancestors().filter(|part| !part.as_os_str().is_empty()).any(within)
    }

    /// Reads a file of the manifest and hands it on in pieces; refuses one that is not as it was.
    pub fn read(&self, entry: &Entry, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let file = self.file(entry);
        let refused = |reason: String| {
            let message = format!("{}: {reason}", file.display());
            Failure::refused(message, "this backup is damaged: nothing was restored; use another one, or take it anew")
        };
        let mut from = File::open(&file).map_err(|error| refused(error.to_string()))?;
        let found = from.metadata().map_err(|error| refused(error.to_string()))?.len();
        if found != entry.bytes {
            return Err(refused(format!("{found} bytes instead of {}", entry.bytes)).into());
        }
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; STEP]);
        loop {
            let taken = from.read(&mut buffer).map_err(|error| refused(error.to_string()))?;
            if taken == 0 {
                break;
            }
            hasher.update(&buffer[..taken]);
            take(&buffer[..taken])?;
        }
        if hasher.finalize().to_hex().as_str() != entry.blake3 {
            return Err(refused("its checksum differs".to_owned()).into());
        }
        Ok(())
    }
}

/// Counts and hashes what goes through it.
struct Hashing {
    out: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

pub fn sync_dir(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A backup within another would be mistaken for a part of it.
fn refuse_nested(dir: &Path) -> Result<()> {
    let is_backup = |outer: &&Path| outer.join(LOCK).exists() && outer.join(MANIFEST).exists();
    let Some(outer) = dir.ancestors().skip(1).find(is_backup) else { return Ok(()) };
    let message = format!("{} is within the backup {}", dir.display(), outer.display());
    Err(Failure::usage(message, "name a directory beside it").into())
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Why a directory was not locked.
enum Busy {
    Held(Failure),
    Io(PathBuf, io::Error),
}

impl From<Busy> for anyhow::Error {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Held(failure) => failure.into(),
            Busy::Io(file, error) => file_failure("lock", &file, &error).into(),
        }
    }
}

fn lock(dir: &Path) -> Result<Arc<dyn LockGuard>, Busy> {
    let file = dir.join(LOCK);
    RealFs.lock(&file).map_err(|error| match error {
        LockError::Held { pid } => {
            let message = format!("{} is in use by process {pid}, another backup or restore", dir.display());
            Busy::Held(Failure::refused(message, "wait until it has ended, or use another directory"))
        }
        LockError::Io(error) => Busy::Io(file.clone(), error),
    })
}

fn read_manifest(dir: &Path) -> Result<Option<Manifest>> {
    let file = dir.join(MANIFEST);
    let bytes = match fs::metadata(&file).map(|found| found.len()) {
        Ok(bytes) if bytes > MANIFEST_BYTES_MAX => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{bytes} bytes are too many")))
        }
        Ok(_) => fs::read(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| file_failure("read", &file, &error))?;
    Manifest::decode(&bytes).map(Some).map_err(|error| {
        let named = file.display();
        match error {
            Unreadable::Version(version) => {
                let message = format!("{named} has version {version}, this program knows {}", Manifest::VERSION);
                Failure::refused(message, "use the zizon that made it, or a later one").into()
            }
            Unreadable::Damaged(reason) => {
                let remedy = "use another backup; to take a new one here, empty the directory first";
                Failure::refused(format!("{named} is damaged: {reason}"), remedy).into()
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: Vec<Entry>) -> Manifest {
        Manifest {
            version: Manifest::VERSION,
            id: "1".to_owned(),
            zizon: "0".to_owned(),
            began_at_ms: 0,
            ended_at_ms: 0,
            history: None,
            stores: Vec::new(),
            files,
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_was_begun_and_not_published_changes_nothing_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("b");
        let place = Place::begin(&home).unwrap();
        let one = place.put_bytes("keys/ids.key", b"one").unwrap();
        assert!(one.new);
        place.publish(&manifest(vec![one.entry.clone()])).unwrap();
        drop(place);
        let place = Place::begin(&home).unwrap();
        assert!(!place.put_bytes("keys/ids.key", b"one").unwrap().new);
        assert!(place.put_bytes("keys/ids.key", b"two").unwrap().new);
        assert_eq!(names(&home.join("keys")).len(), 2);
        drop(place);
        fs::write(home.join("keys/personal.key.tmp"), "half").unwrap();
        fs::write(home.join("keys/notes.txt"), "the operator's own").unwrap();
        let (place, there) = Place::open(&home).unwrap();
        let mut read = Vec::new();
        place
            .read(&there.files[0], &mut |piece| {
                read.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(read, b"one");
        drop(place);
        drop(Place::begin(&home).unwrap());
        assert_eq!(names(&home.join("keys")), [one.entry.stored.trim_start_matches("keys/"), "notes.txt"]);
    }

    #[test]
    fn one_at_a_time_and_only_in_a_directory_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::begin(&dir.path().join("b")).unwrap();
        let refused = Place::begin(&dir.path().join("b")).err().unwrap().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(place);
        assert!(Place::open(&dir.path().join("b")).err().unwrap().to_string().contains("never finished"));
        fs::write(dir.path().join("photo.jpg"), "x").unwrap();
        assert!(Place::begin(dir.path()).err().unwrap().to_string().contains("not empty"));
        assert!(Place::open(dir.path()).err().unwrap().to_string().contains("no backup"));
        assert!(!dir.path().join(LOCK).exists());
    }
}
