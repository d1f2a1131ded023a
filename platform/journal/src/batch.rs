//! A batch on its way to the disk.

use std::io;
use std::sync::Arc;

use crate::fill::Fill;
use crate::fs::{File, LockGuard, write_all_at};
use crate::shared::{End, Shared};
use crate::types::Seq;

/// Bytes for one place of one file.
pub(crate) struct Piece {
    pub(crate) file: Arc<dyn File>,
    /// Who zeroes the file ahead.
    pub(crate) fill: Arc<Fill>,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Everything that was buffered when it was taken. Run it on any thread, then hand the outcome to `finish_sync`.
///
/// A batch that is dropped without having run stops the journal: its frames have sequences that nothing else can fill. One
/// that began a segment allocates the next one when it is dropped (a few milliseconds, once per segment), so keep it until
/// its frames are acknowledged.
#[must_use = "a batch that is not run stops the journal"]
pub struct SyncBatch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) last: Seq,
    pub(crate) end: End,
    pub(crate) frames: u64,
    /// Segment to allocate once the frames are durable; set when the batch began one.
    pub(crate) allocate: Option<u64>,
    pub(crate) ran: bool,
    /// Keeps a second owner out while a batch of a closed journal still writes.
    pub(crate) _lock: Arc<dyn LockGuard>,
}

/// What became of a batch.
#[must_use = "hand it to finish_sync"]
pub struct SyncOutcome {
    pub(crate) result: io::Result<()>,
    pub(crate) last: Seq,
    pub(crate) end: End,
    pub(crate) buffers: Vec<Vec<u8>>,
    frames: u64,
    rolled: bool,
    bytes: u64,
    write_ns: u64,
    sync_ns: u64,
}

impl SyncBatch {
    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes to be written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    /// Last sequence of the batch.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Writes the frames and syncs once (once per file, where the batch goes over the end of a segment), records the new
    /// watermark. A second call fails.
    pub fn run(&mut self) -> SyncOutcome {
        let bytes = self.bytes();
        let clock = Arc::clone(&self.shared.env.clock);
        let (mut write_ns, mut sync_ns) = (0, 0);
        let result = if self.ran {
            Err(io::Error::other("batch was run twice"))
        } else {
            self.ran = true;
            let start_ns = clock.mono_ns();
            self.write().and_then(|()| {
                let written_ns = clock.mono_ns();
                write_ns = written_ns.saturating_sub(start_ns);
                let synced = self.sync();
                sync_ns = clock.mono_ns().saturating_sub(written_ns);
                synced
            })
        };
        let result = result.and_then(|()| self.record());
        if let Err(error) = &result {
            self.shared.poison(&error.to_string());
        }
        let buffers = self.pieces.drain(..).map(|piece| piece.bytes).collect();
        SyncOutcome {
            result,
            last: self.last,
            end: self.end,
            buffers,
            frames: self.frames,
            rolled: self.allocate.is_some(),
            bytes,
            write_ns,
            sync_ns,
        }
    }

    /// Allocates the next segment if this batch began one. Dropping the batch does the same.
    pub fn allocate_ahead(&mut self) {
        if let Some(number) = self.allocate.take()
            && self.shared.poisoned().is_none()
        {
            self.shared.spares.ensure(&self.shared.env, &self.shared.dir, &self.shared.options, number);
        }
    }

    fn write(&self) -> io::Result<()> {
        // A batch that was buffered before an earlier one failed must not reach the disk.
        if let Some(poisoned) = self.shared.poisoned() {
            return Err(io::Error::other(poisoned.to_string()));
        }
        self.pieces.iter().try_for_each(|piece| {
            piece.fill.claim(piece.offset + piece.bytes.len() as u64);
            write_all_at(&*piece.file, &piece.bytes, piece.offset)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut previous: Option<&Arc<dyn File>> = None;
        for piece in &self.pieces {
            if previous.is_none_or(|file| !Arc::ptr_eq(file, &piece.file)) {
                piece.file.sync_data()?;
            }
            previous = Some(&piece.file);
        }
        Ok(())
    }

    fn record(&self) -> io::Result<()> {
        let mut watermark = self.shared.watermark.lock();
        watermark.advance(self.last.0, self.end.segment, self.end.offset)?;
        // Once per segment it is made durable, which bounds what an opening after a crash of the machine has to scan.
        if self.allocate.is_some() { watermark.sync() } else { Ok(()) }
    }
}

impl Drop for SyncBatch {
    fn drop(&mut self) {
        if !self.ran {
            self.shared.poison("a batch was dropped before it was written");
        }
        self.allocate_ahead();
    }
}

impl SyncOutcome {
    /// Whether the frames are durable.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether the batch began a segment, so that there is one more to zero ahead and one more to compress.
    #[must_use]
    pub fn rolled(&self) -> bool {
        self.rolled
    }

    /// Bytes written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Time spent in writes, in nanoseconds of `Env`'s clock.
    #[must_use]
    pub fn write_ns(&self) -> u64 {
        self.write_ns
    }

    /// Time spent in `fdatasync`, in nanoseconds of `Env`'s clock.
    #[must_use]
    pub fn sync_ns(&self) -> u64 {
        self.sync_ns
    }
}
