//! What the engine's lock guards, and what a caller holds while it waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use zizon_journal::{Journal, Location};

use super::heads::Heads;
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::port::Applied;

/// What the engine's lock guards.
pub(super) struct Core {
    /// `None` once the engine is closed.
    pub journal: Option<Journal>,
    pub heads: Heads,
    /// Effects of plans that are not in the index yet, in order.
    pub pending: VecDeque<Effect>,
    /// Plans that are not in the index yet, and the bytes of their frames.
    pub pending_plans: VecDeque<(u64, usize)>,
    pub pending_bytes: u64,
    pub waiters: Waiters,
    /// Newest plan appended.
    pub last: u64,
    /// Whether anything is refused for good.
    pub stop: Option<Stop>,
    /// Frame under construction.
    pub scratch: Vec<u8>,
}

/// Why nothing is written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Closing,
    JournalFailed,
    IndexDamaged,
}

/// What a plan does to one item.
#[derive(Debug)]
pub(super) struct Effect {
    pub seq: u64,
    pub key: Key,
    /// The item afterwards; `None` when it was deleted.
    pub item: Option<Arc<Item>>,
    /// Where its image will be in the journal, if the index shall not hold it itself.
    pub located: Option<Location>,
}

/// The state of an item as a plan saw it, before it is decoded.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Absent,
    Item(Arc<Item>),
    /// Bytes of an index slot.
    Slot(Vec<u8>),
}

/// A plan's outcome that holds once a sequence is durable.
#[derive(Debug)]
pub(super) enum Outcome {
    Applied(Applied),
    Refused(WriteError),
    CondFailed { op: usize, key: Key, seen: Seen },
}

/// A claim to an outcome.
#[derive(Debug)]
pub struct Ticket {
    /// The outcome is certain once this sequence is durable.
    pub(super) seq: u64,
    pub(super) outcome: Outcome,
    /// Its place among the wakers, if it has one.
    pub(super) waiter: Option<Place>,
}

impl Ticket {
    /// The sequence the outcome waits for.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// Answer to a submission.
#[derive(Debug)]
pub enum Submitted {
    /// The outcome is certain.
    Done(Result<Applied, WriteError>),
    /// The outcome is certain once more is durable.
    Waiting(Ticket),
}

/// Wakers by the sequence they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Vec<Waiter>,
    next_id: u64,
}

/// Where a waiter is, unless others have gone before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    id: u64,
    at: usize,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    seq: u64,
    waker: Waker,
}

impl Waiters {
    pub fn add(&mut self, seq: u64, waker: Waker) -> Place {
        self.next_id += 1;
        self.list.push(Waiter { id: self.next_id, seq, waker });
        Place { id: self.next_id, at: self.list.len() - 1 }
    }

    /// Replaces the waker of a waiter that was polled again; adds one if it has none or it is gone.
    pub fn renew(&mut self, place: Option<Place>, seq: u64, waker: &Waker) -> Place {
        let Some(Place { id, at }) = place else { return self.add(seq, waker.clone()) };
        let stays = self.list.get(at).is_some_and(|waiter| waiter.id == id);
        // One moves when those before it are taken, which happens to few and not often.
        let found = if stays { Some(at) } else { self.list.iter().position(|waiter| waiter.id == id) };
        match found {
            Some(at) => {
                self.list[at].waker.clone_from(waker);
                Place { id, at }
            }
            None => self.add(seq, waker.clone()),
        }
    }

    /// Takes those who wait for `through` or less.
    pub fn take(&mut self, through: u64, into: &mut Vec<Waker>) {
        let mut at = 0;
        while at < self.list.len() {
            if self.list[at].seq <= through {
                into.push(self.list.swap_remove(at).waker);
            } else {
                at += 1;
            }
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }
}
