//! Opening: the journal, the index, and what the index has missed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use zizon_journal::{Env, Frame, Journal, OpenError as JournalError, ReadError as JournalReadError, Seq as JournalSeq};

use super::core::{Core, Waiters};
use super::heads::Heads;
use super::metrics::Counters;
use super::options::EngineOptions;
use super::state::Engine;
use super::store::IndexStore;
use super::sync::SEAL_KEY;
use crate::codec::PlanReader;
use crate::index::{Index, IndexError, Slot, index_key};

/// Why a table was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal: locked, damaged, of a newer version, or not readable.
    #[error(transparent)]
    Journal(#[from] zizon_journal::OpenError),
    /// The index knows plans that the journal does not have: the journal was lost or replaced by an older one.
    #[error(
        "index is at sequence {index} but the journal ends at {journal}: the journal is not the one this index was made from; restore it"
    )]
    IndexAhead {
        /// Where the index is.
        index: u64,
        /// Where the journal ends.
        journal: u64,
    },
    /// The index was made from another journal, or by a newer version of this program.
    #[error("{0}; if the journal is the right one, delete the index directory and it is rebuilt")]
    IndexForeign(String),
    /// The index directory cannot be used.
    #[error(transparent)]
    Index(IndexError),
    /// A plan in the journal cannot be applied.
    #[error("plan {seq} in the journal cannot be applied: {reason}")]
    Replay {
        /// Its sequence.
        seq: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The index must be rebuilt but the beginning of the journal is gone.
    #[error("index must be rebuilt from sequence {needed}, but the journal begins at {first}")]
    JournalTrimmed {
        /// First sequence needed.
        needed: u64,
        /// First sequence there is.
        first: u64,
    },
}

impl OpenError {
    /// What a person can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        use zizon_journal::OpenError as Journal;
        match self {
            Self::Journal(Journal::Locked { .. }) => "only one process may use it; stop the other one",
            Self::Journal(Journal::Version { .. }) => "start the newer version again, which wrote it",
            Self::Journal(Journal::Options(_)) => "correct the configuration",
            Self::Journal(Journal::Io { .. }) | Self::Index(_) => "check the disk, its space and the files' owner",
            Self::Journal(Journal::Corrupt { .. }) | Self::Replay { .. } => {
                "nothing was changed; keep a copy of the data directory, then restore it from a backup \
                 (zizon fsck names what is damaged)"
            }
            Self::IndexAhead { .. } | Self::JournalTrimmed { .. } => "restore the data directory from a backup, whole",
            Self::IndexForeign(_) => "",
        }
    }
}

/// How far the opening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenProgress {
    /// Whether the whole index is rebuilt, not only its missing end.
    pub rebuild: bool,
    /// Plan applied last.
    pub seq: u64,
    /// Plan to reach.
    pub last: u64,
}

/// Plans between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 16_384;

impl Engine {
    /// Opens the journal in `dir` and the index in `store`, and brings the index up to the journal's end. An
    /// index that is missing or damaged is rebuilt.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(
        env: Env,
        dir: &Path,
        store: Arc<dyn IndexStore>,
        options: EngineOptions,
        progress: &mut dyn FnMut(OpenProgress),
    ) -> Result<Self, OpenError> {
        let clock = env.clock.clone();
        let (journal, recovery) = Journal::open(env, dir, options.journal.clone())?;
        if recovery.truncated_bytes > 0 {
            tracing::warn!(
                bytes = recovery.truncated_bytes,
                "cut off an unfinished write at the journal's end; it was never acknowledged"
            );
        }
        let (index, replayed) = open_index(&journal, &*store, &options, progress)?;
        let durable = journal.durable().0;
        let counters = Counters::default();
        counters.replayed_plans.store(replayed, Relaxed);
        let engine = Self {
            index,
            reader: journal.reader(),
            segments: journal.maintenance(),
            uuid: journal.uuid(),
            clock,
            visible: AtomicU64::new(durable),
            floor: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            // Not known until somebody looks, which the first question does.
            journal_full: AtomicBool::new(true),
            index_full: AtomicBool::new(false),
            status: AtomicU8::new(0),
            counters,
            progress: watch::Sender::new(durable),
            work: Condvar::new(),
            on_damage: Box::new(move || store.mark_damaged()),
            core: Mutex::new(Core {
                heads: Heads::new(options.hot_items),
                journal: Some(journal),
                pending: std::collections::VecDeque::new(),
                pending_plans: std::collections::VecDeque::new(),
                pending_bytes: 0,
                waiters: Waiters::default(),
                last: durable,
                stop: None,
                scratch: Vec::new(),
            }),
            options,
        };
        Ok(engine)
    }
}

