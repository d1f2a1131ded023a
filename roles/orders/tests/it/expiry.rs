//! Expiry when the clock was not always right.

use std::sync::Arc;

use zizon_orders::background::expiry::{Expiry, Progress};
use zizon_orders::service::ShopRules;
use zizon_orders::testing::START_MS;
use zizon_table::{MemTable, Table};

use crate::shop::*;

const DAY_MS: u64 = 86_400_000;
const TTL_MS: u64 = 900_000;

/// Orders of one unit each, by the users of a range, at a moment of the clock.
async fn buy_at(shop: &Shop, wall_ms: u64, users: std::ops::Range<usize>) {
    shop.test.clock.set_wall_ms(wall_ms);
    for user in users {
        shop.place(&buy(user, "PROD002", 1)).await.unwrap();
    }
}

async fn run(shop: &Shop, expiry: &mut Expiry) -> u64 {
    while expiry.step().await.unwrap() == Progress::More {}
    expiry.save().await.unwrap();
    u64::try_from(shop.test.stock_of("PROD002").await.held).unwrap()
}

#[tokio::test]
async fn an_order_from_a_clock_that_was_ahead_keeps_no_later_order_from_expiring() {
    let shop = Shop::new().await;
    buy_at(&shop, START_MS + 30 * DAY_MS, 1..2).await;
    buy_at(&shop, START_MS, 2..7).await;
    let mut expiry = shop.test.expiry().await;
    assert_eq!(run(&shop, &mut expiry).await, 6);
    shop.test.clock.set_wall_ms(START_MS + TTL_MS);
    assert_eq!(run(&shop, &mut expiry).await, 1);
    shop.test.clock.set_wall_ms(START_MS + 30 * DAY_MS + TTL_MS - 1);
    assert_eq!(run(&shop, &mut expiry).await, 1);
    shop.test.clock.set_wall_ms(START_MS + 30 * DAY_MS + TTL_MS);
    assert_eq!(run(&shop, &mut expiry).await, 0);
}

#[tokio::test]
async fn a_restart_still_expires_what_an_earlier_process_took_aside() {
    let table: Arc<dyn Table> = Arc::new(MemTable::new());
    let shop = Shop::on(Arc::clone(&table), ShopRules::default()).await;
    buy_at(&shop, START_MS + 30 * DAY_MS, 1..3).await;
    buy_at(&shop, START_MS, 3..7).await;
    shop.test.clock.set_wall_ms(START_MS + TTL_MS);
    assert_eq!(run(&shop, &mut shop.test.expiry().await).await, 2);
    buy_at(&shop, START_MS + DAY_MS, 7..9).await;

    let restarted = Shop::on(table, ShopRules::default()).await;
    restarted.test.clock.set_wall_ms(START_MS + DAY_MS + TTL_MS);
    let mut expiry = restarted.test.expiry().await;
    assert_eq!(run(&restarted, &mut expiry).await, 2);
    restarted.test.clock.set_wall_ms(START_MS + 30 * DAY_MS + TTL_MS);
    assert_eq!(run(&restarted, &mut expiry).await, 0);
}

#[tokio::test]
async fn more_orders_from_a_clock_that_was_ahead_than_there_is_room_for_are_read_again_in_time() {
    let table: Arc<dyn Table> = Arc::new(MemTable::new());
    let shop = Shop::on(Arc::clone(&table), ShopRules::default()).await;
    buy_at(&shop, START_MS + 2 * DAY_MS, 1..4).await;
    buy_at(&shop, START_MS + DAY_MS, 4..8).await;
    buy_at(&shop, START_MS, 8..12).await;
    let mut expiry = shop.test.expiry_with_room(2).await;
    shop.test.clock.set_wall_ms(START_MS + TTL_MS);
    assert_eq!(run(&shop, &mut expiry).await, 7);
    shop.test.clock.set_wall_ms(START_MS + DAY_MS + TTL_MS);
    assert_eq!(run(&shop, &mut expiry).await, 3);

    // Also when the process that had no room for them is gone.
    let restarted = Shop::on(table, ShopRules::default()).await;
    restarted.test.clock.set_wall_ms(START_MS + 2 * DAY_MS + TTL_MS);
    assert_eq!(run(&restarted, &mut restarted.test.expiry_with_room(2).await).await, 0);
}

#[tokio::test]
async fn a_reservation_that_is_made_shorter_keeps_what_earlier_orders_were_promised() {
    let table: Arc<dyn Table> = Arc::new(MemTable::new());
    let shop = Shop::on(Arc::clone(&table), ShopRules::default()).await;
    buy_at(&shop, START_MS, 1..4).await;
    assert_eq!(run(&shop, &mut shop.test.expiry().await).await, 3);

    let shorter = ShopRules { reservation: std::time::Duration::from_secs(3), ..ShopRules::default() };
    let restarted = Shop::on(table, shorter).await;
    restarted.test.clock.set_wall_ms(START_MS + TTL_MS - 1);
    let mut expiry = restarted.test.expiry().await;
    let figures = expiry.figures();
    assert_eq!(run(&restarted, &mut expiry).await, 3);
    assert_eq!(
        figures.parked.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "they are not from a clock that was ahead"
    );
    restarted.test.clock.set_wall_ms(START_MS + TTL_MS);
    assert_eq!(run(&restarted, &mut expiry).await, 0);
}
