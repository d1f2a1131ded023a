//! The stock equation, proved from the orders: what every shard must have reserved and sold follows from the orders and
//! their facts, and what a product's shards hold together from what was put in.

use std::collections::BTreeMap;

use zizon_base::ids::OrderId;
use zizon_contracts::fsck::StockReport;
use zizon_table::{Change, Item, ReadError, Seq, ShardId, Table};

use crate::execute::ExecuteError;
use crate::execute::load::assemble;
use crate::keys::{self, Named};
use crate::order::document::OrderDocument;
use crate::order::fact::{Fact, StockEffect};
use crate::stock::directory::ISSUED;
use crate::stock::shard::{SETTLED, Shard};

/// Changes taken from the feed at once.
const BATCH: u32 = 256;

/// The audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The feed could not be read.
    #[error("the feed cannot be read")]
    Read(#[from] ReadError),
    /// An order could not be read.
    #[error(transparent)]
    Order(#[from] ExecuteError),
}

#[derive(Debug, Default, Clone, Copy)]
struct Expected {
    reserved: i64,
    sold: i64,
    /// Position of the last effect the settler has to bring.
    deferred: i64,
    /// Effects the settler may or may not have brought, where positions are not known.
    open: Open,
}

/// How far a shard may be from its orders while effects are on their way.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    reserved_above: i64,
    sold_above: i64,
    sold_below: i64,
}

