//! Group-commit, checksummed, fsynced log.
//!
//! A [`Journal`] is a synchronous state machine over an [`Env`] (clock, randomness, file system). It starts no thread and owns
//! no queue: `append` copies a payload into a buffer and assigns its [`Seq`] and [`Location`]; `begin_sync` hands everything
//! buffered to a [`SyncBatch`] that any thread may run; `finish_sync` publishes the result. While one batch is being written
//! the next one is being buffered.
//!
//! ```
//! use zizon_journal::{Env, Journal, Options};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let options = Options { segment_bytes: 8 << 20, ..Options::default() };
//! let (mut journal, recovery) = Journal::open(Env::real(), dir.path(), options)?;
//! assert!(recovery.created);
//! let appended = journal.append(b"hello")?;
//! let mut batch = journal.begin_sync().expect("one frame is buffered");
//! let outcome = batch.run();
//! let durable = journal.finish_sync(outcome)?;
//! assert_eq!(durable, appended.seq);
//! assert_eq!(&journal.reader().read(appended.location)?[..], b"hello");
//! # Ok(()) }
//! ```
//!
//! # What it promises
//! - A frame at or below the durable sequence survives a crash of the process and of the machine.
//! - A frame is never served unless its CRC32C matches; the CRC is bound to the journal, the segment and the offset.
//! - A bad frame that was durable is refused as corruption; only a tail that never became durable is cut off.
//! - An accepted frame has preallocated room: a full disk is noticed by `append`, never by the batch.
//! - After one failed or short write or one failed `fdatasync` the journal writes nothing any more (`Poisoned`).
//!
//! # What it takes from the file system
//! - `fallocate` reserves space that later writes use (ext4, XFS, tmpfs; not copy-on-write file systems such as btrfs or ZFS,
//!   where a full disk can still fail a batch, which stops the journal but loses nothing acknowledged).
//! - A sector of 512 bytes is written as a whole or not at all, and `fdatasync` means what it says.
//! - The watermark is not synced with every batch. After a loss of *power* it may lag, and then damage to the very last batch
//!   cannot be told from a batch that never became durable; damage anywhere before is still found. After a crash of the
//!   process it does not lag.
//!
//! # Files of a journal directory
//! | file | content |
//! |---|---|
//! | `LOCK` | `flock`ed by the owner; its process id in decimal |
//! | `watermark` | journal uuid, oldest retained segment, end of what is durable; two slots of one sector each |
//! | `00000000000000000001.seg` | a segment, raw or compressed (its header says which); all zero while preallocated |
//! | `*.tmp` | unfinished work, deleted by the next `open` |
//!
//! The byte layouts are in [`mod@format`].

pub mod backup;
mod batch;
mod cache;
mod compress;
mod content;
mod env;
mod error;
mod fill;
pub mod format;
mod fs;
mod journal;
mod maintenance;
mod options;
mod reader;
mod recover;
mod repair;
mod scan;
mod segment;
mod shared;
mod spare;
mod tail;
mod types;
mod verify;
mod watermark;

pub use batch::{SyncBatch, SyncOutcome};
pub use env::{Clock, Env, ManualClock, RealClock, Rng, SeededRng, SystemRng};
pub use error::{AppendError, MaintenanceError, OpenError, Poisoned, ReadError};
pub use format::frame::{Salt, decode_frames};
pub use fs::{File, Fs, LockError, LockGuard, MemFault, MemFs, RealFs};
pub use journal::Journal;
pub use maintenance::{Maintenance, Retained};
pub use options::Options;
pub use reader::Reader;
pub use scan::Scan;
pub use types::{Appended, Frame, Location, Recovery, Seq, Space};
pub use verify::{VerifyProgress, VerifyReport};
