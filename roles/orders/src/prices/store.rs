//! The copy of the catalog in this role's own table, so that a restart knows what it knew.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use zizon_base::ids::Sku;
use zizon_contracts::catalog::FeedProduct;
use zizon_table::{Applied, Cond, Item, Op, ReadError, SkRange, Table, WriteError};

use super::view::PriceView;
use crate::keys;

const READER: &str = "catalog";
const SEQ: &str = "seq";
/// Products written in one plan: the cursor goes with the last of them.
const BATCH: usize = 64;
const PAGE: u32 = 500;

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

/// Fills `view` with what was stored. It counts as unconfirmed.
///
/// # Errors
/// The table cannot be read. A product that cannot be decoded is left out and fetched again from the beginning.
pub async fn load(table: &dyn Table, view: &PriceView) -> Result<(), StoreError> {
    let mut damaged = false;
    for bucket in 0..keys::VIEW_BUCKETS {
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
    let seq = item.as_ref().and_then(|item| item.int(SEQ)).and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0);
    if damaged {
        tracing::warn!("a stored product cannot be read; the catalog is fetched from its beginning");
    }
    view.resume_from(if damaged { 0 } else { seq });
    Ok(())
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

    /// Writes everything noted and then the position `seq`. What is left after an error is written next time.
    ///
    /// # Errors
    /// The table did not take it.
    pub async fn save(&mut self, table: &Arc<dyn Table>, seq: u64) -> Result<Applied, StoreError> {
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
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let item = Item::new(keys::cursor(READER)).with(SEQ, seq);
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
