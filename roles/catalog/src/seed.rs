//! Fills an empty table with the demo's products.
//!
//! A plan has at most 100 operations and the demo more products, so a crash can come between two plans: a
//! marker says that seeding has begun, and the next start goes on.

use zizon_contracts::catalog::Product;
use zizon_table::{Cond, Durability, Item, Key, Op, Table, Value, WriteError};

use crate::demo;
use crate::error::RunError;
use crate::record::{Record, key};

/// Products per plan.
const PLAN: usize = 50;
const BEGUN: &str = "begun";
const DONE: &str = "done";

fn marker() -> Key {
    Key::new("M#demo", "M")
}

/// Notes that the demo's products are to be written.
pub(crate) async fn begin(table: &dyn Table) -> Result<(), RunError> {
    mark(table, BEGUN).await
}

/// Writes what is still missing, if seeding has begun and is not done.
pub(crate) async fn go_on(table: &dyn Table) -> Result<(), RunError> {
    let state = table.get(&marker()).await?;
    if state.and_then(|item| item.get("s").cloned()) != Some(Value::from(BEGUN)) {
        return Ok(());
    }
    let products = demo::products()?;
    tracing::info!(products = products.len(), "writing the demo's products");
    for some in products.chunks(PLAN) {
        write(table, some).await?;
    }
    mark(table, DONE).await
}

async fn mark(table: &dyn Table, state: &str) -> Result<(), RunError> {
    let item = Item::new(marker()).with("s", state);
    table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable).await.map_err(RunError::Seed)?;
    Ok(())
}

/// Writes those that do not exist: one that an operator has changed meanwhile stays changed.
async fn write(table: &dyn Table, products: &[Product]) -> Result<(), RunError> {
    let keys: Vec<Key> = products.iter().map(|product| key(&product.id)).collect();
    let existing = table.get_many(&keys).await?;
    let mut plan = Vec::with_capacity(products.len());
    for (product, existing) in products.iter().zip(existing) {
        if existing.is_none() {
            let record = Record::new(product.clone(), 1);
            let record = record.map_err(|source| RunError::Demo { file: "products", source })?;
            plan.push(Op::Put { item: record.to_item(), cond: Cond::NotExists });
        }
    }
    if plan.is_empty() {
        return Ok(());
    }
    match table.transact(plan, None).await {
        Ok(_) | Err(WriteError::CondFailed { .. }) => Ok(()),
        Err(error) => Err(RunError::Seed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shelf::Shelf;
    use zizon_table::MemTable;

    async fn shelf(table: &MemTable) -> Shelf {
        Shelf::load(table, 0).await.unwrap()
    }

    #[tokio::test]
    async fn a_table_is_filled_once() {
        let table = MemTable::new();
        go_on(&table).await.unwrap();
        assert_eq!(shelf(&table).await.len(), 0, "nobody asked for a demo");
        begin(&table).await.unwrap();
        go_on(&table).await.unwrap();
        assert_eq!(shelf(&table).await.len(), 200);
        let id = demo::products().unwrap()[0].id.clone();
        table.write(Op::Delete { key: key(&id), cond: Cond::Always }, Durability::Durable).await.unwrap();
        go_on(&table).await.unwrap();
        assert_eq!(shelf(&table).await.len(), 199, "what an operator removed stays removed");
    }

    #[tokio::test]
    async fn seeding_goes_on_after_a_crash_and_keeps_what_is_there() {
        let table = MemTable::new();
        begin(&table).await.unwrap();
        let products = demo::products().unwrap();
        let mut changed = products[3].clone();
        changed.size = "changed".into();
        write(&table, &[changed.clone()]).await.unwrap();
        write(&table, &products[40..60]).await.unwrap();
        go_on(&table).await.unwrap();
        assert_eq!(shelf(&table).await.len(), 200);
        let kept = table.get(&key(&changed.id)).await.unwrap().unwrap();
        assert_eq!(Record::from_item(&kept).unwrap().product, changed);
    }
}
