//! The whole role behind its mTLS listener, with a catalog that only has a feed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use zizon_base::market::Market;
use zizon_base::role::Role;
use zizon_contracts::catalog::{FeedLine, History};
use zizon_journal::Env;
use zizon_orders::testing::product;
use zizon_orders::{Config, RunError};
use zizon_service::testing::TestMesh;
use zizon_service::{
    Request, Response, Router, Server, Upstream, UpstreamOptions, UpstreamRequest, UpstreamResponse, ndjson,
};
use zizon_table::{EmbeddedTable, EngineOptions};

const SEED: &str = r#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;

async fn feed(_: Arc<()>, _: Request) -> Response {
    let history = History::of_journal([7; 16]);
    let lines = [
        FeedLine::Listing { history },
        FeedLine::Product { seq: 0, product: product("PROD001", &[(Market::Kr, 2_690_000)], true) },
        FeedLine::Progress { seq: 1 },
    ];
    let text = |line: &FeedLine| serde_json::to_string(line).unwrap() + "\n";
    let first = futures_util::stream::iter([Bytes::from(lines.iter().map(text).collect::<String>())]);
    let beat = Bytes::from(text(&FeedLine::Heartbeat { seq: 1, history }));
    let beats = futures_util::stream::unfold(Duration::ZERO, move |pause| {
        let beat = beat.clone();
        async move {
            tokio::time::sleep(pause).await;
            Some((beat, Duration::from_millis(300)))
        }
    });
    ndjson(first.chain(beats).boxed())
}

struct Running {
    address: SocketAddr,
    shutdown: tokio_util::sync::CancellationToken,
    role: JoinHandle<Result<(), RunError>>,
}

fn start_catalog(mesh: &mut TestMesh, dir: &Path) {
    let ctx = mesh.context(Role::Catalog, dir);
    let server = Server::new(&ctx, Router::new(()).route("GET", "/internal/v1/feed", feed));
    tokio::spawn(server.run());
}

fn start_orders(mesh: &mut TestMesh, dir: &Path) -> Running {
    let mut ctx = mesh.context(Role::Orders, dir);
    ctx.demo = true;
    let address = ctx.listener.local_addr().unwrap();
    let shutdown = ctx.shutdown.clone();
    let demo_stock = vec![("PROD001".parse().unwrap(), 1_000)];
    let role = tokio::spawn(zizon_orders::run(ctx, Config { demo_stock, ..Config::default() }));
    Running { address, shutdown, role }
}

fn caller(mesh: &TestMesh, path: &str, address: SocketAddr) -> Upstream {
    mesh.caller(path, Role::Orders, address, UpstreamOptions::default())
}

async fn send(caller: &Upstream, method: Method, path: &str, token: Option<&str>, body: &str) -> UpstreamResponse {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut request = UpstreamRequest::new(method, path, deadline).unwrap().json(body.to_owned());
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        request.headers.insert("authorization", value);
    }
    caller.send(request).await.unwrap()
}

