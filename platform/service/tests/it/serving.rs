//! What callers are answered: authorisation, routes, limits, health, metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use zizon_mtls::authz::Policy;
use zizon_service::{
    Check, Request, Response, RouteLimits, Router, Server, UpstreamRequest, full, json, register_metrics,
};

async fn echo(_: Arc<()>, request: Request) -> Response {
    full(StatusCode::OK, http::HeaderValue::from_static("text/plain"), request.body)
}

async fn show(_: Arc<()>, request: Request) -> Response {
    json(
        StatusCode::OK,
        &serde_json::json!({
            "id": request.params.get("id"),
            "peer": request.peer.id.as_str(),
            "request_id": request.request_id.as_str(),
            "trace_id": request.trace.trace_id(),
            "limit": request.query("limit"),
        }),
    )
}

async fn never(_: Arc<()>, _: Request) -> Response {
    std::future::pending().await
}

fn router() -> Router<()> {
    let small = RouteLimits { body_bytes: 1000, timeout: Duration::from_millis(100) };
    Router::new(())
        .route_with(small, "POST", "/echo", echo)
        .route("GET", "/things/{id}", show)
        .route("DELETE", "/things/{id}", show)
        .route_with(small, "GET", "/never", never)
}

fn post(path: &str, body: impl Into<Bytes>) -> UpstreamRequest {
    request(Method::POST, path).json(body)
}

