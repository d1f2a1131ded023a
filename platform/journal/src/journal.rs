//! The writer: a synchronous state machine.

use std::path::Path;
use std::sync::Arc;

use crate::batch::{Piece, SyncBatch, SyncOutcome};
use crate::env::Env;
use crate::error::{AppendError, OpenError, Poisoned};
use crate::fill::Fill;
use crate::format::HEADER_BYTES;
use crate::format::frame::{FRAME_HEADER_BYTES, FrameHeader, encode_frame};
use crate::format::len_u32;
use crate::format::segment::{FOOTER_BYTES, Footer, Header, Kind};
use crate::fs::{File, LockGuard};
use crate::maintenance::Maintenance;
use crate::options::Options;
use crate::reader::Reader;
use crate::recover;
use crate::segment::{Handle, Segment};
use crate::shared::{End, Shared};
use crate::spare::{RETRY_NS, Spare};
use crate::types::{Appended, Location, Recovery, Seq, Space};

/// Buffers kept for reuse between batches.
const POOL: usize = 4;

/// The one writer of a journal directory.
pub struct Journal {
    shared: Arc<Shared>,
    lock: Arc<dyn LockGuard>,
    active: Option<Active>,
    /// Number of the segment after the active one.
    next_segment: u64,
    next_seq: u64,
    last: LastFrame,
    epoch: u32,
    batch: Buffered,
    in_flight: bool,
    pool: Vec<Vec<u8>>,
    reserve: ReserveCheck,
}

/// The segment frames go to.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn File>,
    pub(crate) fill: Arc<Fill>,
    /// Where the next frame goes.
    pub(crate) offset: u32,
}

/// Of the last frame: what the next one must not fall below.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastFrame {
    pub(crate) at_ms: u64,
    pub(crate) epoch: u32,
}

/// The batch being filled.
#[derive(Default)]
struct Buffered {
    pieces: Vec<Piece>,
    first: u64,
    frames: u64,
    bytes: u64,
    rolled: bool,
}

#[derive(Default)]
struct ReserveCheck {
    checked_ns: Option<u64>,
    below: bool,
}

/// What recovery hands to the writer.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lock: Arc<dyn LockGuard>,
    pub(crate) active: Option<Active>,
    pub(crate) next_segment: u64,
    pub(crate) next_seq: u64,
    pub(crate) last: LastFrame,
}

impl Journal {
    /// Opens the journal in `dir`, creating it where there is none, and brings it into a state in which everything readable
    /// is durable: a torn tail is cut off, whole frames behind the watermark are made durable.
    ///
    /// # Errors
    /// `Locked` when somebody owns it, `Corrupt` when durable bytes are damaged or missing, `Version` when it was written by a
    /// newer version, `Options`, `Io`.
    pub fn open(env: Env, dir: impl AsRef<Path>, options: Options) -> Result<(Self, Recovery), OpenError> {
        options.validate()?;
        let (start, recovery) = recover::open(env, dir.as_ref(), options)?;
        let journal = Self::start(start);
        journal.allocate_ahead();
        Ok((journal, recovery))
    }

    fn start(start: Start) -> Self {
        Self {
            shared: start.shared,
            lock: start.lock,
            active: start.active,
            next_segment: start.next_segment,
            next_seq: start.next_seq,
            last: start.last,
            epoch: start.last.epoch,
            batch: Buffered::default(),
            in_flight: false,
            pool: Vec::new(),
            reserve: ReserveCheck::default(),
        }
    }

    /// The first segment and its successor. Without space the journal still opens: reading needs none.
    fn allocate_ahead(&self) {
        let ahead = if self.active.is_none() { 2 } else { 1 };
        for number in self.next_segment..self.next_segment + ahead {
            if !self.ensure_spare(number) {
                return;
            }
        }
    }