impl Expected {
    /// Whether effects on their way explain what the shard has.
    fn explains(&self, shard: &Shard) -> bool {
        let (reserved, sold) = (shard.reserved - self.reserved, shard.sold - self.sold);
        (0..=self.open.reserved_above).contains(&reserved)
            && (-self.open.sold_below..=self.open.sold_above).contains(&sold)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Actual {
    shard: Shard,
    settled: i64,
}

/// Collects orders, facts and shards, then compares.
#[derive(Debug, Default)]
pub struct Audit {
    expected: BTreeMap<(String, u16), Expected>,
    actual: BTreeMap<(String, u16), Actual>,
    issued: BTreeMap<String, i64>,
    orders: u64,
    facts: u64,
}

const MAX_DIFFERENCES: usize = 20;

impl Audit {
    /// An order that was placed.
    pub fn order(&mut self, document: &OrderDocument) {
        self.orders += 1;
        for taken in &document.allocations {
            let place = (document.sku_of(taken).as_str().to_owned(), taken.shard);
            self.expected.entry(place).or_default().reserved += i64::from(taken.units);
        }
    }

    /// A fact of an order, and its position in the feed (0 where it is not known).
    pub fn fact(&mut self, document: &OrderDocument, fact: &Fact, at: u64) {
        self.facts += 1;
        if fact.effect == StockEffect::None {
            return;
        }
        for taken in &document.allocations {
            let place = (document.sku_of(taken).as_str().to_owned(), taken.shard);
            let (_, reserved, sold) = fact.effect.deltas(i64::from(taken.units));
            let expected = self.expected.entry(place).or_default();
            expected.reserved += reserved;
            expected.sold += sold;
            if fact.deferred && at > 0 {
                expected.deferred = expected.deferred.max(i64::try_from(at).unwrap_or(i64::MAX));
            } else if fact.deferred {
                expected.open.reserved_above += (-reserved).max(0);
                expected.open.sold_above += (-sold).max(0);
                expected.open.sold_below += sold.max(0);
            }
        }
    }

    /// A shard, or a directory, as it is at the end.
    pub fn stock(&mut self, item: &Item) {
        if let Some((sku, number)) = keys::shard_named(&item.key) {
            let actual = Actual { shard: Shard::read(Some(item)), settled: item.int(SETTLED).unwrap_or(0) };
            self.actual.insert((sku.to_owned(), number), actual);
        } else if let Some(sku) = keys::directory_named(&item.key) {
            self.issued.insert(sku.to_owned(), item.int(ISSUED).unwrap_or(0));
        }
    }

    /// Compares everything; `seq` is the position of the feed all of it is from.
    #[must_use]
    pub fn finish(mut self, seq: u64) -> StockReport {
        let mut differences = Vec::new();
        let mut unsettled = 0;
        let mut on_hand: BTreeMap<&str, i64> = BTreeMap::new();
        for place in self.expected.keys() {
            self.actual.entry(place.clone()).or_default();
        }
        for ((sku, number), actual) in &self.actual {
            *on_hand.entry(sku).or_default() += actual.shard.on_hand();
            if !actual.shard.is_sound() {
                differences.push(format!("{sku} shard {number}: a count is negative: {:?}", actual.shard));
            }
            let expected = self.expected.get(&(sku.clone(), *number)).copied().unwrap_or_default();
            if actual.shard.held > 0 || expected.deferred > actual.settled {
                unsettled += 1;
            } else if (actual.shard.reserved, actual.shard.sold) == (expected.reserved, expected.sold) {
                continue;
            } else if expected.explains(&actual.shard) {
                unsettled += 1;
            } else {
                differences.push(format!(
                    "{sku} shard {number}: {} reserved and {} sold, but the orders add up to {} and {}",
                    actual.shard.reserved, actual.shard.sold, expected.reserved, expected.sold
                ));
            }
        }
        for (sku, issued) in &self.issued {
            let held = on_hand.remove(sku.as_str()).unwrap_or(0);
            if held != *issued {
                differences.push(format!("{sku}: {issued} units were put in, {held} are accounted for"));
            }
        }
        differences.extend(on_hand.keys().map(|sku| format!("{sku}: shards without a directory")));
        let ok = differences.is_empty();
        differences.truncate(MAX_DIFFERENCES);
        StockReport {
            ok,
            seq,
            orders: self.orders,
            facts: self.facts,
            products: self.issued.len() as u64,
            unsettled,
            differences,
        }
    }
}

/// Audits items that come in the order of their keys, as a scan of a whole table gives them.
/// Effects that a settler has not brought yet are counted, not reported as differences.
///
/// # Errors
/// An order cannot be read.
pub fn audit_items(items: impl IntoIterator<Item = Item>) -> Result<StockReport, ExecuteError> {
    let mut audit = Audit::default();
    let mut open: Option<(OrderId, Item, Vec<Item>)> = None;
    for item in items {
        match keys::named(&item.key) {
            Some(Named::Order(id)) => {
                close(&mut audit, open.replace((id, item, Vec::new())))?;
            }
            Some(Named::Fact(..)) => {
                if let Some((_, _, facts)) = &mut open {
                    facts.push(item);
                }
            }
            None => audit.stock(&item),
        }
    }
    close(&mut audit, open)?;
    Ok(audit.finish(0))
}

fn close(audit: &mut Audit, open: Option<(OrderId, Item, Vec<Item>)>) -> Result<(), ExecuteError> {
    let Some((id, order, facts)) = open else { return Ok(()) };
    if let Some(order) = assemble(id, order, facts.into_iter())? {
        audit.order(&order.document);
        for fact in &order.facts {
            audit.fact(&order.document, fact, 0);
        }
    }
    Ok(())
}

/// Audits a table that is in use, by its feed from the beginning through the position `through`; `rest` is called
/// between the batches.
///
/// # Errors
/// The feed or an order cannot be read.
pub async fn audit_feed(
    table: &dyn Table,
    through: u64,
    rest: &mut (dyn FnMut() + Send),
) -> Result<StockReport, AuditError> {
    let mut audit = Audit::default();
    let mut next = Seq(1);
    let mut reached = 0;
    while next.0 <= through {
        let changes = table.changes(ShardId::ONLY, next, BATCH).await?;
        let Some(last) = changes.last() else { break };
        next = last.seq.next();
        for change in changes.iter().filter(|change| change.seq.0 <= through) {
            reached = change.seq.0;
            take(&mut audit, table, change).await?;
        }
        rest();
    }
    Ok(audit.finish(reached))
}

async fn take(audit: &mut Audit, table: &dyn Table, change: &Change) -> Result<(), AuditError> {
    let Some(item) = &change.new else { return Ok(()) };
    match keys::named(&change.key) {
        Some(Named::Order(id)) => {
            if let Some(order) = assemble(id, item.clone(), std::iter::empty())? {
                audit.order(&order.document);
            }
        }
        Some(Named::Fact(id, version)) => {
            let fact = Fact::read(version, item).map_err(ExecuteError::from)?;
            let order = table.get(&keys::order(&id)).await?;
            if let Some(item) = order
                && let Some(order) = assemble(id, item, std::iter::empty())?
            {
                audit.fact(&order.document, &fact, change.seq.0);
            }
        }
        None => audit.stock(item),
    }
    Ok(())
}
