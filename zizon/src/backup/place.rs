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
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use zizon_journal::LockGuard;

use super::{
    file_failure,
    ground::{Busy, create, is_read_only, lock, make, make_private, refuse_nested, sync_dir},
    interrupt::Interrupt,
    layout::{self, TAG_DIGITS},
    manifest::{Entry, Manifest, Unreadable},
};
use crate::exit::Failure;

pub(super) const MANIFEST: &str = "backup.json";
pub(super) const LOCK: &str = "backup.lock";
const UNFINISHED: &str = "backup.json.tmp";
/// Largest manifest, in bytes: a million segments.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;
const STEP: usize = 1 << 20;

/// The directory of a backup, ours alone.
pub struct Place {
    dir: PathBuf,
    /// What is there.
    pub previous: Option<Manifest>,
    /// Its files: where they are stored, and their checksums.
    known: HashMap<String, String>,
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
    /// Takes `dir`, a path without links, for another backup, making it where it is not there. Its mode is 0700 from here on.
    pub fn begin(dir: &Path) -> Result<Self> {
        refuse_nested(dir)?;
        make(dir, 0o700).map_err(|error| file_failure("make", dir, &error))?;
        let mut entries = fs::read_dir(dir).map_err(|error| file_failure("list", dir, &error))?;
        if entries.next().is_some() && !dir.join(LOCK).exists() && !dir.join(MANIFEST).exists() {
            let message = format!("{} is not empty and holds no backup", dir.display());
            return Err(Failure::usage(message, "name an empty directory, or one that zizon backup has made").into());
        }
        make_private(dir)?;
        let lock = Some(lock(dir)?);
        let previous = read_manifest(dir)?;
        let files = previous.iter().flat_map(|previous| &previous.files);
        let known = files.map(|entry| (entry.stored.clone(), entry.blake3.clone())).collect();
        let place = Self { dir: dir.to_owned(), previous, known, _lock: lock };
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
        Ok((Self { dir: dir.to_owned(), previous: None, known: HashMap::new(), _lock: lock }, manifest))
    }

    /// Where a file of the manifest is.
    pub fn file(&self, entry: &Entry) -> PathBuf {
        self.dir.join(&entry.stored)
    }

    /// Puts `path`, whose content `write` writes.
    pub fn put(&self, path: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<Put> {
        let temporary = self.dir.join(format!("{path}.tmp"));
        self.make_room_for(path)?;
        let written = create(&temporary).and_then(|file| {
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

    /// Makes the directory that `path` is in.
    fn make_room_for(&self, path: &str) -> Result<()> {
        let Some(below) = Path::new(path).parent() else { return Ok(()) };
        let directory = self.dir.join(below);
        if self.is_foreign(below) {
            let message = format!("{} is a link, or holds another backup", directory.display());
            return Err(Failure::refused(message, "move it away, or use another directory").into());
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| file_failure("make", &directory, &error).into())
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
        let is_known = self.known.get(&entry.stored).is_some_and(|blake3| *blake3 == entry.blake3);
        is_known
            && fs::symlink_metadata(self.file(entry)).is_ok_and(|found| found.is_file() && found.len() == entry.bytes)
    }

    /// Makes `manifest` the backup that is there. What it does not name stays until it is swept.
    pub fn publish(&self, manifest: &Manifest, interrupt: &Interrupt) -> Result<()> {
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
        if self.previous.is_none() {
            // A run that was ended may have made this directory and not seen to it that it stays.
            directories.extend(self.dir.parent().map(Path::to_owned));
        }
        for directory in &directories {
            sync_dir(directory).map_err(failed)?;
        }
        let write = || -> io::Result<()> {
            let mut out = create(&temporary)?;
            out.write_all(&bytes)?;
            out.sync_all()
        };
        write().map_err(failed)?;
        interrupt
            .commit(|| fs::rename(&temporary, &file).and_then(|()| sync_dir(&self.dir)).map_err(|e| failed(e).into()))
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
    use std::{
        fs::Permissions,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

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
        place.publish(&manifest(vec![one.entry.clone()]), &Interrupt::default()).unwrap();
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
    fn nobody_else_can_look_into_it_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (home, outside) = (dir.path().join("b"), dir.path().join("outside"));
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o777)).unwrap();
        fs::write(&outside, "theirs").unwrap();
        let place = Place::begin(&home).unwrap();
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(home.join("keys")).unwrap();
        std::os::unix::fs::symlink(&outside, home.join("keys/ids.key.tmp")).unwrap();
        std::os::unix::fs::symlink(&outside, home.join(UNFINISHED)).unwrap();
        let put = place.put_bytes("keys/ids.key", b"secret").unwrap();
        // One that an ended run has left may have any mode.
        fs::write(home.join("ca.pem.tmp"), "half").unwrap();
        fs::set_permissions(home.join("ca.pem.tmp"), Permissions::from_mode(0o666)).unwrap();
        let other = place.put_bytes("ca.pem", b"whom to trust").unwrap();
        for put in [&put, &other] {
            let found = fs::symlink_metadata(place.file(&put.entry)).unwrap();
            assert!(found.is_file() && found.mode() & 0o777 == 0o600, "{:?}", put.entry);
        }
        place.publish(&manifest(vec![put.entry, other.entry]), &Interrupt::default()).unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"theirs");

        std::os::unix::fs::symlink(dir.path(), home.join("identity")).unwrap();
        let refused = place.put_bytes("identity/ca.json", b"secret").err().unwrap().to_string();
        assert!(refused.contains("is a link"), "{refused}");
        place.sweep(None).unwrap();
        assert!(outside.exists());
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
