//! The check of a running table, on a snapshot.

use std::path::Path;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use super::{FsckError, FsckHooks, FsckOptions, FsckReport, compare, rebuild};
use crate::engine::{Engine, EngineStatus};
use crate::index::{IndexError, IndexRange, Keys};

/// Attempts to take a snapshot between two pieces of background work.
const ATTEMPTS: usize = 64;
/// Pause after the first attempts, so that what moves has time to come to an end.
const PAUSE: Duration = Duration::from_millis(1);
/// Attempts without a pause.
const AT_ONCE: usize = 8;

impl Engine {
    /// Checks what is durable at this moment while writes go on: rebuilds that state from the journal in a
    /// scratch index under `scratch`, and compares. Blocks its thread for long; holds the files of the
    /// snapshot until it ends.
    ///
    /// # Errors
    /// When the check could not be made. What it finds is in the report.
    pub fn check_online(
        &self,
        scratch: &Path,
        options: &FsckOptions,
        hooks: &mut FsckHooks<'_>,
    ) -> Result<FsckReport, FsckError> {
        let (at, snapshot) = self.snapshot()?;
        let reader = self.reader();
        let mut report = FsckReport { first_seq: reader.first().0, last_seq: at, ..FsckReport::default() };
        if let Err(damage) = rebuild::verify(reader, hooks) {
            report.journal_damage = Some(damage);
            return Ok(report);
        }
        let scratch = rebuild::Scratch::new(options.scratch.as_deref().unwrap_or(scratch), &options.engine)?;
        match rebuild::replay(reader, &scratch.index, at, &options.engine, hooks)? {
            Ok(plans) => {
                report.plans = plans;
                compare::compare(reader, scratch.all(at)?, snapshot, options.max_differences, hooks, &mut report);
            }
            Err(damage) => report.journal_damage = Some(damage),
        }
        Ok(report)
    }

    /// [`Engine::check_online`] with the rebuilt state in memory: for simulations, which have no directory.
    ///
    /// # Errors
    /// As there.
    #[cfg(any(test, feature = "simulation"))]
    pub fn check_in_memory(&self, options: &FsckOptions, hooks: &mut FsckHooks<'_>) -> Result<FsckReport, FsckError> {
        let (at, snapshot) = self.snapshot()?;
        let reader = self.reader();
        let mut report = FsckReport { first_seq: reader.first().0, last_seq: at, ..FsckReport::default() };
        if let Err(damage) = rebuild::verify(reader, hooks) {
            report.journal_damage = Some(damage);
            return Ok(report);
        }
        let scratch = crate::index::MemIndex::open(crate::index::MemDisk::default());
        match rebuild::replay(reader, &scratch, at, &options.engine, hooks)? {
            Ok(plans) => {
                report.plans = plans;
                let rebuilt = crate::index::Index::range(&scratch, Keys::All, at).map_err(FsckError::Scratch)?;
                compare::compare(reader, rebuilt, snapshot, options.max_differences, hooks, &mut report);
            }
            Err(damage) => report.journal_damage = Some(damage),
        }
        Ok(report)
    }

    /// All of the index at one moment. The range keeps what it needs.
    fn snapshot(&self) -> Result<(u64, IndexRange), FsckError> {
        for attempt in 0..ATTEMPTS {
            if attempt >= AT_ONCE {
                std::thread::sleep(PAUSE);
            }
            if matches!(self.status(), EngineStatus::Closed | EngineStatus::Failed) {
                return Err(FsckError::Closed);
            }
            let at = self.visible();
            match self.index().range(Keys::All, at) {
                Ok(range) if self.floor().load(Acquire) <= at => return Ok((at, range)),
                Ok(_) | Err(IndexError::Moved) => {}
                Err(error) => return Err(FsckError::Scratch(error)),
            }
        }
        Err(FsckError::Moving { attempts: ATTEMPTS })
    }
}
