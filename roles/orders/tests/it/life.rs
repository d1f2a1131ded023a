//! Stock under races, and what happens to an order after it was made, with both executors.

use std::collections::HashSet;
use std::sync::Arc;

use crate::shop::*;
use futures_util::future::join_all;
use serde_json::{Value, json};
use zizon_base::ids::OrderId;
use zizon_base::problem::Code;
use zizon_orders::background::audit::{audit_feed, audit_items};
use zizon_orders::background::expiry::Progress;
use zizon_orders::execute::Mode;
use zizon_orders::order::fact::Actor;
use zizon_orders::order::state::Event;
use zizon_orders::service::ShopRules;
use zizon_table::{MemTable, Table};

fn token(shop: &Shop, id: &OrderId) -> String {
    shop.test.ids().access_token(id)
}

async fn cancel(shop: &Shop, id: &OrderId) -> serde_json::Value {
    let token = token(shop, id);
    serde_json::from_slice(&shop.test.service.cancel(id.as_str(), Some(&token)).await.unwrap()).unwrap()
}

#[tokio::test]
async fn fifty_concurrent_duplicates_make_one_order() {
    for mode in MODES {
        for on_disk in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let table: Arc<dyn Table> = if on_disk { embedded(&dir) } else { Arc::new(MemTable::new()) };
            let shop = Shop::on(table, rules(mode)).await;
            let answers = join_all((0..50).map(|_| shop.place(SEED))).await;
            let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1, "{mode:?}");
            assert!(answers.iter().all(|answer| answer.body == answers[0].body));
            shop.test.settle().await;
            let stock = shop.test.stock_of("PROD001").await;
            assert_eq!((stock.held, stock.on_hand), (2, 1_000), "{mode:?}");
        }
    }
}

#[tokio::test]
async fn two_hundred_buyers_of_a_hundred_units_are_a_hundred_orders() {
    for mode in MODES {
        for on_disk in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let table: Arc<dyn Table> = if on_disk { embedded(&dir) } else { Arc::new(MemTable::new()) };
            let shop = Shop::on(table, rules(mode)).await;
            shop.test.stock("PROD001", 100).await;
            let orders: Vec<String> = (0..200).map(|user| buy(user, "PROD001", 1)).collect();
            let answers = join_all(orders.iter().map(|order| shop.place(order))).await;
            let (placed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
            assert_eq!(placed.len(), 100, "{mode:?}");
            assert!(refused.into_iter().all(|answer| answer.unwrap_err().code == Code::InsufficientStock), "{mode:?}");
            let ids: HashSet<_> = placed.into_iter().map(|answer| answer.unwrap().id).collect();
            assert_eq!(ids.len(), 100);
            shop.test.settle().await;
            let stock = shop.test.stock_of("PROD001").await;
            assert_eq!((stock.available, stock.held, stock.sold), (0, 100, 0), "{mode:?}");
        }
    }
}

#[tokio::test]
async fn sharded_stock_is_sold_to_the_last_unit() {
    for mode in MODES {
        let shop = Shop::with(rules(mode)).await;
        shop.test.stock("PROD001", 61).await;
        shop.test.shard("PROD001", 400).await;
        assert_eq!(shop.test.stock_of("PROD001").await.shards, 8);
        let mut sold = 0;
        for user in 0.. {
            let Ok(answer) = shop.place(&buy(user, "PROD001", 3)).await else { break };
            assert!(!answer.replayed);
            sold += 3;
        }
        assert_eq!(sold, 60, "{mode:?}");
        assert!(shop.place(&buy(1_000, "PROD001", 1)).await.is_ok());
        shop.test.settle().await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.held, stock.on_hand), (0, 61, 61));
    }
}

