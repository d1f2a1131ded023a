//! How many shards a product's stock is split over.
//!
//! This process is the only owner of its shards, so what it has read or written once stays true until it writes again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use zizon_base::ids::{OrderId, Sku};
use zizon_table::limits::MAX_GET_MANY;
use zizon_table::{Item, Key, ReadError, SkRange, Table};

use super::allocate::Available;
use super::shard::{self, Shard};
use crate::keys;

#[cfg(test)]
mod tests;

// A product fits into one read.
const _: () = assert!(MAX_SHARDS as usize <= MAX_GET_MANY);

/// Most shards of one product.
pub const MAX_SHARDS: u16 = 256;

/// Products read at once from the list of those with stock.
const PAGE: u32 = 500;

/// Attribute: shards that orders try first.
pub(super) const ACTIVE: &str = "n";
/// Attribute: shards there are; those beyond the active ones stay for the orders that took units from them.
pub(super) const EVER: &str = "m";
/// Attribute: units ever put in, less those taken out: what all shards together must hold.
pub(crate) const ISSUED: &str = "iss";

/// A product's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Shards that orders try first, 1 or more.
    pub active: u16,
    /// Shards there are, at least as many.
    pub ever: u16,
}

impl Layout {
    /// The layout of a directory item.
    #[must_use]
    pub fn read(item: &Item) -> Option<Self> {
        let number = |name| item.int(name).and_then(|n| u16::try_from(n).ok());
        let (active, ever) = (number(ACTIVE)?, number(EVER)?);
        (active >= 1 && ever >= active && ever <= MAX_SHARDS).then_some(Self { active, ever })
    }

    /// Writes the layout to a directory item.
    #[must_use]
    pub fn write(self, item: Item, issued: i64) -> Item {
        item.with(ACTIVE, i64::from(self.active)).with(EVER, i64::from(self.ever)).with(ISSUED, issued)
    }

    /// The shard an order tries first.
    #[must_use]
    pub fn preferred(self, order: &OrderId) -> u16 {
        let tail = &order.as_str().as_bytes()[OrderId::LEN - 4..];
        let hash = tail.iter().fold(0u32, |hash, &byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        u16::try_from(hash % u32::from(self.active)).unwrap_or(0)
    }
}

/// The directories this process knows.
#[derive(Clone)]
pub struct Directory {
    table: Arc<dyn Table>,
    known: Arc<RwLock<HashMap<Sku, Layout>>>,
}

impl Directory {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(table: Arc<dyn Table>) -> Self {
        Self { table, known: Arc::default() }
    }

    /// The product's layout; `None` where it has no stock.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn layout(&self, sku: &Sku) -> Result<Option<Layout>, ReadError> {
        if let Some(layout) = self.known.read().get(sku).copied() {
            return Ok(Some(layout));
        }
        let item = self.table.get(&keys::directory(sku)).await?;
        let layout = item.as_ref().and_then(Layout::read);
        if let Some(layout) = layout {
            self.set(sku, layout);
        }
        Ok(layout)
    }

