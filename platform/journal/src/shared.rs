//! What the writer, the readers and maintenance share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::cache::BlockCache;
use crate::env::Env;
use crate::error::{Poisoned, ReadError};
use crate::options::Options;
use crate::segment::{Handle, Segment};
use crate::spare::Spares;
use crate::types::Seq;
use crate::watermark::WatermarkFile;

/// End of what is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

impl End {
    fn pack(self) -> u64 {
        debug_assert!(self.segment <= u64::from(u32::MAX));
        self.segment << 32 | u64::from(self.offset)
    }

    fn unpack(packed: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the offset")]
        let offset = packed as u32;
        Self { segment: packed >> 32, offset }
    }
}

pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: [u8; 16],
    pub(crate) options: Options,
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) watermark: Mutex<WatermarkFile>,
    pub(crate) spares: Spares,
    pub(crate) cache: BlockCache,
    /// Serialises maintenance with closing; true once the journal was closed.
    pub(crate) closed: Mutex<bool>,
    poison: OnceLock<Poisoned>,
    end: AtomicU64,
    durable: AtomicU64,
    /// Complete segments with an open handle, oldest opening first.
    opened: Mutex<VecDeque<Arc<Segment>>>,
}

impl Shared {
    pub(crate) fn new(
        env: Env,
        dir: PathBuf,
        options: Options,
        watermark: WatermarkFile,
        spares: Spares,
        segments: BTreeMap<u64, Arc<Segment>>,
    ) -> Self {
        let mark = *watermark.mark();
        Self {
            env,
            dir,
            uuid: mark.uuid,
            cache: BlockCache::new(options.block_cache_bytes),
            options,
            segments: RwLock::new(segments),
            watermark: Mutex::new(watermark),
            spares,
            closed: Mutex::new(false),
            poison: OnceLock::new(),
            end: AtomicU64::new(End { segment: mark.segment, offset: mark.offset }.pack()),
            durable: AtomicU64::new(mark.seq),
            opened: Mutex::default(),
        }
    }

    pub(crate) fn end(&self) -> End {
        End::unpack(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn durable(&self) -> Seq {
        Seq(self.durable.load(Ordering::Acquire))
    }

    /// The end goes first: whoever sees the sequence can read the frame.
    pub(crate) fn publish(&self, seq: Seq, end: End) {
        self.end.store(end.pack(), Ordering::Release);
        self.durable.store(seq.0, Ordering::Release);
    }

    /// Stops all writing for good; the first reason is kept.
    pub(crate) fn poison(&self, reason: &str) -> Poisoned {
        let poisoned = self.poison.get_or_init(|| {
            tracing::error!(dir = %self.dir.display(), reason, "journal stopped after a failed write");
            Poisoned { reason: reason.into() }
        });
        poisoned.clone()
    }

    pub(crate) fn poisoned(&self) -> Option<&Poisoned> {
        self.poison.get()
    }

    pub(crate) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.segments.read().get(&number).cloned()
    }

    /// Sequence of the oldest frame that is kept.
    pub(crate) fn first_seq(&self) -> Seq {
        self.segments.read().values().next().map_or(Seq(1), |segment| Seq(segment.first_seq))
    }

    /// Offset up to which frames of `segment` may be read.
    pub(crate) fn readable_end(&self, segment: &Segment) -> u32 {
        let end = self.end();
        match segment.number.cmp(&end.segment) {
            std::cmp::Ordering::Less => segment.footer.get().map_or(0, |footer| footer.end),
            std::cmp::Ordering::Equal => end.offset,
            std::cmp::Ordering::Greater => 0,
        }
    }

    /// The open file of a segment. The number of open complete segments is bounded.
    pub(crate) fn handle(&self, segment: &Arc<Segment>) -> Result<Arc<Handle>, ReadError> {
        if let Some(handle) = segment.cached_handle() {
            return Ok(handle);
        }
        let handle = Arc::new(Handle::open(&self.env, segment, &self.uuid).map_err(|error| self.gone(segment, error))?);
        self.keep_open(segment, &handle);
        Ok(handle)
    }

    /// Caches the handle of a complete segment and closes the one that was opened longest ago.
    pub(crate) fn keep_open(&self, segment: &Arc<Segment>, handle: &Arc<Handle>) {
        segment.set_handle(Some(Arc::clone(handle)));
        let mut opened = self.opened.lock();
        opened.retain(|other| other.number != segment.number);
        opened.push_back(Arc::clone(segment));
        while opened.len() > self.options.open_files {
            if let Some(oldest) = opened.pop_front() {
                oldest.set_handle(None);
            }
        }
    }

    fn gone(&self, segment: &Segment, error: ReadError) -> ReadError {
        match error {
            ReadError::Io { source, .. }
                if source.kind() == io::ErrorKind::NotFound && self.segment(segment.number).is_none() =>
            {
                ReadError::Gone { first: self.first_seq() }
            }
            other => other,
        }
    }
}