fn open_index(
    journal: &Journal,
    store: &dyn IndexStore,
    options: &EngineOptions,
    progress: &mut dyn FnMut(OpenProgress),
) -> Result<(Arc<dyn Index>, u64), OpenError> {
    let uuid = journal.uuid();
    match store.open(uuid) {
        Ok(index) => match catch_up(journal, &*index, options, false, progress) {
            Ok(replayed) => return Ok((index, replayed)),
            Err(CatchUp::Fatal(error)) => return Err(error),
            Err(CatchUp::Index(IndexError::Damaged(what))) => {
                tracing::warn!(reason = %what, "index is damaged, rebuilding it from the journal");
            }
            Err(CatchUp::Index(error)) => return Err(OpenError::Index(error)),
        },
        Err(IndexError::Damaged(what)) => {
            tracing::warn!(reason = %what, "index is missing or damaged, rebuilding it from the journal");
        }
        Err(IndexError::Foreign(what)) => return Err(OpenError::IndexForeign(what)),
        Err(error) => return Err(OpenError::Index(error)),
    }
    store.reset().map_err(OpenError::Index)?;
    let index = store.open(uuid).map_err(OpenError::Index)?;
    match catch_up(journal, &*index, options, true, progress) {
        Ok(replayed) => Ok((index, replayed)),
        Err(CatchUp::Fatal(error)) => Err(error),
        Err(CatchUp::Index(error)) => Err(OpenError::Index(error)),
    }
}

enum CatchUp {
    Fatal(OpenError),
    Index(IndexError),
}

/// Applies what the index has missed and returns how many plans that were.
fn catch_up(
    journal: &Journal,
    index: &dyn Index,
    options: &EngineOptions,
    rebuild: bool,
    progress: &mut dyn FnMut(OpenProgress),
) -> Result<u64, CatchUp> {
    let (persisted, last) = (index.persisted(), journal.durable().0);
    if persisted > last {
        return Err(CatchUp::Fatal(OpenError::IndexAhead { index: persisted, journal: last }));
    }
    let reader = journal.reader();
    let (needed, first) = (persisted + 1, reader.first().0);
    if needed < first {
        return Err(CatchUp::Fatal(OpenError::JournalTrimmed { needed, first }));
    }
    let mut replayed = 0;
    let mut keys = Vec::new();
    for frame in reader.scan(JournalSeq(needed)) {
        let frame = frame.map_err(|error| unread(persisted + replayed + 1, error))?;
        apply_frame(&frame, index, options.inline_bytes, &mut keys).map_err(|reason| replay(frame.seq.0, reason))?;
        replayed += 1;
        if replayed % PROGRESS_EVERY == 0 {
            progress(OpenProgress { rebuild, seq: frame.seq.0, last });
        }
        if replayed % 256 == 0 && options.is_large(&index.state()) {
            flush(index, frame.seq.0).map_err(CatchUp::Index)?;
        }
    }
    progress(OpenProgress { rebuild, seq: last, last });
    if rebuild && last > 0 {
        flush(index, last).map_err(CatchUp::Index)?;
    }
    Ok(replayed)
}

/// A plan that cannot be read. A disk that does not answer, or a descriptor that is missing, is no damage: what is in the
/// journal may be whole, and nobody should restore a backup over it.
fn unread(seq: u64, error: JournalReadError) -> CatchUp {
    match error {
        JournalReadError::Io { file, source } => {
            CatchUp::Fatal(OpenError::Journal(JournalError::Io { what: "reading", file, source }))
        }
        error => replay(seq, error.to_string()),
    }
}

fn replay(seq: u64, reason: String) -> CatchUp {
    CatchUp::Fatal(OpenError::Replay { seq, reason })
}

/// Applies the effects of one frame to an index.
pub(crate) fn apply_frame(
    frame: &Frame,
    index: &dyn Index,
    inline_bytes: usize,
    key: &mut Vec<u8>,
) -> Result<(), String> {
    let text = |error: crate::codec::DecodeError| error.to_string();
    let mut slot = Vec::new();
    for effect in PlanReader::new(&frame.payload).map_err(text)? {
        let effect = effect.map_err(text)?;
        // An image that cannot be decoded must not get into the index.
        effect.item().map_err(text)?;
        index_key(&effect.key, key);
        let value = match &effect.image {
            None => None,
            Some(image) if image.len() <= inline_bytes => {
                Slot::Inline(image).encode(&mut slot);
                Some(slot.as_slice())
            }
            Some(image) => {
                let part = |n: usize| u32::try_from(n).ok();
                let at = part(effect.image_at).zip(part(image.len()));
                let location = at.and_then(|(start, len)| frame.location.slice(start, len));
                Slot::Located(location.ok_or("image lies outside its frame")?).encode(&mut slot);
                Some(slot.as_slice())
            }
        };
        index.apply(key, value, frame.seq.0);
    }
    Ok(())
}

/// Writes everything applied up to `seq` to disk.
pub(crate) fn flush(index: &dyn Index, seq: u64) -> Result<(), IndexError> {
    index.apply(&SEAL_KEY, Some(&[]), seq);
    index.seal();
    while index.maintain(seq)? {}
    Ok(())
}