    /// Buffers a payload and assigns its sequence and location. Copies once, computes one checksum, writes nothing; only on the
    /// way into another segment, when that could not be allocated ahead, does it touch the disk.
    ///
    /// # Errors
    /// `Full`, `BatchFull`, `TooLarge`: nothing changed. `Poisoned`: nothing will be accepted any more.
    pub fn append(&mut self, payload: &[u8]) -> Result<Appended, AppendError> {
        if let Some(poisoned) = self.shared.poisoned() {
            return Err(AppendError::Poisoned(poisoned.clone()));
        }
        let options = &self.shared.options;
        if payload.len() > options.max_frame_bytes as usize {
            return Err(AppendError::TooLarge { len: payload.len(), max: options.max_frame_bytes });
        }
        let frame_len = FRAME_HEADER_BYTES + len_u32(payload.len());
        if self.batch.frames > 0 && self.batch.bytes + u64::from(frame_len) > u64::from(options.max_batch_bytes) {
            return Err(AppendError::BatchFull);
        }
        if self.below_reserve() {
            return Err(AppendError::Full);
        }
        if self.batch.frames == 0 {
            self.batch.first = self.next_seq;
        }
        if !self.has_room(frame_len) {
            self.roll()?;
        }
        Ok(self.buffer(payload))
    }

    fn buffer(&mut self, payload: &[u8]) -> Appended {
        let active = self.active.as_mut().expect("append has made room");
        let (seq, offset) = (self.next_seq, active.offset);
        if self.batch.pieces.is_empty() {
            let bytes = self.pool.pop().unwrap_or_default();
            let (file, fill) = (Arc::clone(&active.file), Arc::clone(&active.fill));
            self.batch.pieces.push(Piece { file, fill, offset: offset.into(), bytes });
        }
        // A clock that steps back must not make time run backwards in the journal.
        let at_ms = self.shared.env.clock.wall_ms().max(self.last.at_ms);
        let batch_index = u32::try_from(self.batch.frames).expect("a batch has fewer frames than bytes, at most 1 GiB");
        let header = FrameHeader { len: 0, seq, at_ms, epoch: self.epoch, batch_index };
        let piece = self.batch.pieces.last_mut().expect("one was added above");
        let len = encode_frame(&mut piece.bytes, active.segment.salt, offset, &header, payload);
        active.segment.note(seq, offset);
        active.offset += len;
        self.next_seq += 1;
        self.last = LastFrame { at_ms, epoch: self.epoch };
        self.batch.frames += 1;
        self.batch.bytes += u64::from(len);
        let location =
            Location { segment: active.segment.number, frame: offset, start: 0, len: len_u32(payload.len()) };
        Appended { seq: Seq(seq), location, at_ms }
    }

    fn has_room(&self, frame_len: u32) -> bool {
        self.active.as_ref().is_some_and(|active| active.segment.capacity - FOOTER_BYTES - active.offset >= frame_len)
    }

    /// Completes the active segment and begins the next one, all of it in the buffer.
    fn roll(&mut self) -> Result<(), AppendError> {
        let number = self.next_segment;
        if !self.ensure_spare(number) {
            return Err(AppendError::Full);
        }
        let Spare { file, fill } = self.shared.spares.take(number).ok_or(AppendError::Full)?;
        if let Some(active) = self.active.take() {
            self.complete(&active);
        }
        let capacity = self.shared.options.segment_bytes;
        let header =
            Header { kind: Kind::Raw, uuid: self.shared.uuid, segment: number, first_seq: self.next_seq, capacity };
        let segment = Arc::new(Segment::new(&self.shared.dir, &self.shared.uuid, number, self.next_seq, capacity));
        segment.set_handle(Some(Arc::new(Handle::raw(Arc::clone(&file)))));
        self.shared.segments.write().insert(number, Arc::clone(&segment));
        let piece = Piece { file: Arc::clone(&file), fill: Arc::clone(&fill), offset: 0, bytes: header.encode() };
        self.batch.pieces.push(piece);
        self.batch.rolled = true;
        self.active = Some(Active { segment, file, fill, offset: HEADER_BYTES });
        self.next_segment += 1;
        Ok(())
    }

    fn complete(&mut self, active: &Active) {
        let footer = Footer {
            last_seq: self.next_seq - 1,
            last_at_ms: self.last.at_ms,
            batch_first: self.batch.first,
            end: active.offset,
            epoch: self.last.epoch,
        };
        let offset = u64::from(active.segment.capacity - FOOTER_BYTES);
        let bytes = footer.encode(active.segment.salt);
        let (file, fill) = (Arc::clone(&active.file), Arc::clone(&active.fill));
        self.batch.pieces.push(Piece { file, fill, offset, bytes });
        active.segment.footer.get_or_init(|| footer);
        if let Some(handle) = active.segment.cached_handle() {
            self.shared.keep_open(&active.segment, &handle);
        }
    }

    fn ensure_spare(&self, number: u64) -> bool {
        self.shared.spares.ensure(&self.shared.env, &self.shared.dir, &self.shared.options, number)
    }

