//! The role over mTLS, on a real disk.

#![allow(clippy::unwrap_used)]

mod shop;

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use shop::{Caller, EDGE, OPERATOR, ORDERS, SUPERVISOR, Shop};
use zizon_base::market::Market;
use zizon_catalog::Config;
use zizon_contracts::catalog::FeedLine;

fn cream(price: i64) -> Value {
    json!({"brand": "Seolbit", "category": "skincare", "name": {"ko": "시험 크림"}, "description": {"ko": "시험"}, "prices": {"KR": price}})
}

async fn all_ids(caller: &Caller, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = caller.get(&format!("/api/v1/products?limit=7{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{:?}", page.body);
        let page = page.json();
        ids.extend(page["data"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn a_product_is_shown_with_an_entity_tag_and_not_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let edge = shop.caller(EDGE);
    let answer = edge.get("/api/v1/products/PROD001").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["prices"]["KR"], 2_690_000);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("cache-control").contains("max-age=0"));
    let etag = answer.header("etag").to_owned();
    let again = edge.get_with("/api/v1/products/PROD001", ("if-none-match", &etag)).await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, etag.as_str()));
    shop.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let edge = shop.caller(EDGE);
    for path in ["/api/v1/products/NONE", "/api/v1/products/-bad-", "/api/v1/products/%2e%2e"] {
        let answer = edge.get(path).await;
        if answer.status != 400 {
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!("not-found")), "{path}");
        }
    }
    for query in ["limit=0", "limit=101", "limit=x", "market=FR", "category=Skin%20care", "cursor=abc"] {
        let answer = edge.get(&format!("/api/v1/products?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("invalid-parameter")), "{query}");
        assert_eq!(answer.json()["errors"][0]["pointer"], query.split('=').next().unwrap());
    }
    shop.close().await;
}

#[tokio::test]
async fn listings_page_through_what_their_filters_want() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let edge = shop.caller(EDGE);
    let products = zizon_catalog::demo::products().unwrap();
    let wanted = |filter: &dyn Fn(&zizon_contracts::catalog::Product) -> bool| {
        products
            .iter()
            .filter(|p| filter(p))
            .map(|p| p.id.to_string())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(all_ids(&edge, "").await, wanted(&|_| true));
    assert_eq!(all_ids(&edge, "&market=US").await, wanted(&|p| p.prices.contains_key(&Market::Us)));
    let skincare_in_japan = wanted(&|p| p.category == "skincare" && p.prices.contains_key(&Market::Jp));
    assert_eq!(all_ids(&edge, "&market=JP&category=skincare").await, skincare_in_japan);
    assert_eq!(all_ids(&edge, "&category=nothing").await, Vec::<String>::new());
    let cursor = edge.get("/api/v1/products?limit=5").await.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(edge.get(&format!("/api/v1/products?market=KR&cursor={cursor}")).await.status, 400);
    shop.close().await;
}

#[tokio::test]
async fn an_operator_writes_a_product_and_reads_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let (edge, operator) = (shop.caller(EDGE), shop.caller(OPERATOR));
    let first = operator.put("/internal/v1/products/TEST1", &cream(12_000), &[]).await;
    assert_eq!(first.status, 201, "{:?}", first.body);
    let shown = edge.get("/api/v1/products/TEST1").await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &first.body));
    assert_eq!(shown.header("etag"), first.header("etag"));

    let second =
        operator.put("/internal/v1/products/TEST1", &cream(13_000), &[("if-match", first.header("etag"))]).await;
    assert_eq!(second.status, 200);
    assert_eq!(edge.get("/api/v1/products/TEST1").await.json()["prices"]["KR"], 13_000);
    let stale =
        operator.put("/internal/v1/products/TEST1", &cream(14_000), &[("if-match", first.header("etag"))]).await;
    assert_eq!((stale.status.as_u16(), &stale.json()["code"]), (412, &json!("precondition-failed")));

    let mut hidden = cream(13_000);
    hidden["published"] = json!(false);
    assert_eq!(operator.put("/internal/v1/products/TEST1", &hidden, &[]).await.status, 200);
    assert_eq!(edge.get("/api/v1/products/TEST1").await.status, 404);
    assert_eq!(operator.get("/internal/v1/products/TEST1").await.json()["published"], false);
    assert!(!all_ids(&edge, "").await.contains(&"TEST1".to_owned()));
    assert_eq!(operator.get("/internal/v1/products?limit=100").await.json()["data"].as_array().unwrap().len(), 100);
    shop.close().await;
}

#[tokio::test]
async fn a_product_that_is_not_whole_is_refused_with_the_places() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let operator = shop.caller(OPERATOR);
    let mut product = cream(-1);
    product["name"] = json!({});
    let answer = operator.put("/internal/v1/products/TEST1", &product, &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("invalid-product")));
    let problem = answer.json();
    let places: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(places, ["#/name", "#/prices/KR"]);
    let text = operator.send(Method::PUT, "/internal/v1/products/TEST1", &[], Bytes::from_static(b"{\"a\":1,")).await;
    assert_eq!((text.status.as_u16(), &text.json()["code"]), (400, &json!("malformed-request")));
    shop.close().await;
}

