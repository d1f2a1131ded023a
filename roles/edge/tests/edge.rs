//! The whole edge over real sockets, with roles behind it over mTLS.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::mesh::{Platform, connect, wait_for};
use common::{cases, last_exchange, read_reply};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zizon_edge::Config;
use zizon_service::UpstreamRequest;

#[tokio::test]
async fn an_order_reaches_its_role_with_the_named_fields_only() {
    let platform = Platform::start().await;
    let body = r#"{"user_id":"user_42"}"#;
    let request = format!(
        "POST /api/v1/orders?a=b HTTP/1.1\r\nHost: api.cloudwave10.shop\r\nContent-Type: application/json\r\n\
         Authorization: Bearer t\r\nIdempotency-Key: k\r\nAccept-Language: ko\r\nCookie: c\r\nX-Forwarded-For: 1.2.3.4\r\n\
         Forwarded: for=1\r\nX-Forwarded-Client-Cert: x\r\nX-Spiffe-Id: spiffe://x/y\r\nX-Zizon-Role: orders\r\n\
         Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Request-Id: mine\r\n\
         Connection: keep-alive, accept-language\r\nTE: trailers\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = platform.ask(&request).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let seen = reply.json();
    assert_eq!((seen["target"].as_str(), seen["body"].as_str()), (Some("/api/v1/orders?a=b"), Some(body)));
    let mut names: Vec<&str> = seen["fields"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected =
        ["authorization", "content-length", "content-type", "host", "idempotency-key", "traceparent", "x-request-id"];
    assert_eq!(names, expected);
    assert_eq!(reply.field("x-request-id"), seen["request_id"].as_str());
    assert_ne!(seen["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "a client's trace is not believed");
    assert_eq!(reply.field("x-zizon-inside"), None);
    assert_eq!(reply.field("server"), None);
    assert_eq!(reply.field("idempotent-replayed"), Some("true"));
    assert_eq!(reply.field("strict-transport-security"), None);
    assert_eq!(reply.field("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_smuggling_set_is_refused_over_tls_and_never_reaches_a_role() {
    let platform = Platform::start().await;
    for case in cases() {
        let mut stream = platform.connect(b"http/1.1").await;
        let reply = last_exchange(&mut stream, &case.request).await.unwrap_or_else(|| panic!("{}", case.name));
        // Bodies are read only for routes that take one: the root answers first, so those cases end as its 405.
        let refused = reply.status == case.status && reply.json()["reason"] == case.reason;
        assert!(refused || reply.status == 405, "{}: {} {}", case.name, reply.status, reply.text());
        let on_orders = String::from_utf8_lossy(&case.request).replacen(" / ", " /api/v1/orders ", 1);
        let mut stream = platform.connect(b"http/1.1").await;
        let Some(reply) = last_exchange(&mut stream, on_orders.as_bytes()).await else { panic!("{}", case.name) };
        assert!((400..=505).contains(&reply.status), "{}: {}", case.name, reply.status);
        assert_eq!(reply.field("content-type"), Some("application/problem+json"), "{}", case.name);
    }
    assert_eq!(platform.orders.role.received.load(Ordering::SeqCst), 0);
    let metrics = platform.supervisor();
    let request =
        UpstreamRequest::new(http::Method::GET, "/metrics", tokio::time::Instant::now() + Duration::from_secs(5));
    let text = metrics.send(request.unwrap()).await.unwrap().body;
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("zizon_edge_framing_rejects_total{protocol=\"http1\",reason=\"length-and-encoding\"}"),
        "{text}"
    );
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending_over_tls() {
    let platform = Platform::start().await;
    let (mut reading, mut writing) = tokio::io::split(platform.connect(b"http/1.1").await);
    let sending = tokio::spawn(async move {
        writing.write_all(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").await?;
        for piece in vec![b'x'; 1_000_000].chunks(10_000) {
            writing.write_all(piece).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writing.flush().await
    });
    let reply = read_reply(&mut reading, true).await.expect("the answer");
    assert_eq!((reply.status, reply.json()["code"].as_str()), (413, Some("body-too-large")));
    sending.await.unwrap().expect("the body is taken, not reset");
}

#[tokio::test]
async fn http_2_comes_to_the_same_routes() {
    let platform = Platform::start().await;
    let stream = TokioIo::new(platform.connect(b"h2").await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driving = tokio::spawn(connection);
    for (method, path, body, status) in [
        ("POST", "/api/v1/orders", r#"{"a":1}"#, 201),
        ("GET", "/api/v1/products?market=KR", "", 201),
        ("GET", "/healthz", "", 200),
        ("GET", "/nothing", "", 404),
        ("GET", "/a/../b", "", 400),
        ("DELETE", "/api/v1/orders", "", 405),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://shop.example{path}"))
            .header("x-forwarded-for", "1.2.3.4")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let text = response.into_body().collect().await.unwrap().to_bytes();
        if path == "/api/v1/orders" && status == 201 {
            let seen: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(seen["body"], r#"{"a":1}"#);
            assert_eq!(seen["fields"]["x-forwarded-for"], serde_json::Value::Null);
        }
    }
    let plain = http::Request::get("http://shop.example/healthz").body(Full::default()).unwrap();
    let response = client.send_request(plain).await.unwrap();
    assert_eq!(response.status(), 400, "the scheme of a TLS listener is https");
    let too_large = http::Request::post("https://shop.example/api/v1/orders");
    let response = client.send_request(too_large.body(Full::new(vec![b'x'; 70_000].into())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 413);
    platform.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), driving).await.expect("GOAWAY ends it").unwrap().unwrap();
}

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn streams_whose_bodies_do_not_come_hold_up_nobody() {
    let platform = Platform::start_with(Config { in_flight_max: 8, ..Config::default() }).await;
    let stream = TokioIo::new(platform.connect(b"h2").await);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move {
        let _ = connection.await;
    });
    for _ in 0..100 {
        let mut client = client.clone();
        waiting.spawn(async move {
            let request = http::Request::post("https://shop.example/api/v1/orders").body(Never).unwrap();
            let _ = client.send_request(request).await;
        });
    }
    for _ in 0..20 {
        let reply = platform.order().await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    assert!(waiting.try_join_next().is_none(), "none of them has been answered or turned away");
}

#[tokio::test]
async fn while_orders_is_away_clients_get_retryable_answers_and_it_is_used_soon_after_its_return() {
    let mut platform = Platform::start_with(Config { upstream_time_max_ms: 3000, ..Config::default() }).await;
    platform.orders.kill().await;
    let reply = platform.order().await;
    assert_eq!(reply.status, 503);
    let problem = reply.json();
    assert_eq!(problem["retryable"], true, "{problem}");
    assert_eq!(reply.field("retry-after"), Some("1"));
    platform.wait_ready(false).await;
    assert_eq!(platform.get("/readyz").await.json()["roles"]["orders"], false);
    assert_eq!(platform.get("/api/v1/products").await.status, 201, "catalog is not concerned");
    platform.orders.start();
    let returned = Instant::now();
    platform.wait_ready(true).await;
    assert_eq!(platform.order().await.status, 201);
    assert!(returned.elapsed() < Duration::from_secs(2), "{:?}", returned.elapsed());
}

#[tokio::test]
async fn an_order_in_work_when_its_role_dies_is_repeated_by_the_edge() {
    let mut platform = Platform::start().await;
    platform.orders.role.hold();
    let mut stream = platform.connect(b"http/1.1").await;
    stream.write_all(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    wait_for(|| platform.orders.role.received.load(Ordering::SeqCst) == 1).await;
    platform.orders.kill().await;
    platform.orders.role.gate.add_permits(10);
    platform.orders.start();
    let reply = read_reply(&mut stream, true).await.unwrap();
    assert_eq!((reply.status, reply.json()["body"].as_str()), (201, Some("{}")), "{}", reply.text());
    assert_eq!(platform.orders.role.received.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn readiness_follows_what_orders_says() {
    let platform = Platform::start().await;
    platform.orders.role.ready.store(false, Ordering::SeqCst);
    platform.wait_ready(false).await;
    let reply = platform.get("/readyz").await;
    assert_eq!((reply.status, reply.json()["detail"][0].as_str()), (503, Some("orders: fake: as the test says")));
    platform.orders.role.ready.store(true, Ordering::SeqCst);
    platform.wait_ready(true).await;
    platform.catalog.role.ready.store(false, Ordering::SeqCst);
    let seen = tokio::time::timeout(Duration::from_secs(10), async {
        while platform.get("/readyz").await.json()["roles"]["catalog"] != false {}
        platform.get("/readyz").await.status
    });
    assert_eq!(seen.await.unwrap(), 200, "orders has prices of its own");
}

#[tokio::test]
async fn a_role_that_does_not_answer_is_not_waited_for_longer_than_configured() {
    let platform = Platform::start_with(Config { upstream_time_max_ms: 300, ..Config::default() }).await;
    platform.orders.role.hold();
    let reply = platform.order().await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("upstream-timeout")));
    assert_eq!(reply.json()["retryable"], true);
}

#[tokio::test]
async fn beyond_the_bound_requests_are_shed_before_work_and_health_is_not() {
    let platform = Platform::start_with(Config { in_flight_max: 8, ..Config::default() }).await;
    platform.orders.role.hold();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut stream = platform.connect(b"http/1.1").await;
        stream.write_all(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        waiting.push(stream);
    }
    wait_for(|| platform.orders.role.received.load(Ordering::SeqCst) == 8).await;
    let reply = platform.order().await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("overloaded")));
    assert_eq!(reply.field("retry-after"), Some("1"));
    assert_eq!(platform.get("/api/v1/products").await.status, 503);
    assert_eq!(platform.get("/healthz").await.status, 200);
    assert_eq!(platform.get("/readyz").await.status, 200);
    platform.orders.role.gate.add_permits(100);
    for mut stream in waiting {
        assert_eq!(read_reply(&mut stream, true).await.unwrap().status, 201);
    }
    assert_eq!(platform.order().await.status, 201);
}

#[tokio::test]
async fn pages_of_its_own_and_refusals_are_complete() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/openapi.json").await.text(), "{\"openapi\":\"3.1.0\"}");
    assert_eq!(platform.get("/").await.json()["links"]["orders"], "/api/v1/orders");
    let html = platform.ask("GET / HTTP/1.1\r\nHost: any.host\r\nAccept: text/html\r\n\r\n").await;
    assert!(html.text().contains("<h1>Zizon</h1>"));
    let page = platform.get("/problems/overloaded").await;
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<h1>The service is overloaded</h1>"));
    let json = platform.ask("GET /problems/overloaded HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n").await;
    assert_eq!(json.json()["status"], 503);
    assert_eq!(platform.get("/problems/nonsense").await.status, 404);
    let reply = platform.get("/api/v1/orders").await;
    assert_eq!((reply.status, reply.field("allow")), (405, Some("POST, OPTIONS")));
    let reply = platform.ask("OPTIONS /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    let reply = platform.ask("BREW / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (501, Some("method-unknown")));
    let reply = platform.get("/internal/v1/stock/PROD001").await;
    assert_eq!((reply.status, reply.json()["instance"].as_str()), (404, Some("/internal/v1/stock/PROD001")));
    let twice = "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(platform.ask(twice).await.status, 400);
}

#[tokio::test]
async fn one_client_has_a_bounded_number_of_connections() {
    let platform = Platform::start_with(Config { connections_per_ip_max: 20, ..Config::default() }).await;
    let mut held = Vec::new();
    let refused = loop {
        match connect(platform.address, "localhost", &platform.ca_file(), b"http/1.1").await {
            Ok(stream) => held.push(stream),
            Err(_) => break true,
        }
        if held.len() > 20 {
            break false;
        }
    };
    assert!(refused && held.len() >= 18, "{} were let in", held.len());
    held.clear();
    let again =
        async { while connect(platform.address, "localhost", &platform.ca_file(), b"http/1.1").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(5), again).await.expect("who leaves makes room");
}

#[tokio::test]
async fn at_the_bound_idle_connections_make_room_for_new_ones() {
    let platform = Platform::start_with(Config { connections_max: 16, ..Config::default() }).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(connect(platform.address, "localhost", &platform.ca_file(), b"http/1.1").await.expect("always in"));
    }
    let newest = held.last_mut().unwrap();
    newest.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(newest, true).await.unwrap().status, 200);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), held[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the one that was idle longest is closed");
}

#[tokio::test]
async fn connections_that_have_sent_a_part_of_a_head_make_room_too() {
    let platform = Platform::start_with(Config { connections_max: 16, ..Config::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..16 {
        // The first byte of a second request comes with the first one, so that it has been read with the answer.
        let mut stream = platform.connect(b"http/1.1").await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nG").await.unwrap();
        assert_eq!(read_reply(&mut stream, true).await.unwrap().status, 200);
        slow.push(stream);
    }
    let mut honest = connect(platform.address, "localhost", &platform.ca_file(), b"http/1.1").await.expect("let in");
    honest.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut honest, true).await.unwrap().status, 200);
    drop(slow);
}

#[tokio::test]
async fn a_head_that_is_finished_in_time_is_answered_however_it_trickles_in() {
    let platform = Platform::start().await;
    let mut stream = platform.connect(b"http/1.1").await;
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(read_reply(&mut stream, true).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_dropped() {
    let platform = Platform::start_with(Config { handshake_time_max_ms: 200, ..Config::default() }).await;
    let mut silent = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut rest)).await.expect("dropped").ok();
    let mut plain = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut rest)).await.expect("dropped").ok();
    assert!(!rest.starts_with(b"HTTP"), "nothing is answered in plain text");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_work_and_closes_the_rest() {
    let platform = Platform::start().await;
    let mut idle = platform.connect(b"http/1.1").await;
    platform.orders.role.hold();
    let mut working = platform.connect(b"http/1.1").await;
    working.write_all(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    wait_for(|| platform.orders.role.received.load(Ordering::SeqCst) == 1).await;
    platform.shutdown.cancel();
    let began = Instant::now();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await.expect("idle is closed").ok();
    assert!(!platform.edge.is_finished(), "the order is still in work");
    platform.orders.role.gate.add_permits(1);
    let reply = read_reply(&mut working, true).await.unwrap();
    assert_eq!((reply.status, reply.field("connection")), (201, Some("close")));
    platform.edge.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8));
}