    fn below_reserve(&mut self) -> bool {
        let reserve = self.shared.options.free_reserve_bytes;
        if reserve == 0 {
            return false;
        }
        let time_ns = self.shared.env.clock.mono_ns();
        if self.reserve.checked_ns.is_none_or(|checked| time_ns.saturating_sub(checked) >= RETRY_NS) {
            self.reserve.checked_ns = Some(time_ns);
            // An unreadable figure is no reason to refuse: accepted frames have their room in any case.
            let below = self.shared.env.fs.free_bytes(&self.shared.dir).is_ok_and(|free| free < reserve);
            if below != self.reserve.below {
                tracing::warn!(dir = %self.shared.dir.display(), below, reserve, "free space crossed the journal's reserve");
            }
            self.reserve.below = below;
        }
        self.reserve.below
    }

    /// Whether a payload of `payload_bytes` would find room, trying to allocate some where there is none (at most every
    /// 50 ms). For readiness checks.
    pub fn space(&mut self, payload_bytes: u32) -> Space {
        let room = !self.below_reserve()
            && (self.has_room(payload_bytes.saturating_add(FRAME_HEADER_BYTES))
                || self.ensure_spare(self.next_segment));
        if room { Space::Ok } else { Space::Full }
    }

    /// Takes everything buffered. `None` when nothing is, when a batch is under way (its successor may be written only once
    /// it is durable: recovery depends on it), or after a failed write.
    pub fn begin_sync(&mut self) -> Option<SyncBatch> {
        if self.in_flight || self.batch.frames == 0 || self.shared.poisoned().is_some() {
            return None;
        }
        let active = self.active.as_ref()?;
        let batch = std::mem::take(&mut self.batch);
        self.in_flight = true;
        Some(SyncBatch {
            shared: Arc::clone(&self.shared),
            pieces: batch.pieces,
            last: Seq(self.next_seq - 1),
            end: End { segment: active.segment.number, offset: active.offset },
            frames: batch.frames,
            allocate: batch.rolled.then_some(self.next_segment),
            ran: false,
            _lock: Arc::clone(&self.lock),
        })
    }

    /// Publishes what a batch made durable and returns the last durable sequence.
    ///
    /// # Errors
    /// The batch failed; the journal is stopped for good.
    pub fn finish_sync(&mut self, outcome: SyncOutcome) -> Result<Seq, Poisoned> {
        self.in_flight = false;
        for mut buffer in outcome.buffers {
            if self.pool.len() < POOL && buffer.capacity() > HEADER_BYTES as usize {
                buffer.clear();
                self.pool.push(buffer);
            }
        }
        match outcome.result {
            Ok(()) => {
                self.shared.publish(outcome.last, outcome.end);
                Ok(outcome.last)
            }
            Err(error) => Err(self.shared.poison(&error.to_string())),
        }
    }

    /// Writes everything buffered, in this thread. For start-up work, tools and tests.
    ///
    /// # Errors
    /// As `finish_sync`.
    pub fn sync(&mut self) -> Result<Seq, Poisoned> {
        if let Some(mut batch) = self.begin_sync() {
            let outcome = batch.run();
            return self.finish_sync(outcome);
        }
        self.shared.poisoned().map_or_else(|| Ok(self.shared.durable()), |poisoned| Err(poisoned.clone()))
    }

    /// The sequence the next frame will get.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        Seq(self.next_seq)
    }

    /// Last durable sequence.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.durable()
    }

    /// Bytes of frames that wait for `begin_sync`.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.batch.bytes
    }

    /// Why the journal stopped, if it did.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poisoned> {
        self.shared.poisoned().cloned()
    }

    /// Random id of the journal, given when it was created.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.shared.uuid
    }

    /// Epoch written into frames.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Raises the epoch of the frames to come. A lower one than the journal has seen is ignored: returns the one in force.
    pub fn raise_epoch(&mut self, epoch: u32) -> u32 {
        self.epoch = self.epoch.max(epoch);
        self.epoch
    }

    /// A handle for reading; any number of them, on any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// A handle for compression and retention.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance {
        Maintenance::new(Arc::clone(&self.shared))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // From here on maintenance must not touch files that may have another owner.
        *self.shared.closed.lock() = true;
        if self.shared.poisoned().is_none() {
            // Best effort: an older mark only makes the next opening scan more.
            let _ = self.shared.watermark.lock().sync();
        }
    }
}
