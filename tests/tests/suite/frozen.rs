//! A role that stands still (`SIGSTOP`) without ending: nobody waits longer than the edge's patience, what does not need
//! the role goes on, and afterwards everything is as if it had never stood still.

use std::{
    thread,
    time::{Duration, Instant},
};

use zizon_tests::{
    Answer, Client, Load, Platform, eventually_within,
    load::PRODUCT,
    platform::{freeze, thaw},
};

const PRICE: i64 = 2_690_000;
/// How long the edge waits for a role here.
const PATIENCE: Duration = Duration::from_millis(1000);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(1500);
/// How long a role stands still.
const FROZEN: Duration = Duration::from_millis(3500);

/// Asks, and sees to it that there is an answer in time.
fn in_time(what: &str, ask: impl FnOnce() -> Answer) -> Answer {
    let began = Instant::now();
    let answer = ask();
    assert!(began.elapsed() < PATIENCE + SLACK, "{what} took {:?}", began.elapsed());
    answer
}

/// Somebody is told that it did not work, in the way of the contract, and that he may ask again.
fn assert_refused_for_now(what: &str, answer: &Answer) {
    assert!(matches!(answer.status, 503 | 504), "{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.json()["retryable"], true, "{what}: {}", answer.json());
    assert!(answer.header("retry-after").is_some(), "{what}");
}

/// Orders with keys of their own while a role stands still: how often there was a 201, and all keys.
fn order_meanwhile(client: &Client, role: &str) -> (usize, Vec<String>) {
    let began = Instant::now();
    let mut made = 0;
    let mut keys = Vec::new();
    while began.elapsed() < FROZEN {
        let key = format!("frozen-{role}-{}", keys.len());
        let answer = in_time("an order", || client.order(&key, PRODUCT, 1, PRICE));
        keys.push(key);
        if answer.status == 201 {
            made += 1;
        } else {
            assert_refused_for_now("an order", &answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
    (made, keys)
}

/// Every key has exactly one order afterwards, whatever was answered meanwhile.
fn assert_each_has_one_order(client: &Client, keys: &[String]) {
    for key in keys {
        let first = client.order(key, PRODUCT, 1, PRICE);
        assert_eq!(first.status, 201, "{key}: {}", String::from_utf8_lossy(&first.body));
        let again = client.order(key, PRODUCT, 1, PRICE);
        assert_eq!((again.status, &again.body), (201, &first.body), "{key}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{key}");
    }
}

#[test]
fn while_a_role_is_frozen_everybody_is_answered_and_afterwards_nothing_is_lost() {
    let config = format!("[edge]\nupstream_time_max_ms = {}\n", PATIENCE.as_millis());
    let mut platform = Platform::builder().config(&config).start();
    let client = platform.client();
    let standing = client.order("frozen-before", PRODUCT, 1, PRICE).json();
    let path = format!("/api/v1/orders/{}", standing["id"].as_str().expect("an id"));
    let token = standing["access_token"].as_str().expect("a token");
    let acks = platform.data().join("acks.jsonl");
    let load = Load::start(&platform, &acks, 100, 14);
    eventually_within(Duration::from_secs(10), "orders flow", || load.acked() > 50);
    let mut all = Vec::new();
    for role in ["orders", "catalog", "identity"] {
        let pid = platform.role_pid(role);
        let product = || in_time("a product", || client.get("/api/v1/products/PROD001"));
        let order = || in_time("a look at an order", || client.get_with_token(&path, token));
        freeze(pid);
        let (made, keys) = thread::scope(|scope| {
            let orders = scope.spawn(|| order_meanwhile(&client, role));
            let began = Instant::now();
            while began.elapsed() < FROZEN {
                match role {
                    "orders" => {
                        assert_eq!(product().status, 200, "products do not need orders");
                        assert_refused_for_now("a look at an order", &order());
                        let cancel = || client.try_post(&format!("{path}/cancel"), "").expect("an answer");
                        assert_refused_for_now("a command", &in_time("a command", cancel));
                    }
                    "catalog" => {
                        assert_refused_for_now("a product", &product());
                        assert_eq!(order().status, 200, "orders do not need catalog");
                    }
                    _ => assert_eq!((product().status, order().status), (200, 200), "nobody needs identity"),
                }
                let ready = in_time("/readyz", || client.get("/readyz"));
                // The edge asks every 250 ms and waits a second for an answer.
                if began.elapsed() > Duration::from_millis(2500) {
                    assert_eq!(ready.status, if role == "orders" { 503 } else { 200 }, "{role} is frozen: {ready:?}");
                }
            }
            orders.join().expect("everybody is answered")
        });
        thaw(pid);
        // Orders has prices of its own, and everybody a certificate: only orders itself is needed for an order.
        assert_eq!(made > 0, role != "orders", "{role} is frozen: {made} of {} orders were made", keys.len());
        platform.wait_ready();
        assert_each_has_one_order(&client, &keys);
        assert_eq!(platform.role_pid(role), pid, "{role} was not started again");
        all.extend(keys);
    }
    let after = load.acked() as u64;
    let report = load.assert_nothing_lost(&mut platform, i64::try_from(all.len()).expect("a number of orders"));
    assert!(report["acked"].as_u64().is_some_and(|acked| acked >= after && acked > 300), "{report}");
    assert!(report["errors"].as_u64().is_some_and(|errors| errors > 0), "the load never met a frozen role: {report}");
}
