//! What a restore leaves in the data directory it makes.

use serde::{Deserialize, Serialize};

use crate::catalog::History;

/// Content of [`crate::paths::Paths::restored_file`].
///
/// What is restored may be older than what its readers have seen, and then grow past it: the same positions stand for other
/// states. So every restore begins a history of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Random; mixed into the history of every feed, see [`History::restored`].
    pub history: History,
    /// Id of the backup it was restored from.
    pub backup: String,
    /// When, in milliseconds since the epoch.
    pub restored_at_ms: u64,
}
