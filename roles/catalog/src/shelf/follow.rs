//! Keeps the shelf up with the table.

use std::sync::Arc;
use std::time::Duration;

use zizon_table::{Change, ReadError, Seq, ShardId, Table};

use super::Shelf;
use crate::record::{Damaged, Record, sku_of};

/// Changes per read.
const BATCH: u32 = 512;
/// Pause before reading again what could not be read just then.
const PAUSE: Duration = Duration::from_millis(100);

/// Applies the table's changes for as long as it lives; returns why it no longer can.
pub(crate) async fn follow(table: Arc<dyn Table>, shelf: Arc<Shelf>) -> ReadError {
    loop {
        let position = Seq(shelf.position());
        match table.changes(ShardId::ONLY, position.next(), BATCH).await {
            Ok(changes) if changes.is_empty() => table.wait_change(position).await,
            Ok(changes) => {
                for change in &changes {
                    if let Err(Damaged(reason)) = apply(&shelf, change) {
                        return ReadError::Corrupt(format!("change {}: {reason}", change.seq));
                    }
                }
                shelf.reached(changes.last().map_or(position.0, |last| last.seq.0));
            }
            Err(ReadError::Throttled | ReadError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return error,
        }
    }
}

fn apply(shelf: &Shelf, change: &Change) -> Result<(), Damaged> {
    let Some(sku) = sku_of(&change.key) else { return Ok(()) };
    match &change.new {
        Some(item) => shelf.put(&Record::from_item(item)?),
        None => {
            shelf.remove(&sku);
            Ok(())
        }
    }
}
