//! Who asked what and when, and what was answered: the histories that are checked after a run.

use std::collections::BTreeMap;

use zizon_base::ids::OrderId;
use zizon_orders::simulation::is_shard;
use zizon_table::{Applied, Durability, Item, Key, Op, WriteError};

use crate::linear::counter::{self, State};
use crate::linear::{End, Entry, order};

/// A call of one object's history.
type Place = (Key, usize);

/// A write under way.
pub(crate) struct Writing {
    ops: Vec<Op>,
    /// Where its calls stand in the histories, by operation.
    places: Vec<(usize, Place)>,
}

/// A request to an order under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    id: OrderId,
    at: usize,
}

/// The histories of one run.
#[derive(Default)]
pub(crate) struct Recorder {
    now: u64,
    pub shards: BTreeMap<Key, Vec<Entry<counter::Call>>>,
    pub orders: BTreeMap<OrderId, Vec<Entry<order::Call>>>,
    /// Writes that were answered before they were durable, with their positions.
    ordered: Vec<(u64, Place)>,
    /// Units available of each product at every moment: since when, how many.
    levels: Vec<Vec<(u64, i64)>>,
    /// Calls of the table that were answered "unknown" because the way to it is bad.
    pub unknown: u64,
    /// Calls that were refused for the same reason.
    pub refused: u64,
}

impl Recorder {
    /// A moment that no other event has.
    pub fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub fn write_begins(&mut self, ops: &[Op]) -> Writing {
        let begin = self.tick();
        let mut places = Vec::new();
        for (at, op) in ops.iter().enumerate().filter(|(_, op)| is_shard(op.key())) {
            let history = self.shards.entry(op.key().clone()).or_default();
            history.push(Entry { call: counter::Call::Changed(op.clone()), begin, end: End::Unknown(u64::MAX) });
            places.push((at, (op.key().clone(), history.len() - 1)));
        }
        let ops = if places.is_empty() { Vec::new() } else { ops.to_vec() };
        Writing { ops, places }
    }

    pub fn write_ends(
        &mut self,
        mut writing: Writing,
        answer: &Result<Applied, WriteError>,
        durability: Durability,
        visible: u64,
    ) {
        let now = self.tick();
        for (at, place) in std::mem::take(&mut writing.places) {
            match answer {
                Ok(applied) if durability == Durability::Ordered && applied.seq.0 > visible => {
                    self.ordered.push((applied.seq.0, place));
                }
                Ok(_) => self.set(&place, |entry| entry.end = End::At(now)),
                // It may have happened, until the process that is at fault ends.
                Err(WriteError::Unknown) => {}
                Err(WriteError::CondFailed { op, existing }) => {
                    let (op, seen) = (*op, State(existing.clone()));
                    let own = writing.ops[at].clone();
                    let call = match at.cmp(&op) {
                        std::cmp::Ordering::Less => counter::Call::Held(own),
                        std::cmp::Ordering::Equal => counter::Call::Failed(own, seen),
                        std::cmp::Ordering::Greater => {
                            self.never_happened(&place);
                            continue;
                        }
                    };
                    self.set(&place, |entry| (entry.call, entry.end) = (call, End::At(now)));
                }
                Err(_) => self.never_happened(&place),
            }
        }
    }

    /// Nothing was done and nothing was learned: it could only have happened before it began.
    fn never_happened(&mut self, place: &Place) {
        self.set(place, |entry| entry.end = End::Unknown(0));
    }

    fn set(&mut self, (key, at): &Place, change: impl FnOnce(&mut Entry<counter::Call>)) {
        if let Some(entry) = self.shards.get_mut(key).and_then(|history| history.get_mut(*at)) {
            change(entry);
        }
    }

    /// A read that began and ended at this moment.
    pub fn was_read(&mut self, keys: &[Key], items: &[Option<Item>]) {
        let begin = self.tick();
        let end = End::At(self.tick());
        for (key, item) in keys.iter().zip(items).filter(|(key, _)| is_shard(key)) {
            let call = counter::Call::Read(State(item.clone()));
            self.shards.entry(key.clone()).or_default().push(Entry { call, begin, end });
        }
    }

    /// Everything up to `visible` is durable and seen by readers.
    pub fn visible(&mut self, visible: u64) {
        let now = self.tick();
        let (done, left) = std::mem::take(&mut self.ordered).into_iter().partition(|(seq, _)| *seq <= visible);
        self.ordered = left;
        let done: Vec<(u64, Place)> = done;
        for (_, place) in done {
            self.set(&place, |entry| entry.end = End::At(now));
        }
    }

    /// The process has ended: whatever it had not answered took effect by now, or never.
    pub fn crashed(&mut self) {
        let now = self.tick();
        self.ordered.clear();
        let open = |end: &mut End| {
            if *end == End::Unknown(u64::MAX) {
                *end = End::Unknown(now);
            }
        };
        self.shards.values_mut().flatten().for_each(|entry| open(&mut entry.end));
        self.orders.values_mut().flatten().for_each(|entry| open(&mut entry.end));
    }

    /// A request about an order begins; `unknown` is what is known of it until it is answered.
    pub fn asked(&mut self, id: OrderId, unknown: order::Call) -> Asking {
        let begin = self.tick();
        let history = self.orders.entry(id).or_default();
        history.push(Entry { call: unknown, begin, end: End::Unknown(u64::MAX) });
        Asking { id, at: history.len() - 1 }
    }

    /// It was answered; `None`: the answer says that nothing was done, and nothing else.
    pub fn answered(&mut self, asking: Asking, call: Option<order::Call>) {
        let now = self.tick();
        if let Some(entry) = self.orders.get_mut(&asking.id).and_then(|history| history.get_mut(asking.at)) {
            match call {
                Some(call) => (entry.call, entry.end) = (call, End::At(now)),
                None => entry.end = End::Unknown(0),
            }
        }
    }

    /// When a request began.
    pub fn began(&self, asking: Asking) -> u64 {
        self.orders.get(&asking.id).and_then(|history| history.get(asking.at)).map_or(0, |entry| entry.begin)
    }

    /// So many units of a product can be ordered from this moment on.
    pub fn level(&mut self, product: usize, units: i64) {
        let now = self.tick();
        if self.levels.len() <= product {
            self.levels.resize(product + 1, Vec::new());
        }
        if self.levels[product].last().is_none_or(|(_, last)| *last != units) {
            self.levels[product].push((now, units));
        }
    }

    /// Whether exactly `units` could be ordered at some moment since `begin`.
    pub fn was_level(&self, product: usize, units: i64, begin: u64) -> bool {
        let Some(levels) = self.levels.get(product) else { return units == 0 };
        let first = levels.partition_point(|(since, _)| *since <= begin).saturating_sub(1);
        levels[first..].iter().any(|(_, level)| *level == units)
    }
}
