//! The file operations the journal needs.

mod mem;
mod real;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use mem::{MemFault, MemFs};
pub use real::RealFs;

/// An open file.
pub trait File: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset` and returns how many bytes were taken.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the content durable, and the length where it changed (`fdatasync`).
    ///
    /// # Errors
    /// Those of the operating system. What was written before may be lost then, whatever a second call says.
    fn sync_data(&self) -> io::Result<()>;
    /// Really allocates zeros up to `len` (`fallocate`), so that writing them later needs no space.
    ///
    /// # Errors
    /// `StorageFull` when there is no space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;
    /// The first range at or after `offset` that was written; `None` when only allocated zeros follow. May name more than was
    /// written, never less. Lets a preallocated segment be looked through without reading it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn written(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((offset < len).then_some(offset..len))
    }
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send + Sync {}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("held by process {pid}")]
    Held {
        /// The holder, 0 when unknown.
        pid: u32,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file system. Names and directory entries are durable only after `sync_dir`.
pub trait Fs: Send + Sync {
    /// Creates a directory and its parents where missing.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates an empty file, readable by its owner only; one that exists is emptied.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Renames a file over another.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Those who have it open keep it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, in no order.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes an ordinary user may still allocate in the file system of `dir` (`statvfs`).
    ///
    /// # Errors
    /// Those of the operating system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock on the file `path`, creating it, and writes the process id into it (`flock`).
    ///
    /// # Errors
    /// `Held` with the holder's process id.
    fn lock(&self, path: &Path) -> Result<Arc<dyn LockGuard>, LockError>;
}

/// Fills `into` from `offset`; a file that ends before is an `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn File, into: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes `bytes` at `offset`. A short write is a failure: on a preallocated file it means that the disk is in trouble, and
/// carrying on would hide it.
pub(crate) fn write_all_at(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    loop {
        match file.write_at(bytes, offset) {
            Ok(n) if n == bytes.len() => return Ok(()),
            Ok(n) => {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    format!("short write, {n} of {} bytes", bytes.len()),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
