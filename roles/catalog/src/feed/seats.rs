//! Who reads the feed, and how far each has come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A bounded number of readers.
#[derive(Debug)]
pub(super) struct Seats {
    max: usize,
    taken: Mutex<Taken>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    positions: BTreeMap<u64, u64>,
}

/// One reader's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
}

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default(), dropped: AtomicU64::new(0) })
    }

    pub(super) fn take(self: &Arc<Self>, position: u64) -> Option<Seat> {
        let mut taken = self.taken.lock();
        if taken.positions.len() >= self.max {
            return None;
        }
        let id = taken.next;
        taken.next += 1;
        taken.positions.insert(id, position);
        Some(Seat { seats: self.clone(), id })
    }

    pub(super) fn positions(&self) -> Vec<u64> {
        self.taken.lock().positions.values().copied().collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Seat {
    pub(super) fn moved_to(&self, position: u64) {
        self.seats.taken.lock().positions.insert(self.id, position);
    }

    pub(super) fn too_slow(&self) {
        self.seats.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().positions.remove(&self.id);
    }
}