    /// Reads the directory of every product that ever had stock, whether or not it is still sold.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn learn(&self) -> Result<(), ReadError> {
        for bucket in 0..keys::BUCKETS {
            let pk = keys::stocked_bucket(bucket);
            let mut cursor = None;
            loop {
                let page = self.table.query(&pk, SkRange::All, PAGE, false, cursor).await?;
                for item in &page.items {
                    let sku = std::str::from_utf8(&item.key.sk).ok().and_then(|sku| sku.parse::<Sku>().ok());
                    let sku = sku.ok_or_else(|| ReadError::Corrupt(format!("{} names no product", item.key)))?;
                    self.layout(&sku).await?;
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The layout if it is known already.
    #[must_use]
    pub fn known(&self, sku: &Sku) -> Option<Layout> {
        self.known.read().get(sku).copied()
    }

    /// Every product known to have stock.
    #[must_use]
    pub fn skus(&self) -> Vec<Sku> {
        self.known.read().keys().cloned().collect()
    }

    /// Notes what was written.
    pub fn set(&self, sku: &Sku, layout: Layout) {
        let mut known = self.known.write();
        // The number of shards never goes down: whoever read before a change must not hide the new ones.
        let ever = known.get(sku).map_or(0, |known| known.ever).max(layout.ever);
        known.insert(sku.clone(), Layout { ever, ..layout });
    }

    /// What there is of each product: each product's shards at one moment, all of them together as far as the table's
    /// bounds allow it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn available(&self, skus: &[&Sku], order: &OrderId) -> Result<Vec<Available>, ReadError> {
        loop {
            let mut layouts = Vec::with_capacity(skus.len());
            for sku in skus {
                layouts.push(self.layout(sku).await?);
            }
            let shards: Vec<u16> = layouts.iter().map(|layout| layout.map_or(0, |l| l.ever)).collect();
            let units = self.units(skus, &shards).await?;
            // Shards that were added meanwhile may hold what is missing in those that were read. They are announced
            // before they are filled, and their number only grows, to a bound: this ends.
            let same = skus.iter().zip(&shards).all(|(sku, &read)| self.known(sku).map_or(0, |l| l.ever) == read);
            if same {
                let per_product = layouts.into_iter().zip(units);
                let per_product = per_product
                    .map(|(layout, units)| Available { units, preferred: layout.map_or(0, |l| l.preferred(order)) });
                return Ok(per_product.collect());
            }
        }
    }

    /// What is available in the first `shards[i]` shards of `skus[i]`. No product is split over two reads: units move
    /// between the shards of one product, and would be seen in neither place.
    async fn units(&self, skus: &[&Sku], shards: &[u16]) -> Result<Vec<Vec<i64>>, ReadError> {
        let mut units = Vec::with_capacity(skus.len());
        let mut at = 0;
        while at < skus.len() {
            let mut wanted: Vec<Key> = Vec::new();
            let first = at;
            while at < skus.len() && (at == first || wanted.len() + usize::from(shards[at]) <= MAX_GET_MANY) {
                wanted.extend((0..shards[at]).map(|number| shard::key(skus[at], number)));
                at += 1;
            }
            let items = if wanted.is_empty() { Vec::new() } else { self.table.get_many(&wanted).await? };
            let mut items = items.iter();
            for &count in &shards[first..at] {
                let of_product = items.by_ref().take(usize::from(count));
                units.push(of_product.map(|item| Shard::read(item.as_ref()).available).collect());
            }
        }
        Ok(units)
    }

    /// The product's shards at one moment, with its directory; `None` where it has no stock.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn snapshot(&self, sku: &Sku) -> Result<Option<Snapshot>, ReadError> {
        let mut ever = self.known(sku).map_or(1, |layout| layout.ever);
        loop {
            let mut wanted = vec![keys::directory(sku)];
            wanted.extend((0..ever).map(|number| shard::key(sku, number)));
            let mut items = self.table.get_many(&wanted).await?;
            let shards = items.split_off(1);
            let directory = items.pop().flatten();
            // What is stored counts, not what is remembered: a change may have landed after its caller went away.
            let Some(layout) = directory.as_ref().and_then(Layout::read) else { return Ok(None) };
            if layout.ever != ever {
                ever = layout.ever;
                continue;
            }
            self.set(sku, layout);
            let issued = directory.as_ref().and_then(|item| item.int(ISSUED)).unwrap_or(0);
            return Ok(Some(Snapshot { layout, issued, items: shards }));
        }
    }
}

/// A product's stock at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Its shards.
    pub layout: Layout,
    /// What they must hold together.
    pub issued: i64,
    /// The shard items, by number.
    pub items: Vec<Option<Item>>,
}

impl Snapshot {
    /// The numbers of each shard.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.items.iter().map(|item| Shard::read(item.as_ref())).collect()
    }
}
