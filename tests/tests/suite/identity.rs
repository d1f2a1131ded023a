//! Between roles only a current identity of this platform counts, and only for the routes it is named for.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::Method;
use zizon_base::role::Role;
use zizon_mtls::{ConnRegistry, RegistryOptions, SourceOptions, SvidSource, testing::TestCa};
use zizon_service::{Upstream, UpstreamOptions, UpstreamRequest};
use zizon_tests::{Platform, eventually_within};

/// Where a role's mTLS listener is.
fn internal_address(platform: &Platform, role: &str) -> String {
    platform.role(role)["internal_address"].as_str().expect("an address").to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One request to `role` with the identity of `source`: the status, or why there is none.
async fn ask(source: Arc<SvidSource>, role: Role, address: &str, method: Method, path: &str) -> Result<u16, String> {
    let registry = ConnRegistry::new(RegistryOptions::default());
    let upstream = Upstream::new(source, registry, role, address, UpstreamOptions::default());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let request = UpstreamRequest::new(method, path, deadline).map_err(|error| error.to_string())?;
    upstream.send(request).await.map(|answer| answer.status.as_u16()).map_err(|error| error.to_string())
}

async fn operator(platform: &Platform) -> Arc<SvidSource> {
    let endpoint = format!("unix:{}", platform.data().join("run/workload.sock").display());
    SvidSource::connect(&endpoint, SourceOptions::default()).await.expect("an identity for the operator")
}

#[test]
fn an_identity_outside_the_matrix_is_refused_route_by_route() {
    let platform = Platform::demo();
    let (orders, catalog) = (internal_address(&platform, "orders"), internal_address(&platform, "catalog"));
    runtime().block_on(async {
        let source = operator(&platform).await;
        assert_eq!(source.id().path(), "ns/ops/sa/operator");
        let ask = |role, address: String, method: Method, path: &'static str| {
            let source = Arc::clone(&source);
            async move { ask(source, role, &address, method, path).await }
        };
        let allowed = ask(Role::Orders, orders.clone(), Method::GET, "/internal/v1/stock/PROD001").await;
        assert_eq!(allowed, Ok(200));
        for (method, path) in [
            (Method::POST, "/api/v1/orders"),
            (Method::GET, "/metrics"),
            (Method::GET, "/readyz"),
            (Method::GET, "/api/v1/orders/ord_x"),
            (Method::GET, "/nope"),
        ] {
            let refused = ask(Role::Orders, orders.clone(), method.clone(), path).await;
            assert_eq!(refused, Ok(403), "{method} {path}");
        }
        let feed = ask(Role::Catalog, catalog.clone(), Method::GET, "/internal/v1/feed?from=0").await;
        assert_eq!(feed, Ok(403), "only orders may read the feed");
    });
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let platform = Platform::demo();
    let orders = internal_address(&platform, "orders");
    let foreign = TestCa::new("zizon.local").source("ns/shop/sa/edge");
    let answer = runtime().block_on(ask(foreign, Role::Orders, &orders, Method::POST, "/api/v1/orders"));
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn no_role_speaks_without_a_client_certificate_or_without_tls() {
    let platform = Platform::demo();
    for role in ["identity", "catalog", "orders", "edge"] {
        let address = internal_address(&platform, role);
        let mut plain = TcpStream::connect(&address).expect("a connection");
        plain.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
        plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request is sent");
        let mut answer = Vec::new();
        // Whether by an alert, a reset or an end: nothing of the role may come back.
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/"), "{role} answered in plaintext");

        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let anonymous = zizon_tests::Client::new(port, &platform.data().join("ca.pem"));
        assert!(anonymous.try_get("/metrics").is_err(), "{role} answered without a client certificate");
    }
}

#[test]
fn certificates_of_ten_seconds_rotate_under_load_and_no_request_fails() {
    let platform = Platform::builder().config("[identity]\nsvid_life_seconds = 10\n").start();
    let client = platform.client();
    let until = Instant::now() + Duration::from_secs(25);
    let answered: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let client = &client;
                scope.spawn(move || {
                    let mut connection = client.connect().expect("a connection");
                    let mut answered = 0;
                    while Instant::now() < until {
                        let key = format!("rotate-{worker}-{answered}");
                        let body = zizon_tests::client::order_body(&key, "PROD001", 1, 2_690_000);
                        let headers = [("Content-Type", "application/json")];
                        let request = zizon_tests::client::request("POST", "/api/v1/orders", &headers, body.as_bytes());
                        connection.write_all(&request).expect("the request is sent");
                        connection.flush().expect("the request is sent");
                        let answer = zizon_tests::client::read_answer(&mut connection).expect("an answer");
                        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
                        answered += 1;
                        thread::sleep(Duration::from_millis(2));
                    }
                    answered
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no request failed")).sum()
    });
    assert!(answered > 500, "{answered}");
    let left = platform.role("orders")["svid_seconds_left"].as_u64().expect("seconds left");
    assert!((1..=10).contains(&left), "{left}");
}

#[test]
fn a_restarted_issuer_goes_on_with_the_same_authority() {
    let platform = Platform::demo();
    platform.kill_role("identity");
    let client = platform.client();
    assert_eq!(client.order("issuer-1", "PROD001", 1, 2_690_000).status, 201);
    // A role that starts after the issuer's restart must still be trusted by those from before it.
    platform.kill_role("edge");
    eventually_within(Duration::from_secs(10), "orders trusts the new edge", || {
        client.order("issuer-2", "PROD001", 1, 2_690_000).status == 201
    });
}