#[tokio::test]
async fn stock_is_split_and_merged_while_orders_hold_units_of_it() {
    let table = Arc::new(MemTable::new());
    let shop = Shop::on(table.clone(), rules(Mode::Atomic)).await;
    shop.test.shard("PROD001", 12_500).await;
    let mut ids = Vec::new();
    for user in 0..300 {
        ids.push(shop.place(&buy(user, "PROD001", 1)).await.unwrap().id);
    }
    for peak in [200, 12_500, 0, 3_000] {
        shop.test.shard("PROD001", peak).await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.held, stock.on_hand), (700, 300, 1_000), "{peak}");
    }
    shop.test.stock("PROD001", 50).await;
    for id in &ids {
        assert_eq!(cancel(&shop, id).await["status"], "cancelled");
    }
    let stock = shop.test.stock_of("PROD001").await;
    assert_eq!((stock.available, stock.held, stock.on_hand), (350, 0, 350));
    let report = audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap();
    assert!(report.ok && report.unsettled == 0, "{report:?}");
    assert_eq!(audit_items(table.items()).unwrap().differences, Vec::<String>::new());
}

#[tokio::test]
async fn stock_is_changed_while_orders_come_in_and_the_books_close() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let table = embedded(&dir);
        let shop = Shop::on(table.clone(), rules(mode)).await;
        let orders: Vec<String> = (0..400).map(|user| buy(user, "PROD001", 1)).collect();
        let buying = join_all(orders.iter().map(|order| shop.place(order)));
        let changing = async {
            for (units, peak) in [(900, 300), (500, 12_500), (2_000, 0)] {
                shop.test.stock("PROD001", units).await;
                shop.test.shard("PROD001", peak).await;
            }
        };
        let (answers, ()) = futures_util::future::join(buying, changing).await;
        let sold = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(sold, 400, "{mode:?}");
        shop.test.settle().await;
        assert_eq!(shop.test.stock_of("PROD001").await.held, 400);
        let report = audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap();
        assert!(report.ok && report.unsettled == 0, "{report:?}");
        table.close().await;
    }
}

#[tokio::test]
async fn cancelling_twice_gives_the_units_back_once() {
    for mode in MODES {
        let shop = Shop::with(rules(mode)).await;
        let id = shop.place(SEED).await.unwrap().id;
        let both = join_all((0..2).map(|_| cancel(&shop, &id))).await;
        for order in &both {
            assert_eq!(order["status"], "cancelled");
            assert_eq!((order.get("reservation"), &order["links"]), (Some(&Value::Null), &json!({})), "nothing to pay");
        }
        assert_eq!(cancel(&shop, &id).await, both[0]);
        shop.test.settle().await;
        shop.test.settle().await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.held), (1_000, 0), "{mode:?}");
        let replay = shop.place(SEED).await.unwrap();
        assert_eq!(body(&replay)["status"], "pending_payment");
    }
}

#[tokio::test]
async fn an_effect_on_its_way_is_no_difference_and_a_wrong_count_is() {
    let table = Arc::new(MemTable::new());
    let shop = Shop::on(table.clone(), rules(Mode::Stepwise)).await;
    let id = shop.place(SEED).await.unwrap().id;
    let unsettled = audit_items(table.items()).unwrap();
    assert!(unsettled.ok && unsettled.unsettled == 1, "{unsettled:?}");
    shop.test.settle().await;
    cancel(&shop, &id).await;
    let on_its_way = audit_items(table.items()).unwrap();
    assert!(on_its_way.ok && on_its_way.unsettled == 1, "{on_its_way:?}");
    shop.test.settle().await;
    let settled = audit_items(table.items()).unwrap();
    assert!(settled.ok && settled.unsettled == 0, "{settled:?}");
    let mut items = table.items();
    let shard = items.iter_mut().find(|item| item.int("q") == Some(1_000)).unwrap();
    shard.set("q", 990);
    shard.set("r", 10);
    let wrong = audit_items(items).unwrap();
    assert!(!wrong.ok, "{wrong:?}");
    assert!(wrong.differences[0].contains("10 reserved and 0 sold, but the orders add up to 0 and 0"), "{wrong:?}");
}