#[tokio::test]
async fn each_route_is_for_those_the_policy_names() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    assert_eq!(shop.caller(EDGE).get("/internal/v1/products").await.status, 403);
    assert_eq!(shop.caller(ORDERS).get("/api/v1/products").await.status, 403);
    assert_eq!(shop.caller(ORDERS).put("/internal/v1/products/TEST1", &cream(1), &[]).await.status, 403);
    shop.close().await;
}

#[tokio::test]
async fn a_full_catalog_takes_changes_but_no_further_product() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(dir.path(), true, Config { max_products: 200, ..Config::default() });
    let operator = shop.caller(OPERATOR);
    assert_eq!(operator.put("/internal/v1/products/PROD050", &cream(1), &[]).await.status, 200);
    assert_eq!(operator.put("/internal/v1/products/TEST1", &cream(1), &[]).await.status, 422);
    shop.close().await;
}

#[tokio::test]
async fn the_feed_tells_everything_then_changes_and_goes_on_where_a_reader_was() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let (orders, operator) = (shop.caller(ORDERS), shop.caller(OPERATOR));
    let mut feed = orders.feed(None).await;
    let (everything, complete) = feed.until_heartbeat().await;
    let (history, listed) = complete;
    assert_eq!(everything[0], FeedLine::Listing { history });
    assert_eq!(everything[201..], [FeedLine::Progress { seq: listed }]);
    assert!(everything[1..201].iter().all(|line| matches!(line, FeedLine::Product { seq: 0, .. })));
    assert!(listed > 0);

    assert_eq!(operator.put("/internal/v1/products/TEST1", &cream(5_000), &[]).await.status, 201);
    let (changes, position) = loop {
        let (changes, position) = feed.until_heartbeat().await;
        if !changes.is_empty() {
            break (changes, position);
        }
    };
    let [FeedLine::Product { seq, product }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((product.sku.as_str(), product.prices[&Market::Kr], (history, *seq)), ("TEST1", 5_000, position));

    let mut resumed = orders.feed(Some(complete)).await;
    assert_eq!(resumed.until_heartbeat().await, (changes, position));
    let mut current = orders.feed(Some(position)).await;
    assert_eq!(current.until_heartbeat().await, (vec![], position));
    let mut ahead = orders.feed(Some((history, position.1 + 1_000))).await;
    assert_eq!(ahead.until_heartbeat().await.0.len(), 203, "a position that is not reached yet starts over");
    shop.close().await;
}

#[tokio::test]
async fn a_catalog_set_up_anew_does_not_go_on_where_a_reader_of_the_old_one_was() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shop = Shop::demo(old.path());
    let before = shop.caller(ORDERS).feed(None).await.until_heartbeat().await.1;
    shop.close().await;
    let shop = Shop::demo(new.path());
    let (told, after) = shop.caller(ORDERS).feed(Some(before)).await.until_heartbeat().await;
    assert_eq!((before.1, told.len()), (after.1, 202), "the position is the same, the history is not");
    assert_ne!(before.0, after.0);
    shop.close().await;
}

#[tokio::test]
async fn the_feed_is_never_silent_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let mut feed = shop.caller(ORDERS).feed(None).await;
    feed.until_heartbeat().await;
    let start = Instant::now();
    for _ in 0..3 {
        assert!(matches!(feed.next().await, FeedLine::Heartbeat { .. }));
    }
    assert!(start.elapsed().as_secs_f64() < 6.0, "{:?}", start.elapsed());
    shop.close().await;
}

#[tokio::test]
async fn a_restart_keeps_changes_and_does_not_fill_again() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let operator = shop.caller(OPERATOR);
    let written = operator.put("/internal/v1/products/PROD002", &cream(77), &[]).await;
    assert_eq!(written.status, 200);
    let position = shop.caller(ORDERS).feed(None).await.until_heartbeat().await.1;
    shop.close().await;

    let shop = Shop::demo(dir.path());
    assert_eq!(shop.caller(EDGE).get("/api/v1/products/PROD002").await.body, written.body);
    assert_eq!(shop.caller(ORDERS).feed(Some(position)).await.until_heartbeat().await, (vec![], position));
    shop.close().await;
}

#[tokio::test]
async fn without_demo_the_catalog_is_empty_and_ready() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(dir.path(), false, Config::default());
    assert_eq!(all_ids(&shop.caller(EDGE), "").await, Vec::<String>::new());
    let ready = shop.caller(SUPERVISOR).get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (200, &json!(true)));
    let metrics = shop.caller(SUPERVISOR).get("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("zizon_catalog_products 0"));
    shop.close().await;
}

#[tokio::test]
async fn operators_check_the_running_storage() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::demo(dir.path());
    let operator = shop.caller(OPERATOR);
    let started = operator.send(Method::POST, "/internal/v1/fsck", &[], Bytes::new()).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let wait = async {
        loop {
            let status = operator.get("/internal/v1/fsck").await.json();
            match status["state"].as_str() {
                Some("running") => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                _ => return status,
            }
        }
    };
    let status = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the check ends");
    let found = &status["finding"];
    assert_eq!((&found["ok"], &found["stock"]), (&true.into(), &Value::Null), "{status}");
    assert!(found["items"].as_u64() > Some(200), "{status}");
    assert_eq!(shop.caller(EDGE).get("/internal/v1/fsck").await.status, StatusCode::FORBIDDEN);
    shop.close().await;
}
