//! Both executors on the embedded engine: an attempt, or a cancellation, that stops before or after any of its table
//! operations; then the table is opened again and everything must come right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::shop::*;
use async_trait::async_trait;
use tokio::sync::Notify;
use zizon_orders::background::audit::audit_feed;
use zizon_orders::execute::Mode;
use zizon_orders::testing::TestShop;
use zizon_table::{
    Applied, Caps, Change, Cursor, Durability, EmbeddedTable, Item, Key, Op, Page, ReadError, Seq, ShardId, SkRange,
    Table, Token, WriteError,
};

/// Where a caller stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The operation is never begun.
    Before,
    /// The operation happens and nobody hears of it.
    After,
}

/// Lets `left` operations through; the next one never ends.
struct StopAt {
    inner: Arc<EmbeddedTable>,
    left: AtomicUsize,
    stop: Stop,
    stopped: Notify,
}

impl StopAt {
    async fn step<T>(&self, operation: impl Future<Output = T>) -> T {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            if self.stop == Stop::After {
                operation.await;
            }
            self.stopped.notify_one();
            return std::future::pending().await;
        }
        operation.await
    }
}

#[async_trait]
impl Table for StopAt {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }
    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        self.step(self.inner.get(key)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        self.step(self.inner.get_many(keys)).await
    }
    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        self.step(self.inner.query(pk, range, limit, reverse, cursor)).await
    }
    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.step(self.inner.write(op, durability)).await
    }
    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError> {
        self.step(self.inner.transact(ops, token)).await
    }
    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        self.step(self.inner.changes(shard, from, limit)).await
    }
    async fn wait_change(&self, after: Seq) {
        self.inner.wait_change(after).await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Place,
    Cancel,
}

/// True when the act came to its end within `left` operations.
async fn act(shop: &Shop, what: Act, table: Arc<EmbeddedTable>, mode: Mode, left: usize, stop: Stop) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let stopping = Arc::new(StopAt { inner: table, left: AtomicUsize::new(left), stop, stopped: Notify::new() });
    let victim = TestShop::new(stopping.clone(), dir.path(), rules(mode));
    victim.sell("PROD001", 2_690_000);
    let id = shop.test.ids().order_id("guest", &"user_42".parse().unwrap(), &"test_1_0.5".parse().unwrap());
    let token = shop.test.ids().access_token(&id);
    let done = async {
        match what {
            Act::Place => drop(victim.service.place(SEED.as_bytes(), None).await.unwrap()),
            Act::Cancel => drop(victim.service.cancel(id.as_str(), Some(&token)).await.unwrap()),
        }
    };
    tokio::select! {
        biased;
        () = done => true,
        () = stopping.stopped.notified() => false,
    }
}

async fn come_right(shop: &Shop, table: &EmbeddedTable) {
    shop.test.clock.advance_ms(61_000);
    for _ in 0..2 {
        shop.test.settle().await;
        shop.test.sweeper().sweep(&"PROD001".parse().unwrap()).await.unwrap();
    }
    let report = audit_feed(table, u64::MAX, &mut || {}).await.unwrap();
    assert!(report.ok && report.unsettled == 0, "{report:?}");
}

async fn every_step_of(what: Act) {
    for mode in MODES {
        for stop in [Stop::Before, Stop::After] {
            for left in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let table = embedded(&dir);
                let shop = Shop::on(table.clone(), rules(mode)).await;
                if matches!(what, Act::Cancel) {
                    shop.place(SEED).await.unwrap();
                }
                let ended = act(&shop, what, table.clone(), mode, left, stop).await;
                table.close().await;

                let table = embedded(&dir);
                let shop = Shop::on(table.clone(), rules(mode)).await;
                let context = format!("{mode:?}, {stop:?} operation {left}");
                let answer = shop.place(SEED).await.unwrap_or_else(|e| panic!("{context}: {e:?}"));
                let token = shop.test.ids().access_token(&answer.id);
                if matches!(what, Act::Cancel) {
                    shop.test.service.cancel(answer.id.as_str(), Some(&token)).await.unwrap();
                }
                come_right(&shop, &table).await;
                let stock = shop.test.stock_of("PROD001").await;
                let held = if matches!(what, Act::Cancel) { 0 } else { 2 };
                assert_eq!((stock.held, stock.on_hand), (held, 1_000), "{context}");
                table.close().await;
                if ended {
                    assert!(left > 0);
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_attempt_that_stops_anywhere_comes_right_after_a_restart() {
    every_step_of(Act::Place).await;
}

#[tokio::test]
async fn a_cancellation_that_stops_anywhere_comes_right_after_a_restart() {
    every_step_of(Act::Cancel).await;
}
