//! What one broken thing may not do to all others.

use std::sync::Arc;
use std::task::{Context, Waker};

use crate::shop::*;
use bytes::Bytes;
use zizon_orders::service::ShopRules;
use zizon_table::{Cond, Durability, Key, MemTable, Op, Seq, ShardId, Table};

/// Units available in every shard that was ever made, whatever the directory says.
async fn in_all_shards(table: &dyn Table, sku: &str, shards: u16) -> i64 {
    let mut all = 0;
    for number in 0..shards {
        let item = table.get(&Key::new(format!("S#{sku}#local#{number:03}"), "S")).await.unwrap();
        all += item.and_then(|item| item.int("q")).unwrap_or(0);
    }
    all
}

#[tokio::test]
async fn a_split_whose_caller_goes_away_loses_no_units_and_refuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let table: Arc<dyn Table> = embedded(&dir);
    let shop = Shop::on(Arc::clone(&table), ShopRules::default()).await;
    shop.test.stock("PROD002", 10).await;
    {
        // The route's time is over, or the connection is gone, while the plan is being synced.
        let mut split = Box::pin(shop.test.shard("PROD002", 400));
        assert!(split.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let landed = async {
        while in_all_shards(&*table, "PROD002", 1).await == 10 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), landed).await.expect("the plan lands all the same");

    assert!(shop.place(&buy(1, "PROD002", 5)).await.is_ok(), "five of ten are there");
    shop.test.stock("PROD002", 10).await;
    assert_eq!(shop.test.stock_of("PROD002").await.available, 10);
    assert_eq!(in_all_shards(&*table, "PROD002", 8).await, 10, "no units outside what is counted");
}

#[tokio::test]
async fn one_order_that_cannot_be_read_does_not_keep_the_others_from_expiring() {
    let table: Arc<dyn Table> = Arc::new(MemTable::new());
    let shop = Shop::on(Arc::clone(&table), ShopRules::default()).await;
    shop.place(&buy(1, "PROD002", 1)).await.unwrap();
    let changes = table.changes(ShardId::ONLY, Seq(1), 1_000).await.unwrap();
    let order =
        changes.into_iter().filter_map(|change| change.new).find(|item| item.key.sk.starts_with(b"O#")).unwrap();
    let broken = order.with("b", Bytes::from_static(b"\x07"));
    table.write(Op::Put { item: broken, cond: Cond::Always }, Durability::Durable).await.unwrap();
    for user in 2..7 {
        shop.place(&buy(user, "PROD002", 1)).await.unwrap();
    }
    shop.test.clock.advance_ms(86_400_000);
    let mut expiry = shop.test.expiry().await;
    for _ in 0..50 {
        expiry.step().await.unwrap();
    }
    assert_eq!(shop.test.stock_of("PROD002").await.held, 1, "only the unreadable order's unit is still held");
}
