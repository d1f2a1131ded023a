//! What can go wrong at the port.

use super::item::Item;

/// Why a write did not, or may not, have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A condition did not hold; nothing was written.
    #[error("condition of operation {op} does not hold")]
    CondFailed {
        /// Position of the first operation whose condition does not hold.
        op: usize,
        /// The item it looked at, as it was.
        existing: Option<Item>,
    },
    /// Another write was in the way; nothing was written; a retry may succeed. The embedded engine never says so.
    #[error("another write to the same item was in the way")]
    Conflict,
    /// Too many writes at once; nothing was written; retry later.
    #[error("too many writes in flight")]
    Throttled,
    /// The write may or may not have happened. Never to be turned into "failed".
    #[error("the outcome of the write is not known")]
    Unknown,
    /// The item or the plan is larger than the port allows; nothing was written.
    #[error("item or plan too large")]
    TooLarge,
    /// No space on the disk; nothing was written; reads go on and writes recover when space returns.
    #[error("disk full")]
    Full,
    /// A later epoch has taken over; nothing was written and this process must not write any more.
    #[error("fenced by epoch {epoch}")]
    Fenced {
        /// The epoch that took over.
        epoch: u64,
    },
    /// The request makes no sense (duplicate key in a plan, overlapping patches, sum out of range); nothing was written.
    #[error("invalid write: {0}")]
    Invalid(String),
    /// The table is closed, by its owner or by a fault; nothing was written.
    #[error("table closed")]
    Closed,
}

/// Why a read gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The request makes no sense (key too long, foreign cursor).
    #[error("invalid read: {0}")]
    Invalid(String),
    /// What is stored does not match its checksum or format; it is not served.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// The storage did not answer; a retry may succeed.
    #[error("storage does not answer: {0}")]
    Unavailable(String),
    /// Too many reads at once; retry later.
    #[error("too many reads in flight")]
    Throttled,
    /// The feed no longer reaches back to this position.
    #[error("changes before {first} are no longer kept")]
    Trimmed {
        /// The oldest position still kept.
        first: u64,
    },
    /// The table is closed.
    #[error("table closed")]
    Closed,
}
