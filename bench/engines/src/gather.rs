//! The pause after a large group, the same for every engine: what our table does between two batches
//! (`gather` in platform/table/src/engine/threads.rs). Without it, clients that were answered with a group and send again
//! at once form two groups that take turns, and every sync serves half of them.

use std::time::Duration;

/// A group from this size on is followed by a pause.
const CROWD: usize = 16;

/// The longest pause.
#[derive(Debug, Clone, Copy)]
pub struct Gather(pub Duration);

impl Gather {
    /// No longer than `most`; none when that is zero.
    pub const fn at_most(most: Duration) -> Self {
        Self(most)
    }

    /// Lets those who were answered with a group of `plans` send again before the next is taken. `wrote` is how long it took
    /// to write and sync the group.
    pub fn pause(self, wrote: Duration, plans: usize) {
        if plans >= CROWD && !self.0.is_zero() {
            std::thread::sleep((wrote / 8).min(self.0));
        }
    }
}
