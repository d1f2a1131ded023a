//! Our table, as the product opens it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use zizon_journal::Env;
use zizon_table::{Cond, EmbeddedTable, EngineOptions, Item, Key, Op, Patch, Path as Attr, Table, WriteError};

use crate::gather::Gather;
use crate::plan::{DOCUMENT, Order, SHARDS, TAKEN, UNITS, counter_partition};
use crate::{Engine, Failure};

/// Counters written by one plan while seeding.
const SEED_PLAN: usize = 99;

pub struct Ours {
    table: Arc<EmbeddedTable>,
    document: Bytes,
}

impl Engine for Ours {
    fn open(directory: &Path, gather: Gather) -> Result<Self, Failure> {
        let options = EngineOptions { gather_max: gather.0, ..EngineOptions::default() };
        let table = EmbeddedTable::open(directory, options, Env::real())?;
        Ok(Self { table, document: Bytes::from(vec![0x5a; DOCUMENT]) })
    }

    async fn seed(&self, products: u64) -> Result<(), Failure> {
        let counters: Vec<Key> = (0..products).flat_map(|p| (0..SHARDS).map(move |s| counter_key(p, s))).collect();
        for some in counters.chunks(SEED_PLAN) {
            let item = |key: &Key| Item::new(key.clone()).with("q", UNITS).with("r", 0).with("s", 0);
            let plan = some.iter().map(|key| Op::Put { item: item(key), cond: Cond::Always }).collect();
            self.table.transact(plan, None).await?;
        }
        Ok(())
    }

    async fn place(&self, order: Order) -> Result<bool, Failure> {
        match self.table.transact(self.plan(order), None).await {
            Ok(_) => Ok(true),
            Err(WriteError::CondFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn groups(&self) -> u64 {
        self.table.metrics().batches
    }

    async fn has(&self, order: Order) -> Result<bool, Failure> {
        Ok(self.table.get(&order_key(order)).await?.is_some())
    }

    async fn available(&self, product: u64) -> Result<i64, Failure> {
        let keys: Vec<Key> = (0..SHARDS).map(|shard| counter_key(product, shard)).collect();
        let items = self.table.get_many(&keys).await?;
        Ok(items.iter().flatten().filter_map(|item| item.int("q")).sum())
    }

    async fn close(self) -> Result<(), Failure> {
        self.table.close().await;
        Ok(())
    }
}

impl Ours {
    fn plan(&self, order: Order) -> Vec<Op> {
        let item = Item::new(order_key(order))
            .with("st", "PLACED")
            .with("g", 0)
            .with("n", 0x1234_5678_9abc_i64)
            .with("dg", Bytes::from_static(&[7; 32]))
            .with("b", self.document.clone())
            .with("ts", 1_790_000_000_000_i64)
            .with("ttl", "standard");
        let mut ops = vec![Op::Put { item, cond: Cond::NotExists }];
        for shard in 0..SHARDS {
            ops.push(Op::Patch {
                key: counter_key(order.product, shard),
                patches: vec![Patch::AddInt(Attr::attr("q"), -TAKEN), Patch::AddInt(Attr::attr("r"), TAKEN)],
                cond: Cond::AttrGe(Attr::attr("q"), TAKEN),
            });
        }
        ops
    }
}

fn order_key(order: Order) -> Key {
    Key::new(order.partition(), order.sort())
}

fn counter_key(product: u64, shard: u64) -> Key {
    Key::new(counter_partition(product, shard), "S")
}
