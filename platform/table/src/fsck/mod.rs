//! The check: state rebuilt from the journal, compared with what the index says, both ways.
//!
//! Memory is bounded: the rebuilt state goes into an index of its own in a scratch directory, and the two are
//! read side by side in the order of their keys.

mod background;
mod compare;
mod online;
mod rebuild;

use std::path::{Path, PathBuf};

use zizon_journal::{Env, Journal};

pub use background::{CheckState, OnlineChecks, Pace};
pub use compare::Difference;
pub(crate) use rebuild::remove_leftovers;

use crate::engine::{EngineOptions, IndexStore, LsmStore};
use crate::index::{Index, IndexError, Keys};
use crate::model::item::Item;

/// How to check.
#[derive(Debug, Clone)]
pub struct FsckOptions {
    /// Options of the engine that writes the table.
    pub engine: EngineOptions,
    /// Where the rebuilt index goes; `None`: into the table's own directory. Removed afterwards.
    pub scratch: Option<PathBuf>,
    /// Differences to describe; all are counted.
    pub max_differences: usize,
}

impl Default for FsckOptions {
    fn default() -> Self {
        Self { engine: EngineOptions::default(), scratch: None, max_differences: 16 }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// First and last plan of the journal.
    pub first_seq: u64,
    /// Last plan that was checked.
    pub last_seq: u64,
    /// Plans read.
    pub plans: u64,
    /// Bytes that an unfinished write had left at the journal's end; never acknowledged.
    pub truncated_bytes: u64,
    /// Items by the journal.
    pub items: u64,
    /// Items by the index.
    pub index_items: u64,
    /// What is wrong with the journal, if anything.
    pub journal_damage: Option<String>,
    /// Why the index could not be compared, if so. It can be rebuilt.
    pub index_damage: Option<String>,
    /// Differences found.
    pub difference_count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Items that could not be read; what is said about all items rests on fewer.
    pub unreadable: u64,
}

impl FsckReport {
    /// Whether journal and index are whole and agree.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.journal_damage.is_none() && self.index_damage.is_none() && self.difference_count == 0
    }

    /// Whether every item of the journal was read, so that conclusions from all of them hold.
    #[must_use]
    pub fn all_read(&self) -> bool {
        self.journal_damage.is_none() && self.unreadable == 0
    }

    /// The first thing that is wrong, the journal before the index, the index before single items.
    #[must_use]
    pub fn first_difference(&self) -> Option<String> {
        let damage = self.journal_damage.as_ref().map(|damage| format!("journal: {damage}"));
        let damage = damage.or_else(|| self.index_damage.as_ref().map(|damage| format!("index: {damage}")));
        damage.or_else(|| self.differences.first().map(ToString::to_string))
    }
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckProgress {
    /// What it is doing.
    pub step: FsckStep,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 when unknown.
    pub of: u64,
}

/// The steps of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsckStep {
    /// Verifying every byte of the journal; counted in bytes.
    Verify,
    /// Rebuilding the state; counted in plans.
    Rebuild,
    /// Comparing; counted in items.
    Compare,
}

impl std::fmt::Display for FsckStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Verify => "verifying the journal",
            Self::Rebuild => "rebuilding the state",
            Self::Compare => "comparing with the index",
        })
    }
}

/// Why a table could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The table is in use.
    #[error("table is in use by process {pid}; stop it, or check it online")]
    Locked {
        /// The process.
        pid: u32,
    },
    /// There is no table.
    #[error("no table in {}", .0.display())]
    NoTable(PathBuf),
    /// The journal cannot be opened for another reason than damage.
    #[error(transparent)]
    Journal(zizon_journal::OpenError),
    /// The scratch index failed.
    #[error("scratch index: {0}")]
    Scratch(#[source] IndexError),
    /// The engine has stopped.
    #[error("table closed")]
    Closed,
    /// No moment was found that lasted long enough to be read: writes went on too fast.
    #[error("the table moved on {attempts} times before a snapshot of it could be taken; check it again")]
    Moving {
        /// Attempts made.
        attempts: usize,
    },
}

/// What a check calls on its way.
pub struct FsckHooks<'a> {
    /// Told about progress now and then.
    pub progress: &'a mut dyn FnMut(FsckProgress),
    /// Given every item as the journal has it, in the order of keys.
    pub visit: &'a mut dyn FnMut(&Item),
}

/// Checks the table in `dir`. It must not be in use; opening the journal cuts off an unfinished write at its
/// end, as any start does.
///
/// # Errors
/// When the check could not be made. What it finds is in the report.
pub fn fsck(dir: &Path, options: &FsckOptions, hooks: &mut FsckHooks<'_>) -> Result<FsckReport, FsckError> {
    let journal_dir = dir.join("journal");
    if !journal_dir.is_dir() {
        return Err(FsckError::NoTable(dir.to_owned()));
    }
    let (journal, recovery) = match Journal::open(Env::real(), &journal_dir, options.engine.journal.clone()) {
        Ok(opened) => opened,
        Err(zizon_journal::OpenError::Locked { pid }) => return Err(FsckError::Locked { pid }),
        Err(error @ zizon_journal::OpenError::Corrupt { .. }) => {
            return Ok(FsckReport { journal_damage: Some(error.to_string()), ..FsckReport::default() });
        }
        Err(error) => return Err(FsckError::Journal(error)),
    };
    rebuild::remove_leftovers(dir);
    let reader = journal.reader();
    let last = journal.durable().0;
    let mut report = FsckReport {
        first_seq: reader.first().0,
        last_seq: last,
        truncated_bytes: recovery.truncated_bytes,
        ..FsckReport::default()
    };
    if let Err(error) = rebuild::verify(&reader, hooks) {
        report.journal_damage = Some(error);
        return Ok(report);
    }
    let scratch = rebuild::Scratch::new(options.scratch.as_deref().unwrap_or(dir), &options.engine)?;
    report.plans = match rebuild::replay(&reader, &scratch.index, last, &options.engine, hooks)? {
        Ok(plans) => plans,
        Err(damage) => {
            report.journal_damage = Some(damage);
            return Ok(report);
        }
    };
    match open_index(dir, &journal, &options.engine) {
        Ok(index) => {
            let found = index.range(Keys::All, last).map_err(FsckError::Scratch)?;
            compare::compare(&reader, scratch.all(last)?, found, options.max_differences, hooks, &mut report);
        }
        Err(damage) => {
            report.index_damage = Some(damage);
            compare::visit(&reader, scratch.all(last)?, options.max_differences, hooks, &mut report);
        }
    }
    Ok(report)
}

/// The table's own index, with what it has missed applied in memory. Nothing is written.
fn open_index(dir: &Path, journal: &Journal, options: &EngineOptions) -> Result<std::sync::Arc<dyn Index>, String> {
    let index_dir = dir.join("index");
    if !index_dir.is_dir() {
        return Err("index is missing".to_owned());
    }
    let index = LsmStore::new(&index_dir, options.index.clone()).open(journal.uuid()).map_err(|e| e.to_string())?;
    let persisted = index.persisted();
    let last = journal.durable().0;
    if persisted > last {
        return Err(format!("index is at sequence {persisted} but the journal ends at {last}"));
    }
    let mut key = Vec::new();
    for frame in journal.reader().scan(zizon_journal::Seq(persisted + 1)) {
        let frame = frame.map_err(|error| error.to_string())?;
        crate::engine::apply_frame(&frame, &*index, options.inline_bytes, &mut key)?;
    }
    Ok(index)
}