#[tokio::test]
async fn an_order_is_shown_only_to_whoever_has_its_token() {
    let shop = Shop::new().await;
    let answer = shop.place(SEED).await.unwrap();
    let service = &shop.test.service;
    let other = shop.place(&buy(1, "PROD001", 1)).await.unwrap().id;
    for (id, token) in [
        (answer.id.as_str(), None),
        (answer.id.as_str(), Some(token(&shop, &other))),
        ("ord_nonsense", Some(token(&shop, &answer.id))),
    ] {
        assert_eq!(service.show(id, token.as_deref()).await.unwrap_err().code, Code::NotFound);
        assert_eq!(service.cancel(id, token.as_deref()).await.unwrap_err().code, Code::NotFound);
    }
    let token = token(&shop, &answer.id);
    assert_eq!(service.show(answer.id.as_str(), Some(&token)).await.unwrap(), answer.body);
}

#[tokio::test]
async fn an_order_expires_when_its_time_is_over_and_not_before() {
    for mode in MODES {
        let table = Arc::new(MemTable::new());
        let shop = Shop::on(table.clone(), rules(mode)).await;
        let first = shop.place(&buy(1, "PROD001", 2)).await.unwrap().id;
        let called_off = shop.place(&buy(2, "PROD001", 3)).await.unwrap().id;
        cancel(&shop, &called_off).await;
        shop.test.clock.advance_ms(600_000);
        shop.test.confirm_prices();
        let second = shop.place(&buy(3, "PROD001", 4)).await.unwrap().id;
        let mut expiry = shop.test.expiry().await;
        assert_eq!(expiry.step().await, Ok(Progress::Wait(1_000)));
        shop.test.clock.advance_ms(299_999);
        assert_eq!(expiry.step().await, Ok(Progress::Wait(1)));
        shop.test.clock.advance_ms(1);
        while expiry.step().await == Ok(Progress::More) {}
        expiry.save().await.unwrap();
        let status = async |id: OrderId| {
            let token = token(&shop, &id);
            let shown = shop.test.service.show(id.as_str(), Some(&token)).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&shown).unwrap()["status"].clone()
        };
        assert_eq!(status(first).await, "expired");
        assert_eq!(status(called_off).await, "cancelled");
        assert_eq!(status(second).await, "pending_payment");
        // A restart goes on where the cursor was saved.
        shop.test.clock.advance_ms(600_000);
        let mut resumed = shop.test.expiry().await;
        while resumed.step().await == Ok(Progress::More) {}
        assert_eq!(status(second).await, "expired");
        shop.test.settle().await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.held), (1_000, 0), "{mode:?}");
        let report = audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap();
        assert!(report.ok && report.unsettled == 0, "{report:?}");
    }
}

#[tokio::test]
async fn a_paid_order_is_sold_and_neither_expires_nor_sells_twice() {
    for mode in MODES {
        let table = Arc::new(MemTable::new());
        let shop = Shop::on(table.clone(), rules(mode)).await;
        let id = shop.place(SEED).await.unwrap().id;
        let service = &shop.test.service;
        for _ in 0..2 {
            service.bring_about(&id, Event::PaymentCovered, Actor::System).await.unwrap();
        }
        shop.test.clock.advance_ms(1_000_000);
        let mut expiry = shop.test.expiry().await;
        while expiry.step().await == Ok(Progress::More) {}
        shop.test.settle().await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.held, stock.sold, stock.on_hand), (998, 0, 2, 1_000));
        // Called off before picking: the units come back, once.
        for _ in 0..2 {
            service.bring_about(&id, Event::CancelledByStaff, Actor::Operator).await.unwrap();
        }
        shop.test.settle().await;
        let stock = shop.test.stock_of("PROD001").await;
        assert_eq!((stock.available, stock.sold), (1_000, 0), "{mode:?}");
        let refused = service.bring_about(&id, Event::PickStarted, Actor::Operator).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidTransition);
        assert!(audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap().ok);
    }
}

