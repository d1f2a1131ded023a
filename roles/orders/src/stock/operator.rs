//! What an operator does to stock: set how much can be ordered, and over how many counters it is split.

use std::sync::Arc;

use zizon_base::ids::Sku;
use zizon_table::{Cond, Item, Op, Patch, Path, ReadError, Table, WriteError};

use super::directory::{ACTIVE, Directory, EVER, ISSUED, Layout, MAX_SHARDS, Snapshot};
use super::shard::{self, AVAILABLE, Shard};
use crate::keys;

/// Orders a shard is expected to take per second; a DynamoDB item takes 1,000 write units, a busy one far less
/// comfortably (reference: data, section 1.6).
const ORDERS_PER_SHARD: u32 = 50;
/// Times a change is tried again because orders were in between.
const ATTEMPTS: usize = 64;
/// Most units of one product: far from the end of the numbers, whatever is added.
pub const MAX_UNITS: i64 = 1_000_000_000_000;

/// Why stock could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// The product has no stock yet; set some first.
    #[error("no stock of this product yet; set some first")]
    Unknown,
    /// Not 0 to [`MAX_UNITS`].
    #[error("available units are 0 to {MAX_UNITS}")]
    OutOfRange,
    /// Orders kept coming in between.
    #[error("orders kept coming in between; try again")]
    Contended,
    /// The table did not take the change.
    #[error("the table did not take the change")]
    Write(#[from] WriteError),
    /// The table could not be read.
    #[error("the table could not be read")]
    Read(#[from] ReadError),
}

/// Changes stock. One change at a time: this process is the shards' only owner.
pub struct StockKeeper {
    table: Arc<dyn Table>,
    directory: Directory,
    one: tokio::sync::Mutex<()>,
}

impl StockKeeper {
    /// Works on what `directory` knows.
    #[must_use]
    pub fn new(table: Arc<dyn Table>, directory: Directory) -> Self {
        Self { table, directory, one: tokio::sync::Mutex::new(()) }
    }

    /// Makes exactly `units` available, evenly over the shards; a product without stock gets one shard.
    ///
    /// # Errors
    /// See [`StockError`].
    pub async fn set(&self, sku: &Sku, units: i64) -> Result<(), StockError> {
        if !(0..=MAX_UNITS).contains(&units) {
            return Err(StockError::OutOfRange);
        }
        let _one = self.one.lock().await;
        for _ in 0..ATTEMPTS {
            let Some(before) = self.directory.snapshot(sku).await? else {
                if self.create(sku, units).await? {
                    return Ok(());
                }
                continue;
            };
            let after = spread(units, before.layout);
            if self.exchange(sku, &before, before.layout, &after).await? {
                return Ok(());
            }
        }
        Err(StockError::Contended)
    }

    /// Puts stock in for every product that has none yet; the others are left as they are.
    ///
    /// # Errors
    /// See [`StockError`].
    pub async fn seed(&self, stock: &[(Sku, i64)]) -> Result<(), StockError> {
        let _one = self.one.lock().await;
        let mut missing = Vec::new();
        for (sku, units) in stock {
            if !(0..=MAX_UNITS).contains(units) {
                return Err(StockError::OutOfRange);
            }
            if self.directory.layout(sku).await?.is_none() {
                missing.push((sku, *units));
            }
        }
        let per_plan = (self.table.caps().transact.unwrap_or(0) as usize / FIRST_OPS).max(1);
        for part in missing.chunks(per_plan) {
            let ops = part.iter().flat_map(|(sku, units)| first_stock(sku, *units)).collect();
            self.table.transact(ops, None).await?;
            part.iter().for_each(|(sku, _)| self.directory.set(sku, FIRST));
        }
        Ok(())
    }

    /// Splits the stock for a peak of `per_second` orders; what is available is spread evenly anew. Shards beyond
    /// the new number are emptied and stay for the orders that took units from them.
    ///
    /// # Errors
    /// See [`StockError`].
    pub async fn shard(&self, sku: &Sku, per_second: u32) -> Result<Layout, StockError> {
        let _one = self.one.lock().await;
        for _ in 0..ATTEMPTS {
            let before = self.directory.snapshot(sku).await?.ok_or(StockError::Unknown)?;
            let active = shards_for(per_second);
            let layout = Layout { active, ever: active.max(before.layout.ever) };
            let available = before.shards().iter().map(|shard| shard.available).sum();
            if self.exchange(sku, &before, layout, &spread(available, layout)).await? {
                return Ok(layout);
            }
        }
        Err(StockError::Contended)
    }

    async fn create(&self, sku: &Sku, units: i64) -> Result<bool, StockError> {
        let layout = FIRST;
        let ops = first_stock(sku, units).into();
        match self.table.transact(ops, None).await {
            Ok(_) => {
                self.directory.set(sku, layout);
                Ok(true)
            }
            Err(WriteError::CondFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to every shard what it lacks of what it shall have, and takes what it has too much: orders that come in
    /// between take from the result. False when they left too little to take; what was done until then is complete in
    /// itself: every step closes the equation.
    async fn exchange(&self, sku: &Sku, before: &Snapshot, layout: Layout, after: &[i64]) -> Result<bool, StockError> {
        let has = before.shards();
        let had = |number: usize| has.get(number).map_or(0, |shard: &Shard| shard.available);
        let total: i64 = after.iter().sum::<i64>() - has.iter().map(|shard| shard.available).sum::<i64>();
        let mut changes: Vec<(usize, i64)> = (0..after.len())
            .map(|number| (number, after[number] - had(number)))
            .filter(|(_, delta)| *delta != 0)
            .collect();
        // In one plan where it fits; otherwise surplus and deficit are paired in plans that each move what they take.
        let limit = self.table.caps().transact.unwrap_or(1) as usize;
        let directory = |units: i64| Op::Patch {
            key: keys::directory(sku),
            patches: vec![
                Patch::Set(Path::attr("n"), i64::from(layout.active).into()),
                Patch::Set(Path::attr("m"), i64::from(layout.ever).into()),
                Patch::AddInt(Path::attr(ISSUED), units),
            ],
            cond: unchanged(before),
        };
        // Known before it is written: an order that looks around while the plan lands, or after its caller went away,
        // sees the new shards. Until then they are absent, which counts as empty.
        self.directory.set(sku, Layout { active: before.layout.active, ever: layout.ever });
        if changes.len() < limit {
            let mut ops = vec![directory(total)];
            ops.extend(changes.iter().map(|&(number, delta)| shift(sku, number, delta)));
            return self.commit(sku, layout, ops).await;
        }
        self.commit(sku, layout, vec![directory(0)]).await?;
        changes.sort_by_key(|&(_, delta)| delta);
        self.pairwise(sku, changes, total).await
    }

    /// Moves units from shards that have too many to shards that have too few, two shards per plan.
    async fn pairwise(&self, sku: &Sku, mut changes: Vec<(usize, i64)>, mut outside: i64) -> Result<bool, StockError> {
        // What comes from outside, or leaves, is one more party to pair with.
        while let Some((number, delta)) = changes.pop() {
            if delta == 0 {
                continue;
            }
            let partner = changes.iter_mut().find(|(_, other)| other.signum() == -delta.signum());
            let ops = match partner {
                Some((other, theirs)) => {
                    let moved = delta.abs().min(theirs.abs()) * delta.signum();
                    *theirs += moved;
                    let other = *other;
                    if moved != delta {
                        changes.push((number, delta - moved));
                    }
                    vec![shift(sku, number, moved), shift(sku, other, -moved)]
                }
                None => {
                    outside -= delta;
                    let issue = Patch::AddInt(Path::attr(ISSUED), delta);
                    let directory = Op::Patch { key: keys::directory(sku), patches: vec![issue], cond: Cond::Exists };
                    vec![directory, shift(sku, number, delta)]
                }
            };
            match self.table.transact(ops, None).await {
                Ok(_) => {}
                Err(WriteError::CondFailed { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        debug_assert_eq!(outside, 0, "every unit has come from or gone to somewhere");
        Ok(true)
    }

    async fn commit(&self, sku: &Sku, layout: Layout, ops: Vec<Op>) -> Result<bool, StockError> {
        match self.table.transact(ops, None).await {
            Ok(_) => {
                self.directory.set(sku, layout);
                Ok(true)
            }
            Err(WriteError::CondFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The layout of a product that gets its first stock.
const FIRST: Layout = Layout { active: 1, ever: 1 };

/// Operations of [`first_stock`].
const FIRST_OPS: usize = 3;

/// A directory and one shard, where there is neither, and the product's entry in the list of products with stock.
fn first_stock(sku: &Sku, units: i64) -> [Op; FIRST_OPS] {
    let directory = FIRST.write(Item::new(keys::directory(sku)), units);
    let first = Item::new(shard::key(sku, 0)).with(AVAILABLE, units);
    [
        Op::Put { item: directory, cond: Cond::NotExists },
        Op::Put { item: first, cond: Cond::NotExists },
        Op::Put { item: Item::new(keys::stocked(sku)), cond: Cond::Always },
    ]
}

/// Holds of the directory as it was read. A change whose caller went away may still be on its way: without this, the next one
/// would write over shards that it has not seen, and nobody would find what is in them.
fn unchanged(before: &Snapshot) -> Cond {
    let Layout { active, ever } = before.layout;
    Cond::All(vec![
        Cond::AttrEq(Path::attr(ACTIVE), i64::from(active).into()),
        Cond::AttrEq(Path::attr(EVER), i64::from(ever).into()),
        Cond::AttrEq(Path::attr(ISSUED), before.issued.into()),
    ])
}

/// Adds units to a shard, or takes them if they are there.
fn shift(sku: &Sku, number: usize, delta: i64) -> Op {
    let path = Path::attr(AVAILABLE);
    let cond = if delta < 0 { Cond::AttrGe(path.clone(), -delta) } else { Cond::Always };
    Op::Patch { key: shard::key(sku, narrow(number)), patches: vec![Patch::AddInt(path, delta)], cond }
}

fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(MAX_SHARDS)
}

/// Shards for a peak: a power of two, 1 to [`MAX_SHARDS`].
fn shards_for(per_second: u32) -> u16 {
    let needed = per_second.div_ceil(ORDERS_PER_SHARD).clamp(1, u32::from(MAX_SHARDS));
    u16::try_from(needed.next_power_of_two()).unwrap_or(MAX_SHARDS).min(MAX_SHARDS)
}

/// `units` evenly over the active shards, the first ones taking what is left over; nothing in the others.
fn spread(units: i64, layout: Layout) -> Vec<i64> {
    let active = i64::from(layout.active);
    (0..i64::from(layout.ever))
        .map(|number| if number < active { units / active + i64::from(number < units % active) } else { 0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_asks_for_a_power_of_two_of_shards() {
        let cases = [(0, 1), (50, 1), (51, 2), (2_000, 64), (12_500, 256), (u32::MAX, 256)];
        for (peak, shards) in cases {
            assert_eq!(shards_for(peak), shards, "{peak}");
        }
    }

    #[test]
    fn units_are_spread_without_losing_one() {
        let spread = spread(10, Layout { active: 4, ever: 6 });
        assert_eq!(spread, [3, 3, 2, 2, 0, 0]);
    }
}
