//! Many at once: duplicates make one order, the last unit is sold once.

use std::{collections::HashSet, thread};

use zizon_tests::Platform;

const PRICE: i64 = 2_690_000;

#[test]
fn fifty_concurrent_duplicates_make_one_order() {
    let platform = Platform::demo();
    let client = platform.client();
    let answers: Vec<_> = thread::scope(|scope| {
        let sent: Vec<_> = (0..50).map(|_| scope.spawn(|| client.order("dup-1", "PROD001", 1, PRICE))).collect();
        sent.into_iter().map(|thread| thread.join().expect("the thread ends")).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let bodies: HashSet<_> = answers.iter().map(|answer| answer.body.clone()).collect();
    assert_eq!(bodies.len(), 1, "all fifty are the same order");
    let first_answers = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!(first_answers, 1);
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 1);
}

fn two_hundred_buyers(platform: &Platform) {
    assert!(platform.run(&["stock", "set", "PROD001", "100"]).status.success());
    let client = platform.client();
    let answers: Vec<_> = thread::scope(|scope| {
        let client = &client;
        let sent: Vec<_> = (0..200)
            .map(|buyer| scope.spawn(move || client.order(&format!("buyer-{buyer}"), "PROD001", 1, PRICE)))
            .collect();
        sent.into_iter().map(|thread| thread.join().expect("the thread ends")).collect()
    });
    let sold = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 409 && answer.code() == "insufficient-stock").count();
    assert_eq!((sold, refused), (100, 100));
    zizon_tests::eventually("the stock equation closes", || {
        let stock = platform.json(&["stock", "show", "PROD001"]);
        stock["available"] == 0 && stock["held"] == 100 && stock["on_hand"] == 100
    });
}

#[test]
fn two_hundred_buyers_get_exactly_a_hundred_units() {
    two_hundred_buyers(&Platform::demo());
}

#[test]
fn two_hundred_buyers_get_exactly_a_hundred_units_step_by_step() {
    two_hundred_buyers(&Platform::builder().config("[orders]\nexecutor = \"stepwise\"\n").start());
}

#[test]
fn stock_split_over_counters_is_sold_to_the_last_unit() {
    let platform = Platform::demo();
    assert!(platform.run(&["stock", "set", "PROD001", "20"]).status.success());
    let sharded = platform.json(&["stock", "shard", "PROD001", "--peak", "400"]);
    assert_eq!((&sharded["shards"], &sharded["on_hand"]), (&serde_json::json!(8), &serde_json::json!(20)));
    let client = platform.client();
    let statuses: Vec<u16> = (0..7).map(|n| client.order(&format!("crumb-{n}"), "PROD001", 3, PRICE).status).collect();
    assert_eq!(statuses, [201, 201, 201, 201, 201, 201, 409]);
    assert_eq!(client.order("crumb-last", "PROD001", 2, PRICE).status, 201);
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["available"], 0);
}
