//! Every product in memory, rendered, in the order of ids: what shoppers are answered from.
//!
//! The table is the truth. The shelf is loaded from it once and then follows its changes; nothing else writes
//! the shelf, so readers never see a product in two minds.

mod follow;
mod page;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use parking_lot::RwLock;
use tokio::sync::watch;
use zizon_base::ids::Sku;
use zizon_base::market::Market;
use zizon_table::{Cursor, SkRange, Table};

pub(crate) use follow::follow;
pub(crate) use page::Filter;

use crate::error::RunError;
use crate::record::{BUCKETS, Damaged, Record, bucket_key};

/// Products per query while loading.
const LOAD_PAGE: u32 = 1_000;

/// A product as shoppers see it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The rendered document.
    pub(crate) body: Bytes,
    pub(crate) etag: HeaderValue,
    pub(crate) published: bool,
    category: Box<str>,
    markets: Markets,
}

/// A set of markets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Markets(u8);

impl Markets {
    const fn bit(market: Market) -> u8 {
        match market {
            Market::Kr => 1,
            Market::Jp => 2,
            Market::Us => 4,
        }
    }

    fn has(self, market: Market) -> bool {
        self.0 & Self::bit(market) != 0
    }
}

impl FromIterator<Market> for Markets {
    fn from_iter<I: IntoIterator<Item = Market>>(markets: I) -> Self {
        Self(markets.into_iter().fold(0, |all, market| all | Self::bit(market)))
    }
}

impl Entry {
    fn new(record: &Record) -> Result<Self, Damaged> {
        Ok(Self {
            body: record.body.clone(),
            etag: HeaderValue::from_str(&record.etag)
                .map_err(|_| Damaged("its entity tag is no header value".into()))?,
            published: record.product.published,
            category: record.product.category.as_str().into(),
            markets: record.product.prices.keys().copied().collect(),
        })
    }
}

#[derive(Debug, Default)]
struct State {
    products: BTreeMap<Sku, Arc<Entry>>,
    /// Ids by category.
    categories: HashMap<Box<str>, BTreeSet<Sku>>,
}

/// The view of all products.
#[derive(Debug)]
pub(crate) struct Shelf {
    state: RwLock<State>,
    /// Position in the feed up to which the shelf is complete.
    position: watch::Sender<u64>,
}

impl Shelf {
    /// Reads all products. `position` is where the table was before: what happened since is told again by its
    /// changes, and applying a change twice does no harm.
    pub(crate) async fn load(table: &dyn Table, position: u64) -> Result<Self, RunError> {
        let shelf = Self { state: RwLock::default(), position: watch::Sender::new(position) };
        for bucket in 0..BUCKETS {
            let mut cursor: Option<Cursor> = None;
            loop {
                let page = table.query(&bucket_key(bucket), SkRange::All, LOAD_PAGE, false, cursor).await?;
                for item in &page.items {
                    let entry =
                        Record::from_item(item).and_then(|record| Ok((Entry::new(&record)?, record.product.id)));
                    let (entry, id) = entry.map_err(|Damaged(reason)| RunError::Damaged {
                        id: String::from_utf8_lossy(&item.key.sk).into_owned(),
                        reason,
                    })?;
                    shelf.state.write().put(id, entry);
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(shelf)
    }

    /// Products, those that are not published included.
    pub(crate) fn len(&self) -> usize {
        self.state.read().products.len()
    }

    /// Position in the feed up to which the shelf is complete.
    pub(crate) fn position(&self) -> u64 {
        *self.position.borrow()
    }

    pub(crate) fn get(&self, sku: &Sku) -> Option<Arc<Entry>> {
        self.state.read().products.get(sku).cloned()
    }

    /// Products after `after` in the order of ids, at most `limit`, whatever their state.
    pub(crate) fn rendered_after(&self, after: Option<&Sku>, limit: usize) -> Vec<(Sku, Bytes)> {
        let state = self.state.read();
        let products = state.after(after).take(limit);
        products.map(|(sku, entry)| (sku.clone(), entry.body.clone())).collect()
    }

    /// Waits, for a while, until the shelf has what happened at `position`; whether it has.
    pub(crate) async fn reaches(&self, position: u64, patience: Duration) -> bool {
        let mut followed = self.position.subscribe();
        let reached = followed.wait_for(|&at| at >= position);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    fn put(&self, record: &Record) -> Result<(), Damaged> {
        let entry = Entry::new(record)?;
        self.state.write().put(record.product.id.clone(), entry);
        Ok(())
    }

    fn remove(&self, sku: &Sku) {
        self.state.write().remove(sku);
    }

    fn reached(&self, position: u64) {
        self.position.send_replace(position);
    }
}

impl State {
    fn put(&mut self, sku: Sku, entry: Entry) {
        self.remove(&sku);
        self.categories.entry(entry.category.clone()).or_default().insert(sku.clone());
        self.products.insert(sku, Arc::new(entry));
    }

    fn remove(&mut self, sku: &Sku) {
        let Some(entry) = self.products.remove(sku) else { return };
        if let Some(ids) = self.categories.get_mut(&entry.category) {
            ids.remove(sku);
            if ids.is_empty() {
                self.categories.remove(&entry.category);
            }
        }
    }
}
