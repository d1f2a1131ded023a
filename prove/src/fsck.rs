//! What `zizon fsck --json` prints.

use serde::Deserialize;
use zizon_contracts::fsck::StoreFinding;

use crate::proof::FsckSeen;

/// The document.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    ok: bool,
    stores: Vec<StoreFinding>,
}

impl Document {
    /// As a check sees it.
    pub(crate) fn seen(&self) -> FsckSeen {
        FsckSeen::of(self.ok, &self.stores)
    }
}
