//! The copy of the catalog in this role's own table, so that a restart knows what it knew.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use zizon_base::ids::Sku;
use zizon_contracts::catalog::{FeedProduct, History};
use zizon_table::{Applied, Cond, Item, Op, ReadError, SkRange, Table, WriteError};

use super::view::PriceView;
use crate::keys;

const READER: &str = "catalog";
const SEQ: &str = "seq";
const HISTORY: &str = "hist";
/// Products written in one plan: the cursor goes with the last of them.
const BATCH: usize = 64;
const PAGE: u32 = 500;

/// A place in catalog's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here was told.
    pub seq: u64,
    /// The history it belongs to.
    pub history: History,
}

/// The copy could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The table could not be read.
    #[error("the copy of the catalog cannot be read")]
    Read(#[from] ReadError),
    /// The table could not be written.
    #[error("the copy of the catalog cannot be written")]
    Write(#[from] WriteError),
}

/// Fills `view` with what was stored, which counts as unconfirmed, and says how far that is: `None` where catalog has to
/// list everything. So it is when a product cannot be decoded, which is left out.
///
/// # Errors
/// The table cannot be read.
pub async fn load(table: &dyn Table, view: &PriceView) -> Result<Option<Position>, StoreError> {
    let mut damaged = false;
    for bucket in 0..keys::BUCKETS {
        let pk = keys::view_bucket(bucket);
        let mut cursor = None;
        loop {
            let page = table.query(&pk, SkRange::All, PAGE, false, cursor).await?;
            for item in &page.items {
                let stored = item.bytes(keys::DOCUMENT).map(|bytes| serde_json::from_slice::<FeedProduct>(bytes));
                match stored {
                    Some(Ok(product)) => view.put(&product),
                    _ => damaged = true,
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    let item = table.get(&keys::cursor(READER)).await?;
    if damaged {
        tracing::warn!("a stored product cannot be read; the catalog is fetched from its beginning");
        return Ok(None);
    }
    Ok(item.as_ref().and_then(read))
}

fn read(cursor: &Item) -> Option<Position> {
    let seq = cursor.int(SEQ).and_then(|seq| u64::try_from(seq).ok())?;
    Some(Position { seq, history: cursor.str(HISTORY)?.parse().ok()? })
}

/// What has changed since the last save.
#[derive(Debug, Default)]
pub struct Pending {
    products: BTreeMap<Sku, Option<FeedProduct>>,
}

impl Pending {
    /// Notes a change.
    pub fn note(&mut self, sku: Sku, product: Option<FeedProduct>) {
        self.products.insert(sku, product);
    }

    /// Changes noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.products.len()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// Writes everything noted and then the position, if there is one. What is left after an error is written next time.
    ///
    /// # Errors
    /// The table did not take it.
    pub async fn save(&mut self, table: &Arc<dyn Table>, at: Option<Position>) -> Result<Applied, StoreError> {
        let mut batch = Vec::with_capacity(BATCH);
        let products: Vec<Sku> = self.products.keys().cloned().collect();
        for part in products.chunks(BATCH) {
            batch.clear();
            batch.extend(part.iter().filter_map(|sku| Some(write(sku, self.products.get(sku)?.as_ref()))));
            table.transact(batch.clone(), None).await?;
            for sku in part {
                self.products.remove(sku);
            }
        }
        let mut item = Item::new(keys::cursor(READER));
        if let Some(Position { seq, history }) = at {
            item = item.with(SEQ, i64::try_from(seq).unwrap_or(i64::MAX)).with(HISTORY, history.to_string());
        }
        Ok(table.transact(vec![Op::Put { item, cond: Cond::Always }], None).await?)
    }
}

fn write(sku: &Sku, product: Option<&FeedProduct>) -> Op {
    let key = keys::view(sku);
    let Some(document) = product.and_then(|product| serde_json::to_vec(product).ok()) else {
        return Op::Delete { key, cond: Cond::Always };
    };
    Op::Put { item: Item::new(key).with(keys::DOCUMENT, Bytes::from(document)), cond: Cond::Always }
}

#[cfg(test)]
mod tests {
    use zizon_table::{Durability, MemTable};

    use super::*;

    #[tokio::test]
    async fn a_position_counts_only_with_its_history() {
        let table: Arc<dyn Table> = Arc::new(MemTable::new());
        let view = PriceView::default();
        assert_eq!(load(&*table, &view).await.unwrap(), None);
        let position = Position { seq: 7, history: History::of_journal([3; 16]) };
        let mut pending = Pending::default();
        for at in [Some(position), None] {
            pending.save(&table, at).await.unwrap();
            assert_eq!(load(&*table, &view).await.unwrap(), at);
        }
        let item = Item::new(keys::cursor(READER)).with(SEQ, 7i64);
        table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable).await.unwrap();
        assert_eq!(load(&*table, &view).await.unwrap(), None);
    }
}
