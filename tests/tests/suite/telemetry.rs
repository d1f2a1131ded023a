//! Metrics and logs.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use zizon_tests::Platform;

fn scrape(platform: &Platform) -> String {
    let mut socket = UnixStream::connect(platform.data().join("run/metrics.sock")).expect("the metrics socket");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("the request is sent");
    let mut out = String::new();
    socket.read_to_string(&mut out).expect("the metrics are read");
    out
}

#[test]
fn one_socket_shows_every_role() {
    let platform = Platform::demo();
    assert_eq!(platform.client().order("metrics-1", "PROD001", 1, 2_690_000).status, 201);
    let metrics = scrape(&platform);
    for role in ["identity", "catalog", "orders", "edge"] {
        assert!(metrics.contains(&format!("zizon_scrape_up{{role=\"{role}\"}} 1")), "{metrics}");
    }
    for name in [
        "zizon_http_requests_total",
        "zizon_http_request_duration_seconds",
        "zizon_edge_requests_total",
        "zizon_table_batch_plans_total",
        "zizon_table_sync_seconds",
        "zizon_table_pending_plans",
        "zizon_svid_remaining_seconds",
        "zizon_tls_handshakes_total",
        "zizon_orders_total",
        "zizon_stock_units",
    ] {
        assert!(metrics.contains(name), "{name} is missing from\n{metrics}");
    }
}

#[test]
fn the_catalogue_of_metrics_is_what_is_exported() {
    let platform = Platform::demo();
    assert_eq!(platform.client().order("catalogue-1", "PROD001", 1, 2_690_000).status, 201);
    let page = include_str!("../../../docs/metrics.md");
    let metrics = scrape(&platform);
    let exported: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(exported.len() > 20, "{metrics}");
    for name in exported {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn no_log_shows_who_ordered_or_with_which_key() {
    let platform = Platform::builder().config("[platform]\nlog_level = \"debug\"\n").start();
    let body = r#"{"user_id":"very-private-user","items":[{"product_id":"PROD001","quantity":1,"price":2690000}],"idempotency_key":"very-private-key-000001"}"#;
    let answer = platform.client().post("/api/v1/orders", body);
    assert_eq!(answer.status, 201);
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    let logs = platform.logs();
    for secret in ["very-private-user", "very-private-key", &token] {
        assert!(!logs.contains(secret), "a log contains {secret}");
    }
}
