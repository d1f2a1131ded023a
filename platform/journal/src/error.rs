//! What can go wrong, by operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::Seq;

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, owns the journal.
    #[error("journal is in use by process {pid}; stop it first")]
    Locked {
        /// Process id of the owner, 0 when it could not be read.
        pid: u32,
    },
    /// Durable bytes were altered or are missing. Restore the file from a backup or a standby.
    #[error("corrupt journal file {} at offset {offset}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in the (uncompressed) file.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// A file was written by a newer version. Start that version instead.
    #[error("{} has journal format version {found}, this program reads up to {supported}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program knows.
        supported: u32,
    },
    /// The options contradict one another.
    #[error("journal options: {0}")]
    Options(&'static str),
    /// The file system failed.
    #[error("{what} {}: {source}", file.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
}

/// Why a payload was not accepted. Nothing was written or buffered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full or below its reserve. Goes away by itself when space returns.
    #[error("no space left for the journal")]
    Full,
    /// `max_batch_bytes` are buffered. Goes away with the next `begin_sync`.
    #[error("too much is buffered")]
    BatchFull,
    /// An earlier write failed; see [`Poisoned`].
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The payload is longer than `max_frame_bytes`.
    #[error("payload of {len} bytes exceeds {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The longest allowed.
        max: u32,
    },
}

/// A write or `fdatasync` failed. The kernel may have dropped the pages, so nothing is retried: the journal stays read-only
/// until it is opened again, which verifies what the disk has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal stopped after a failed write: {reason}")]
pub struct Poisoned {
    /// The first failure.
    pub reason: Arc<str>,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes were altered; they are never served.
    #[error("corrupt journal file {} at offset {offset}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in the (uncompressed) file.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// The location lies after what is durable.
    #[error("location is not durable yet")]
    NotDurable,
    /// The location is not inside a frame's payload.
    #[error("location is not inside a frame")]
    BadLocation,
    /// Retention removed it.
    #[error("removed by retention, the first sequence left is {}", first.0)]
    Gone {
        /// First sequence that is still there.
        first: Seq,
    },
    /// The file system failed.
    #[error("reading {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
}

/// Why maintenance did not do its work. The journal is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// What should be compressed or removed could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is not enough space for the compressed copy besides the reserve.
    #[error("no space for maintenance")]
    NoSpace,
    /// The journal was closed.
    #[error("journal is closed")]
    Closed,
    /// The file system failed.
    #[error("{what} {}: {source}", file.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
}
