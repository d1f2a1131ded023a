//! Compression and retention, away from the write path.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::compress;
use crate::error::MaintenanceError;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::types::Seq;

/// Handle for work that may run on any thread while the journal is written and read. Calls wait for one another.
#[derive(Clone)]
pub struct Maintenance {
    shared: Arc<Shared>,
}

/// What a call of `retain_from` removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Number of segments removed.
    pub segments: u64,
    /// First sequence that is left.
    pub first: Seq,
}

impl Maintenance {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Number of complete durable segments that are not compressed.
    #[must_use]
    pub fn raw_sealed(&self) -> usize {
        self.candidates().len()
    }

    /// Compresses the oldest complete segment that is not compressed. `false` when there is none, or `compress_sealed` is
    /// off. Readers go on undisturbed: those in the middle of the raw file keep it, later ones get the compressed one.
    ///
    /// # Errors
    /// `Read` when the segment is damaged (it is left as it is), `NoSpace`, `Closed`, `Io`.
    pub fn compress_one(&self) -> Result<bool, MaintenanceError> {
        if !self.shared.options.compress_sealed {
            return Ok(false);
        }
        let closed = self.shared.closed.lock();
        if *closed {
            return Err(MaintenanceError::Closed);
        }
        let Some(segment) = self.candidates().into_iter().next() else { return Ok(false) };
        compress::run(&self.shared, &segment)?;
        Ok(true)
    }

    /// Zeroes a piece of the segment that is written to, or of the next one, ahead of the writer: syncs of blocks that hold
    /// zeros are cheaper than of ones only allocated. `false` when nothing is left to do. The journal is sound without.
    pub fn fill_one(&self) -> bool {
        let closed = self.shared.closed.lock();
        if *closed || self.shared.poisoned().is_some() {
            return false;
        }
        let Some(fill) = self.shared.spares.to_fill() else { return false };
        match fill.step(&self.shared.env) {
            Ok(true) => {}
            Ok(false) => self.shared.spares.filled(&fill),
            Err(error) => {
                // What the disk has against it, the writer will be told itself.
                tracing::warn!(dir = %self.shared.dir.display(), %error, "a journal segment was not zeroed ahead");
                fill.give_up();
                self.shared.spares.filled(&fill);
            }
        }
        true
    }

    fn candidates(&self) -> Vec<Arc<Segment>> {
        let end = self.shared.end();
        let segments = self.shared.segments.read();
        let complete = segments.range(..end.segment).map(|(_, segment)| segment);
        complete.filter(|segment| !segment.compressed.load(Ordering::Relaxed)).cloned().collect()
    }

    /// Removes the segments whose frames all lie before `from`; never the one being written. Nothing else ever removes
    /// frames.
    ///
    /// # Errors
    /// `Closed`, `Io`. The decision stands once it was recorded; the next opening removes what is left.
    pub fn retain_from(&self, from: Seq) -> Result<Retained, MaintenanceError> {
        let closed = self.shared.closed.lock();
        if *closed {
            return Err(MaintenanceError::Closed);
        }
        let end = self.shared.end();
        let removed: Vec<Arc<Segment>> = {
            let segments = self.shared.segments.read();
            let before = segments.range(..end.segment).map(|(_, segment)| segment);
            before.take_while(|s| s.footer.get().is_some_and(|f| f.last_seq < from.0)).cloned().collect()
        };
        let Some(last) = removed.last() else { return Ok(Retained { segments: 0, first: self.shared.first_seq() }) };
        // The decision is durable before the first file goes, so that an opening can tell it from a loss.
        let result = self.shared.watermark.lock().retain_from(last.number + 1);
        result.map_err(|source| {
            self.shared.poison(&source.to_string());
            failed("recording retention in", self.shared.dir.join(crate::watermark::NAME), source)
        })?;
        for segment in &removed {
            self.shared.segments.write().remove(&segment.number);
            let result = self.shared.env.fs.remove(&segment.path);
            result.map_err(|source| failed("removing", segment.path.clone(), source))?;
        }
        let result = self.shared.env.fs.sync_dir(&self.shared.dir);
        result.map_err(|source| failed("syncing", self.shared.dir.clone(), source))?;
        Ok(Retained { segments: removed.len() as u64, first: self.shared.first_seq() })
    }
}

pub(crate) fn failed(what: &'static str, file: PathBuf, source: std::io::Error) -> MaintenanceError {
    MaintenanceError::Io { what, file, source }
}