#[tokio::test]
async fn a_handler_gets_parameters_query_identity_and_trace() {
    let role = serve(mesh(), router());
    let mut asked = request(Method::GET, "/things/a%2Db?limit=5");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    asked.headers.insert("traceparent", trace.parse().expect("a value"));
    asked.headers.insert("x-request-id", "0123456789abcdef0123456789abcdef".parse().expect("a value"));
    let answer = role.caller(EDGE).send(asked).await.expect("answered");
    let body = json_of(&answer);
    assert_eq!(body["id"], "a-b");
    assert_eq!(body["peer"], "spiffe://zizon.local/ns/shop/sa/edge");
    assert_eq!(body["request_id"], "0123456789abcdef0123456789abcdef");
    assert_eq!(body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(body["limit"], "5");
}

#[tokio::test]
async fn an_identity_outside_the_policy_is_refused_with_the_hash_of_the_policy() {
    let role = serve(mesh(), router());
    let stranger = role.caller(STRANGER);
    for path in ["/things/a", "/nothing", "/healthz", "/readyz", "/metrics"] {
        let answer = get(&stranger, path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = json_of(&answer);
        assert_eq!(problem["code"], "forbidden");
        assert_eq!(problem["policy"], role.ctx.policy.load().hash());
    }
    assert!((metric(&role.ctx, "zizon_authz_denied_total") - 5.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_policy_that_is_swapped_in_holds_for_the_next_request() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::OK);
    let connections = role.ctx.registry.len();
    let narrower = POLICY.replace("'* /**'", "GET /healthz");
    let policy = Policy::from_yaml(&narrower, role.mesh.domain()).expect("parses");
    assert_eq!(role.ctx.replace_policy(policy), 0);
    assert_eq!(role.ctx.registry.len(), connections);
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::FORBIDDEN);
    assert_eq!(get(&caller, "/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_identity_that_a_policy_has_no_place_for_loses_its_connections() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::OK);
    let without = POLICY.replace("ns/shop/sa/edge", "ns/ops/sa/supervisor");
    let policy = Policy::from_yaml(&without, role.mesh.domain()).expect("parses");
    assert_eq!(role.ctx.replace_policy(policy), 1);
    eventually("closed", || role.ctx.registry.is_empty()).await;
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_before_it_is_judged() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    for path in ["/things/a%2fb", "/things//a", "/things/../healthz", "/things/%2e%2e/x", "/things/a%00"] {
        let answer = get(&caller, path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(json_of(&answer)["code"], "bad-request", "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405_with_allow() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    let missing = get(&caller, "/nothing").await;
    assert_eq!((missing.status, json_of(&missing)["code"].as_str()), (StatusCode::NOT_FOUND, Some("not-found")));
    let wrong = caller.send(request(Method::PUT, "/things/a")).await.expect("answered");
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers[header::ALLOW], "GET, DELETE");
    assert_eq!(json_of(&wrong)["instance"], "/things/a");
}

#[tokio::test]
async fn a_body_within_the_limit_arrives_whole_and_one_beyond_it_is_413() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    let fits = caller.send(post("/echo", vec![b'x'; 1000])).await.expect("answered");
    assert_eq!((fits.status, fits.body.len()), (StatusCode::OK, 1000));
    for size in [1001, 300_000] {
        let refused = caller.send(post("/echo", vec![b'x'; size])).await.expect("answered");
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{size}");
        assert_eq!(json_of(&refused)["code"], "body-too-large");
    }
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_chunked_body_beyond_the_limit_is_413_as_well() {
    let role = serve(mesh(), router());
    let mut raw = role.raw(EDGE).await;
    write(&mut raw, "POST /echo HTTP/1.1\r\nhost: orders\r\ntransfer-encoding: chunked\r\n\r\n").await;
    write(&mut raw, &format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(0x3e9))).await;
    let answer = read_to_end(&mut raw).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_408() {
    let role = serve(mesh(), router());
    let mut raw = role.raw(EDGE).await;
    write(&mut raw, "POST /echo HTTP/1.1\r\nhost: orders\r\ncontent-length: 10\r\n\r\nabc").await;
    let answer = read_to_end(&mut raw).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"request-timeout\""), "{answer}");
}

#[tokio::test]
async fn a_handler_that_does_not_answer_in_time_is_503_with_an_unknown_outcome() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    let answer = get(&caller, "/never").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(&answer)["code"], "outcome-unknown");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert!((metric(&role.ctx, "zizon_http_request_timeouts_total") - 1.0).abs() < 1e-9);
    assert_eq!(get(&caller, "/things/a").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_role_is_ready_when_all_its_checks_hold() {
    let mut mesh = mesh();
    let ctx = mesh.context(zizon_base::role::Role::Orders, std::path::Path::new("."));
    let prices = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&prices);
    let readiness = move || {
        vec![Check::new("prices", seen.load(std::sync::atomic::Ordering::SeqCst), "no feed"), Check::ok("table")]
    };
    let server = Server::new(&ctx, router()).with_health(Arc::new(readiness));
    let address = ctx.listener.local_addr().expect("bound");
    let serving = tokio::spawn(async move { server.run().await.expect("serves") });
    let role = Running { mesh, ctx, address, serving };
    let caller = role.caller(EDGE);
    let before = get(&caller, "/readyz").await;
    assert_eq!(before.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(&before)["ready"], false);
    assert_eq!(json_of(&before)["checks"][0]["detail"], "no feed");
    prices.store(true, std::sync::atomic::Ordering::SeqCst);
    let after = get(&caller, "/readyz").await;
    assert_eq!((after.status, &json_of(&after)["ready"]), (StatusCode::OK, &serde_json::Value::Bool(true)));
}

#[tokio::test]
async fn requests_are_counted_by_route_template_method_and_class() {
    let role = serve(mesh(), router());
    let caller = role.caller(EDGE);
    get(&caller, "/things/a").await;
    get(&caller, "/things/b").await;
    get(&caller, "/nothing").await;
    let answer = get(&caller, "/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).expect("text");
    assert_eq!(answer.headers[header::CONTENT_TYPE], zizon_telemetry::PROMETHEUS_CONTENT_TYPE);
    for line in [
        "zizon_http_requests_total{route=\"/things/{id}\",method=\"GET\",status_class=\"2xx\"} 2\n",
        "zizon_http_requests_total{route=\"unmatched\",method=\"unmatched\",status_class=\"4xx\"} 1\n",
        "zizon_http_request_duration_seconds_count{route=\"/things/{id}\",method=\"GET\"} 2\n",
        "zizon_http_requests_in_flight 1\n",
        "zizon_http_connections 1\n",
        "zizon_tls_handshakes_total{side=\"server\",result=\"ok\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn the_catalogue_of_a_fresh_registry_names_what_a_running_role_exports() {
    let role = serve(mesh(), router());
    let ctx = &role.ctx;
    let _caller = zizon_service::Upstream::for_role(ctx, zizon_base::role::Role::Orders, Default::default());
    let names = |metrics: &zizon_telemetry::Metrics| -> BTreeSet<&'static str> {
        metrics.catalogue().into_iter().map(|info| info.name).collect()
    };
    let fresh = zizon_telemetry::Metrics::new();
    register_metrics(&fresh);
    zizon_telemetry::register_process_metrics(&ctx.metrics);
    let running = names(&ctx.metrics);
    assert_eq!(running, names(&fresh));
    let exported = ctx.metrics.encode();
    for line in exported.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = line.split_once(' ').expect("name and type");
        assert!(running.contains(name), "{name} is not in the catalogue");
    }
}