#[tokio::test]
async fn an_order_with_more_products_than_a_plan_holds_is_placed_and_called_off() {
    let table = Arc::new(MemTable::new());
    let shop = Shop::on(table.clone(), rules(Mode::Atomic)).await;
    let lines: Vec<_> = (0..100).map(|at| line(&format!("P{at}"), 1)).collect();
    for at in 0..100 {
        shop.test.sell(&format!("P{at}"), 1_000);
        shop.test.stock(&format!("P{at}"), 1).await;
    }
    let mut settler = shop.test.settler().await;
    assert!(!settler.is_active());
    let id = shop.place(&order(&json!({"items": lines}))).await.unwrap().id;
    assert!(settler.is_active());
    settler.wait().await;
    while settler.step().await.unwrap() > 0 {}
    assert!(audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap().ok);
    cancel(&shop, &id).await;
    while settler.step().await.unwrap() > 0 {}
    let report = audit_feed(&*table, u64::MAX, &mut || {}).await.unwrap();
    assert!(report.ok && report.unsettled == 0, "{report:?}");
    assert_eq!(shop.test.stock_of("P99").await.available, 1);
    assert!(!settler.rest(true).await.unwrap(), "work may still land");
    shop.test.clock.advance_ms(60_001);
    assert!(settler.rest(true).await.unwrap());
    assert!(!shop.test.settler().await.is_active());
}

#[tokio::test]
async fn a_replay_is_byte_identical_after_the_table_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let with_note = order(&json!({"note": "문 앞에 놓아 주세요"}));
    let first = {
        let table = embedded(&dir);
        let shop = Shop::on(table.clone(), ShopRules::default()).await;
        let bytes = shop.place(&with_note).await.unwrap().body;
        table.close().await;
        bytes
    };
    let table = embedded(&dir);
    let shop = Shop::on(table.clone(), ShopRules::default()).await;
    shop.test.clock.advance_ms(86_400_000);
    let again = shop.place(&with_note).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.body, first);
    table.close().await;
}

#[tokio::test]
async fn an_order_that_is_refused_makes_no_key() {
    let shop = Shop::new().await;
    shop.test.stock("PROD001", 1).await;
    let address = json!({"recipient": "김하나", "country": "KR", "postal_code": "04524", "city": "서울", "line1": "세종대로 110"});
    let text = order(&json!({"shipping_address": address}));
    assert_eq!(shop.code(&text).await, Code::InsufficientStock);
    shop.test.sell("PROD001", 1);
    assert_eq!(shop.code(&text).await, Code::PriceChanged);
    assert!(shop.test.keyring().is_empty());
    shop.test.sell("PROD001", 2_690_000);
    shop.test.stock("PROD001", 2).await;
    shop.place(&text).await.unwrap();
    assert!(!shop.test.keyring().is_empty());
}

#[tokio::test]
async fn destroying_a_users_key_makes_personal_fields_unreadable_and_leaves_the_order() {
    let shop = Shop::new().await;
    let address = json!({"recipient": "김하나", "country": "KR", "postal_code": "04524", "city": "서울", "line1": "세종대로 110"});
    let text = order(&json!({"note": "secret note", "shipping_address": address}));
    let answer = shop.place(&text).await.unwrap();
    let service = &shop.test.service;
    let personal = service.personal(&service.load(&answer.id).await.unwrap()).unwrap().unwrap();
    assert_eq!(personal.note.as_deref(), Some("secret note"));
    assert_eq!(personal.shipping_address.unwrap().recipient, "김하나");
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));

    assert!(shop.test.keyring().destroy(&answer.id.user_hash()).await.unwrap());
    assert!(!shop.test.keyring().destroy(&answer.id.user_hash()).await.unwrap());
    let order = service.load(&answer.id).await.unwrap();
    assert_eq!(service.personal(&order).unwrap(), None);
    let replay = shop.place(&text).await.unwrap();
    assert_eq!((replay.replayed, replay.body), (true, answer.body));
}

#[tokio::test]
async fn a_table_that_is_closed_answers_retryably_and_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let table = embedded(&dir);
    let shop = Shop::on(table.clone(), ShopRules::default()).await;
    table.close().await;
    assert_eq!(shop.code(SEED).await, Code::StorageFailed);
    assert!(shop.test.service.has_failed());
}
