//! Lines of the feed.

use bytes::Bytes;
use zizon_base::ids::Sku;
use zizon_contracts::catalog::{FeedLine, FeedProduct, Product};
use zizon_table::Change;

use crate::record::{Damaged, sku_of};

/// Lines collected into pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// Collects lines into pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    ready: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    pub(super) fn push(&mut self, line: &FeedLine) -> Result<(), Damaged> {
        serde_json::to_writer(&mut self.open, line).map_err(|e| Damaged(e.to_string()))?;
        self.open.push(b'\n');
        if self.open.len() >= PIECE_BYTES {
            self.ready.push(std::mem::take(&mut self.open).into());
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.ready.push(self.open.into());
        }
        self.ready
    }
}

/// The line of a product as stored.
pub(super) fn product(seq: u64, body: &[u8]) -> Result<FeedLine, Damaged> {
    let Product { id, name, prices, published, .. } =
        serde_json::from_slice(body).map_err(|e| Damaged(e.to_string()))?;
    Ok(FeedLine::Product { seq, product: FeedProduct { sku: id, name, prices, published } })
}

/// The lines of changes that follow position `before`.
///
/// A plan's changes share a position, and a line promises everything up to its position: all but a plan's last
/// line carry the position before the plan. A plan without a product is a `progress`: it says nothing about what follows.
pub(super) fn of_changes(changes: &[Change], before: u64) -> Result<Vec<Bytes>, Damaged> {
    let mut pieces = Pieces::default();
    let mut complete = before;
    for (at, change) in changes.iter().enumerate() {
        let last_of_plan = changes.get(at + 1).is_none_or(|next| next.seq != change.seq);
        if last_of_plan {
            complete = change.seq.0;
        }
        if let Some(sku) = sku_of(&change.key) {
            pieces.push(&of_change(complete, sku, change)?)?;
        } else if last_of_plan {
            pieces.push(&FeedLine::Progress { seq: complete })?;
        }
    }
    Ok(pieces.finish())
}

fn of_change(seq: u64, sku: Sku, change: &Change) -> Result<FeedLine, Damaged> {
    let Some(item) = &change.new else { return Ok(FeedLine::Removed { seq, sku }) };
    let body = item.bytes("d").ok_or_else(|| Damaged("attribute d is missing".into()))?;
    product(seq, body)
}
