//! The feed: frames of the journal, told as changes.

use zizon_journal::Seq as JournalSeq;

use super::metrics::EngineStatus;
use super::read::journal_error;
use super::state::Engine;
use crate::codec::PlanReader;
use crate::model::error::ReadError;
use crate::model::limits::{MAX_CHANGES, MAX_CHANGES_BYTES};
use crate::port::check::check_shard;
use crate::port::{Change, Seq, ShardId};

impl Engine {
    /// Changes at positions from `from` on; see [`crate::Table::changes`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        check_shard(shard)?;
        if matches!(self.status(), EngineStatus::Closed | EngineStatus::Failed) {
            return Err(ReadError::Closed);
        }
        let first = self.reader.first().0;
        let from = from.0.max(1);
        if from < first {
            return Err(ReadError::Trimmed { first });
        }
        let limit = limit.clamp(1, MAX_CHANGES) as usize;
        // Not beyond what reads see, so that a follower who reads an item finds at least what it was told.
        let visible = self.visible();
        let (mut changes, mut bytes) = (Vec::new(), 0);
        if from > visible {
            return Ok(changes);
        }
        for frame in self.reader.scan(JournalSeq(from)) {
            let frame = frame.map_err(|error| journal_error(&error))?;
            if frame.seq.0 > visible || changes.len() >= limit || bytes >= MAX_CHANGES_BYTES {
                break;
            }
            bytes += frame.payload.len();
            let corrupt = |error| ReadError::Corrupt(format!("plan {}: {error}", frame.seq.0));
            for effect in PlanReader::new(&frame.payload).map_err(corrupt)? {
                let effect = effect.map_err(corrupt)?;
                let new = effect.item().map_err(corrupt)?;
                changes.push(Change { seq: Seq(frame.seq.0), at_ms: frame.at_ms, key: effect.key, new });
            }
        }
        Ok(changes)
    }

    /// Waits until something after `after` is visible, or the engine stops.
    pub async fn wait_change(&self, after: Seq) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as the engine, so this ends with a value.
        let _ = progress.wait_for(|visible| *visible > after.0 || *visible == u64::MAX).await;
    }
}