async fn ready(mesh: &TestMesh, address: SocketAddr) {
    let supervisor = caller(mesh, "ns/ops/sa/supervisor", address);
    let wait = async {
        while send(&supervisor, Method::GET, "/readyz", None, "").await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("orders becomes ready");
}

fn read(response: &UpstreamResponse) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// What a check of the running role found.
async fn checked(operator: &Upstream) -> Value {
    let started = send(operator, Method::POST, "/internal/v1/fsck", None, "").await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let wait = async {
        loop {
            let status = read(&send(operator, Method::GET, "/internal/v1/fsck", None, "").await);
            match status["state"].as_str() {
                Some("running") => tokio::time::sleep(Duration::from_millis(20)).await,
                Some("done") => return status["finding"].clone(),
                other => panic!("{other:?}: {status}"),
            }
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("the check ends")
}

#[tokio::test]
async fn a_check_of_the_running_role_finds_a_damaged_journal_and_says_nothing_about_stock() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let orders = start_orders(&mut mesh, dir.path());
    ready(&mesh, orders.address).await;
    let operator = caller(&mesh, "ns/ops/sa/operator", orders.address);
    assert_eq!(read(&send(&operator, Method::GET, "/internal/v1/fsck", None, "").await)["state"], "idle");
    assert_eq!(checked(&operator).await["ok"], true);

    let segment = dir.path().join("orders/journal/00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let named = bytes.windows(7).position(|window| window == b"PROD001").expect("a frame names the product");
    bytes[named] ^= 1;
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[named..=named], named as u64).unwrap();

    let found = checked(&operator).await;
    assert_eq!((&found["ok"], &found["stock"]), (&json!(false), &Value::Null), "{found}");
    let difference = found["first_difference"].as_str().unwrap_or_default();
    assert!(difference.starts_with("journal: ") && difference.contains("00000000000000000001.seg"), "{found}");
    orders.shutdown.cancel();
    orders.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_order_is_placed_replayed_shown_called_off_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let first = start_orders(&mut mesh, dir.path());
    ready(&mesh, first.address).await;
    let edge = caller(&mesh, "ns/shop/sa/edge", first.address);

    let placed = send(&edge, Method::POST, "/api/v1/orders", None, SEED).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{:?}", placed.body);
    let order = read(&placed);
    let id = order["id"].as_str().unwrap().to_owned();
    let token = order["access_token"].as_str().unwrap().to_owned();
    assert_eq!(placed.headers["location"], format!("/api/v1/orders/{id}"));
    assert!(placed.headers.get("idempotent-replayed").is_none());
    assert_eq!(order["items"][0]["tax"], 489_091);
    assert_eq!(order["items"][0]["name"], "제품 PROD001");
    assert_eq!(order["totals"]["total"], 5_380_000);

    let again = send(&edge, Method::POST, "/api/v1/orders", None, SEED).await;
    assert_eq!(again.body, placed.body);
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let path = format!("/api/v1/orders/{id}");
    assert_eq!(send(&edge, Method::GET, &path, None, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&edge, Method::GET, &path, Some("wrong"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&edge, Method::GET, &path, Some(&token), "").await.body, placed.body);

    let operator = caller(&mesh, "ns/ops/sa/operator", first.address);
    let stock = read(&send(&operator, Method::GET, "/internal/v1/stock/PROD001", None, "").await);
    assert_eq!(stock, json!({"sku":"PROD001","on_hand":1000,"available":998,"held":2,"sold":0,"shards":1}));
    let listed = read(&send(&operator, Method::GET, "/internal/v1/orders?user=user_42", None, "").await);
    assert_eq!(listed["data"][0]["id"], id.as_str());
    assert!(listed["data"][0].get("access_token").is_none());
    let recent = read(&send(&operator, Method::GET, "/internal/v1/orders", None, "").await);
    assert_eq!(recent["data"][0]["id"], id.as_str());

    for _ in 0..2 {
        let cancelled = send(&edge, Method::POST, &format!("{path}/cancel"), Some(&token), "").await;
        assert_eq!(cancelled.status, StatusCode::OK);
        let cancelled = read(&cancelled);
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(cancelled["items"], order["items"]);
    }
    let found = checked(&operator).await;
    assert_eq!((&found["ok"], &found["first_difference"]), (&json!(true), &Value::Null), "{found}");
    assert_eq!((&found["stock"]["orders"], &found["stock"]["facts"]), (&json!(1), &json!(1)), "{found}");
    assert_eq!(found["stock"]["seq"], found["seq"], "one position for all of it");
    assert!(found["items"].as_u64() > Some(2) && found["plans"].as_u64() > Some(2), "{found}");

    first.shutdown.cancel();
    first.role.await.unwrap().unwrap();
    let second = start_orders(&mut mesh, dir.path());
    let edge = caller(&mesh, "ns/shop/sa/edge", second.address);
    // Not waiting until it is ready: while catalog is there, a restart refuses nothing.
    let another = SEED.replace("test_1_0.5", "test_2");
    let at_once = send(&edge, Method::POST, "/api/v1/orders", None, &another).await;
    assert_eq!(at_once.status, StatusCode::CREATED, "{:?}", at_once.body);
    let replayed = send(&edge, Method::POST, "/api/v1/orders", None, SEED).await;
    assert_eq!(replayed.status, StatusCode::CREATED);
    assert_eq!(replayed.body, placed.body);
    let shown = read(&send(&edge, Method::GET, &path, Some(&token), "").await);
    assert_eq!(shown["status"], "cancelled");
    second.shutdown.cancel();
    second.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn stock_is_put_in_for_products_that_catalog_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let orders = start_orders(&mut mesh, dir.path());
    ready(&mesh, orders.address).await;
    let operator = caller(&mesh, "ns/ops/sa/operator", orders.address);
    let set = async |sku: &str| {
        send(&operator, Method::PUT, &format!("/internal/v1/stock/{sku}"), None, r#"{"available":5}"#).await
    };
    assert_eq!(read(&set("PROD001").await)["available"], 5);
    let refused = set("PROD00l").await;
    assert_eq!((refused.status.as_u16(), &read(&refused)["code"]), (422, &json!("unknown-product")));
    assert!(read(&refused)["detail"].as_str().unwrap().contains("no product PROD00l"), "{:?}", refused.body);
    assert_eq!(
        send(&operator, Method::GET, "/internal/v1/stock/PROD00l", None, "").await.status,
        StatusCode::NOT_FOUND
    );
    orders.shutdown.cancel();
    orders.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_edge_may_not_see_what_operators_see() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let orders = start_orders(&mut mesh, dir.path());
    ready(&mesh, orders.address).await;
    let edge = caller(&mesh, "ns/shop/sa/edge", orders.address);
    let refused = send(&edge, Method::GET, "/internal/v1/stock/PROD001", None, "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    orders.shutdown.cancel();
    orders.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_missing_ids_key_beside_a_journal_stops_the_role_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let first = start_orders(&mut mesh, dir.path());
    ready(&mesh, first.address).await;
    first.shutdown.cancel();
    first.role.await.unwrap().unwrap();
    std::fs::remove_file(dir.path().join("keys/ids.key")).unwrap();
    let second = start_orders(&mut mesh, dir.path());
    let error = second.role.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::KeyMissing { .. }), "{error}");
    assert!(error.to_string().contains("ids.key"));
}

#[tokio::test]
async fn a_second_process_is_refused_before_it_looks_at_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let first = start_orders(&mut mesh, dir.path());
    ready(&mesh, first.address).await;
    std::fs::remove_dir_all(dir.path().join("keys")).unwrap();
    let second = start_orders(&mut mesh, dir.path());
    let error = second.role.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Open(_)), "{error}");
    assert!(!dir.path().join("keys").exists());
    first.shutdown.cancel();
    first.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_first_start_that_ended_before_its_keys_were_made_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join(Role::Orders.name());
    EmbeddedTable::open(&table, EngineOptions::default(), Env::real()).unwrap().close().await;
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let orders = start_orders(&mut mesh, dir.path());
    ready(&mesh, orders.address).await;
    assert!(dir.path().join("keys/ids.key").exists());
    orders.shutdown.cancel();
    orders.role.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_journal_syncs_at_once_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = TestMesh::new();
    start_catalog(&mut mesh, dir.path());
    let orders = start_orders(&mut mesh, dir.path());
    ready(&mesh, orders.address).await;
    let metrics = send(&caller(&mesh, "ns/ops/sa/supervisor", orders.address), Method::GET, "/metrics", None, "").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    let batches = value("zizon_table_batches_total");
    assert!(batches >= 1.0);
    for name in ["zizon_journal_batch_plans", "zizon_journal_batch_bytes", "zizon_journal_fsync_seconds"] {
        // A batch may have been synced while the others were read.
        assert!((value(&format!("{name}_count")) - batches).abs() <= 2.0, "{name}");
        assert!(value(&format!("{name}_sum")) > 0.0, "{name}");
    }
    orders.shutdown.cancel();
    orders.role.await.unwrap().unwrap();
}
