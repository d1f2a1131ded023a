//! The state as the journal tells it, in a scratch index.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use zizon_journal::{Reader, Seq};

use super::{FsckError, FsckHooks, FsckProgress, FsckStep};
use crate::engine::{EngineOptions, apply_frame, flush};
use crate::index::{Index, IndexError, IndexRange, Keys, LsmIndex};

/// Plans between two looks at memory and progress.
const LOOK_EVERY: u64 = 4_096;

/// An index that is removed when the check ends.
pub(super) struct Scratch {
    pub index: LsmIndex,
    _dir: Removed,
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), error = %error, "scratch directory was not removed");
        }
    }
}

impl Scratch {
    pub fn new(parent: &Path, options: &EngineOptions) -> Result<Self, FsckError> {
        let failed = |error: std::io::Error| FsckError::Scratch(IndexError::Io(error));
        // Several checks may run in one process.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = parent.join(format!("fsck-{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(failed)?;
        }
        fs::create_dir_all(&dir).map_err(failed)?;
        let removed = Removed(dir.clone());
        let index = LsmIndex::open(&dir, &options.index).map_err(FsckError::Scratch)?;
        Ok(Self { index, _dir: removed })
    }

    pub fn all(&self, at: u64) -> Result<IndexRange, FsckError> {
        self.index.range(Keys::All, at).map_err(FsckError::Scratch)
    }
}

/// Removes what a check that was killed has left. The caller owns the table.
pub(crate) fn remove_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("fsck-") && name.ends_with(".tmp") {
            drop(Removed(entry.path()));
        }
    }
}

/// Verifies every byte of the journal.
pub(super) fn verify(reader: &Reader, hooks: &mut FsckHooks<'_>) -> Result<(), String> {
    let progress = &mut *hooks.progress;
    let verified = reader.verify(&mut |at| {
        progress(FsckProgress { step: FsckStep::Verify, done: at.done_bytes, of: at.total_bytes });
    });
    verified.map(|_| ()).map_err(|error| error.to_string())
}

/// Applies all plans up to `last`. The outer error is the scratch index's, the inner one the journal's.
pub(super) fn replay(
    reader: &Reader,
    index: &dyn Index,
    last: u64,
    options: &EngineOptions,
    hooks: &mut FsckHooks<'_>,
) -> Result<Result<u64, String>, FsckError> {
    let (mut plans, mut key) = (0, Vec::new());
    for frame in reader.scan(Seq(1)) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if frame.seq.0 > last {
            break;
        }
        if let Err(reason) = apply_frame(&frame, index, options.inline_bytes, &mut key) {
            return Ok(Err(format!("plan {}: {reason}", frame.seq.0)));
        }
        plans += 1;
        if plans % LOOK_EVERY == 0 {
            (hooks.progress)(FsckProgress { step: FsckStep::Rebuild, done: frame.seq.0, of: last });
            if options.is_large(&index.state()) {
                flush(index, frame.seq.0).map_err(FsckError::Scratch)?;
            }
        }
    }
    Ok(Ok(plans))
}
