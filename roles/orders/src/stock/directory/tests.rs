use async_trait::async_trait;
use parking_lot::Mutex;
use zizon_table::{
    Applied, Caps, Change, Cond, Cursor, Durability, MemTable, Op, Page, Seq, ShardId, Token, WriteError,
};

use super::*;
use crate::service::ShopRules;
use crate::stock::shard::AVAILABLE;
use crate::testing::{TestShop, sku_of};

type Hook = Box<dyn FnOnce(&MemTable) + Send>;

/// A table in which something happens before one of its reads of many items, or before its next plan.
struct Meanwhile {
    inner: MemTable,
    hook: Mutex<Option<(usize, Hook)>>,
    before_plan: Mutex<Option<Hook>>,
}

impl Meanwhile {
    fn before_read(&self) {
        let mut hook = self.hook.lock();
        match hook.take() {
            Some((0, happens)) => happens(&self.inner),
            Some((reads, happens)) => *hook = Some((reads - 1, happens)),
            None => {}
        }
    }
}

#[async_trait]
impl Table for Meanwhile {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        self.before_read();
        self.inner.get_many(keys).await
    }

    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        self.inner.query(pk, range, limit, reverse, cursor).await
    }

    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.inner.write(op, durability).await
    }

    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError> {
        if let Some(happens) = self.before_plan.lock().take() {
            happens(&self.inner);
        }
        self.inner.transact(ops, token).await
    }

    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        self.inner.changes(shard, from, limit).await
    }

    async fn wait_change(&self, after: Seq) {
        self.inner.wait_change(after).await;
    }
}

fn put(table: &MemTable, item: Item) {
    let write = table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable);
    futures_util::FutureExt::now_or_never(write).expect("the model answers at once").expect("it takes it");
}

/// Moves all ten units of a product from one shard to another.
fn move_units(table: &MemTable, sku: &Sku, from: u16, to: u16) {
    put(table, Item::new(shard::key(sku, from)).with(AVAILABLE, 0i64));
    put(table, Item::new(shard::key(sku, to)).with(AVAILABLE, 10i64));
}

/// Products with so many shards and ten units each, in their last shard.
fn stocked(products: &[(&str, u16)]) -> MemTable {
    let table = MemTable::new();
    for &(sku, shards) in products {
        let sku = sku_of(sku);
        put(&table, Layout { active: shards, ever: shards }.write(Item::new(keys::directory(&sku)), 10));
        put(&table, Item::new(shard::key(&sku, shards - 1)).with(AVAILABLE, 10i64));
    }
    table
}

fn an_order() -> OrderId {
    format!("ord_{:042}", 1).parse().unwrap()
}

async fn totals(directory: &Directory, skus: &[Sku]) -> Vec<i64> {
    let skus: Vec<&Sku> = skus.iter().collect();
    let available = directory.available(&skus, &an_order()).await.unwrap();
    available.iter().map(|product| product.units.iter().sum()).collect()
}

#[tokio::test]
async fn units_that_move_between_two_reads_of_an_order_are_seen() {
    let products = [("A", 1), ("B", 256), ("C", 256), ("D", 256), ("E", 256)];
    let skus = products.map(|(sku, _)| sku_of(sku));
    let moved = skus[4].clone();
    let hook: Hook = Box::new(move |table| move_units(table, &moved, 255, 0));
    let table = Arc::new(Meanwhile {
        inner: stocked(&products),
        hook: Mutex::new(Some((1, hook))),
        before_plan: Mutex::default(),
    });
    let directory = Directory::new(table);
    assert_eq!(totals(&directory, &skus).await, [10; 5]);
}

#[tokio::test]
async fn units_that_move_to_shards_added_meanwhile_are_seen() {
    let sku = sku_of("A");
    let table =
        Arc::new(Meanwhile { inner: stocked(&[("A", 1)]), hook: Mutex::default(), before_plan: Mutex::default() });
    let directory = Directory::new(table.clone());
    let (announced, moved) = (directory.clone(), sku.clone());
    let hook: Hook = Box::new(move |table| {
        announced.set(&moved, Layout { active: 2, ever: 2 });
        move_units(table, &moved, 0, 1);
    });
    *table.hook.lock() = Some((0, hook));
    assert_eq!(totals(&directory, &[sku]).await, [10]);
}

#[tokio::test]
async fn a_split_that_lands_late_is_not_written_over() {
    let sku = sku_of("A");
    let split = sku.clone();
    // The split of a caller that has gone away lands between what the next change reads and what it writes.
    let lands: Hook = Box::new(move |table| {
        let layout = Layout { active: 2, ever: 2 };
        put(table, layout.write(Item::new(keys::directory(&split)), 10));
        (0..2).for_each(|number| put(table, Item::new(shard::key(&split, number)).with(AVAILABLE, 5i64)));
    });
    let table = Arc::new(Meanwhile {
        inner: stocked(&[("A", 1)]),
        hook: Mutex::default(),
        before_plan: Mutex::new(Some(lands)),
    });
    let keeper = crate::stock::operator::StockKeeper::new(table.clone(), Directory::new(table.clone()));
    keeper.set(&sku, 7).await.unwrap();
    // As after a restart: by what is stored.
    let restarted = Directory::new(table);
    let stored = restarted.snapshot(&sku).await.unwrap().unwrap();
    assert_eq!((stored.layout, stored.issued), (Layout { active: 2, ever: 2 }, 7));
    assert_eq!(totals(&restarted, &[sku]).await, [7]);
}

#[tokio::test]
async fn stock_of_a_product_that_is_not_sold_any_more_is_known_after_a_restart() {
    let (dir, table) = (tempfile::tempdir().unwrap(), Arc::new(MemTable::new()));
    let shop = TestShop::new(table.clone(), dir.path(), ShopRules::default());
    shop.stock("SET", 5).await;
    shop.service.seed_stock(&[(sku_of("SEEDED"), 5)]).await.unwrap();
    let restarted = TestShop::new(table, dir.path(), ShopRules::default());
    restarted.service.learn_stock().await.unwrap();
    let mut known = restarted.service.directory.skus();
    known.sort();
    assert_eq!(known, [sku_of("SEEDED"), sku_of("SET")]);
}
