//! How connections and servers end.

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use tokio::time::{Instant, interval, timeout};
use zizon_base::role::Role;
use zizon_mtls::{Clock, CloseReason, Material, SvidSource};
use zizon_service::testing::TestMesh;
use zizon_service::{Request, Response, Router, Upstream, UpstreamError, UpstreamOptions, empty, ndjson};

async fn gated(gate: Arc<Gate>, _: Request) -> Response {
    gate.wait().await;
    empty(StatusCode::OK)
}

async fn ticking(_: Arc<Gate>, _: Request) -> Response {
    let ticks = futures_util::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Bytes::from(format!("{{\"seq\":{n}}}\n")), n + 1))
    });
    ndjson(ticks.boxed())
}

fn router(gate: &Arc<Gate>) -> Router<Gate> {
    Router::new(Arc::clone(gate))
        .route("GET", "/gated", gated)
        .route("POST", "/gated", gated)
        .route("GET", "/feed", ticking)
        .route("GET", "/now", |_, _| async { empty(StatusCode::OK) })
}

const NOW: &str = "GET /now HTTP/1.1\r\nhost: orders\r\n\r\n";

#[tokio::test]
async fn drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let caller = role.caller(EDGE);
    let slow = caller.clone();
    let in_flight = tokio::spawn(async move { slow.send(request(Method::POST, "/gated")).await });
    eventually("the request is being handled", || gate.arrived() == 1).await;

    role.ctx.shutdown.cancel();
    let fresh = role
        .caller_with(EDGE, UpstreamOptions { wait_timeout: Duration::from_millis(300), ..UpstreamOptions::default() });
    // The listener itself stays open for a successor; nobody accepts from it.
    let refused = fresh.send(request(Method::GET, "/now")).await;
    assert!(matches!(refused, Err(UpstreamError::NotSent(_))), "{refused:?}");

    gate.open.notify_waiters();
    let answer = in_flight.await.expect("no panic").expect("answered");
    assert_eq!(answer.status, StatusCode::OK);
    timeout(PATIENCE, role.serving).await.expect("drained in time").expect("no panic");
}

#[tokio::test]
async fn a_request_that_is_under_way_when_the_drain_begins_is_answered_with_close() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let mut raw = role.raw(EDGE).await;
    write(&mut raw, NOW).await;
    let first = read_until(&mut raw, "\r\n\r\n").await;
    assert!(!first.contains("connection: close"), "{first}");
    role.ctx.shutdown.cancel();
    write(&mut raw, NOW).await;
    let last = read_to_end(&mut raw).await;
    assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close\r\n"), "{last}");
    timeout(PATIENCE, role.serving).await.expect("drained in time").expect("no panic");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handler_that_never_ends() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let caller = role.caller(EDGE);
    let stuck = tokio::spawn(async move { caller.send(request(Method::POST, "/gated")).await });
    eventually("the request is being handled", || gate.arrived() == 1).await;
    let begun = Instant::now();
    role.ctx.shutdown.cancel();
    timeout(PATIENCE, role.serving).await.expect("bounded").expect("no panic");
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert!(stuck.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_connection_of_age_answers_with_close_and_ends() {
    let role = serve(mesh_with_age(Duration::from_millis(400)), router(&Gate::shared()));
    let mut raw = role.raw(EDGE).await;
    let mut answers = 0;
    loop {
        write(&mut raw, NOW).await;
        let answer = read_until(&mut raw, "\r\n\r\n").await;
        answers += 1;
        if answer.contains("connection: close") {
            break;
        }
    }
    assert!(answers > 1);
    assert_eq!(read_to_end(&mut raw).await, "");
    let aged = "zizon_tls_connections_closed_total{reason=\"age\"}";
    eventually("counted as aged", || metric(&role.ctx, aged) > 0.0).await;
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_age_too() {
    let role = serve(mesh_with_age(Duration::from_millis(200)), router(&Gate::shared()));
    let mut raw = role.raw(EDGE).await;
    assert_eq!(read_to_end(&mut raw).await, "");
    eventually("forgotten", || role.ctx.registry.is_empty()).await;
}

#[tokio::test]
async fn requests_keep_succeeding_over_many_retirements() {
    let role = serve(mesh_with_age(Duration::from_millis(300)), router(&Gate::shared()));
    let ctx = role.ctx.clone();
    let caller = role.caller(EDGE);
    let end = Instant::now() + Duration::from_secs(4);
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                let mut answered = 0_u32;
                let mut pace = interval(Duration::from_millis(1));
                while Instant::now() < end {
                    pace.tick().await;
                    // A method that is never sent twice after it may have been applied.
                    let answer = caller.send(request(Method::POST, "/now")).await;
                    assert_eq!(answer.expect("no call fails").status, StatusCode::METHOD_NOT_ALLOWED);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for worker in workers {
        answered += worker.await.expect("no call fails");
    }
    let connections = metric(&ctx, "zizon_tls_handshakes_total{side=\"server\",result=\"ok\"}");
    assert!(connections > 50.0, "{connections} connections for {answered} requests");
}

#[tokio::test]
async fn a_denied_identity_loses_its_connection_at_once() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let caller = role.caller(EDGE);
    let in_flight = tokio::spawn(async move { caller.send(request(Method::POST, "/gated")).await });
    eventually("the request is being handled", || gate.arrived() == 1).await;
    let closed = role.ctx.registry.close_identity(&role.mesh.ca.id(EDGE), CloseReason::Denied);
    assert_eq!(closed, 1);
    let lost = timeout(Duration::from_secs(1), in_flight).await.expect("at once").expect("no panic");
    assert!(matches!(lost, Err(UpstreamError::Unknown(_))), "{lost:?}");
    eventually("forgotten", || role.ctx.registry.is_empty()).await;
}

#[tokio::test]
async fn a_role_whose_identity_is_withdrawn_closes_every_connection_and_takes_none() {
    let mut mesh = mesh();
    let material = mesh.ca.material(Role::Orders.spiffe_path());
    let (source, issuer) = SvidSource::controlled(material, Clock::system());
    let ctx = mesh.context_with(Role::Orders, std::path::Path::new("."), source);
    let role = serve_context(mesh, ctx, router(&Gate::shared()));
    let mut raw = role.raw(EDGE).await;
    issuer.withdraw();
    assert_eq!(read_to_end(&mut raw).await, "");
    let refused = role.caller(EDGE).send(request(Method::POST, "/now")).await;
    assert!(matches!(refused, Err(UpstreamError::NotSent(_))), "{refused:?}");
    assert!(role.ctx.registry.is_empty());
}

#[tokio::test]
async fn rotation_of_short_lived_identities_costs_no_request() {
    let mut mesh = mesh();
    let now = Clock::system().unix_seconds();
    let short = |path: &str, mesh: &TestMesh, from: u64| {
        Arc::new(Material::build(&mesh.ca.svid_between(path, from - 5, from + 4)).expect("conforms"))
    };
    let (served, serving) = SvidSource::controlled(short(Role::Orders.spiffe_path(), &mesh, now), Clock::system());
    let (calling, caller_issuer) = SvidSource::controlled(short(EDGE, &mesh, now), Clock::system());
    let ctx = mesh.context_with(Role::Orders, std::path::Path::new("."), served);
    let role = serve_context(mesh, ctx, router(&Gate::shared()));
    let address = role.address.to_string();
    let caller = Upstream::new(calling, role.mesh.registry(), Role::Orders, &address, UpstreamOptions::default());
    let end = Instant::now() + Duration::from_secs(7);
    let mut rotate_at = Instant::now() + Duration::from_secs(1);
    let mut answered = 0_u32;
    let mut pace = interval(Duration::from_millis(1));
    while Instant::now() < end {
        pace.tick().await;
        if Instant::now() >= rotate_at {
            rotate_at += Duration::from_secs(1);
            let now = Clock::system().unix_seconds();
            serving.publish(short(Role::Orders.spiffe_path(), &role.mesh, now));
            caller_issuer.publish(short(EDGE, &role.mesh, now));
        }
        let answer = caller.send(request(Method::POST, "/now")).await;
        assert_eq!(answer.expect("no call fails").status, StatusCode::METHOD_NOT_ALLOWED, "{answered}");
        answered += 1;
    }
    assert!(metric(&role.ctx, "zizon_tls_handshakes_total{side=\"server\",result=\"ok\"}") >= 2.0);
}

#[tokio::test]
async fn a_stream_is_read_as_it_comes_and_ends_cleanly_at_the_age_of_its_connection() {
    let role = serve(mesh_with_age(Duration::from_millis(300)), router(&Gate::shared()));
    let caller = role.caller(EDGE);
    let mut feed = caller.stream(request(Method::GET, "/feed")).await.expect("opened");
    assert_eq!(feed.status, StatusCode::OK);
    let mut lines = 0;
    while let Some(piece) = timeout(PATIENCE, feed.body.next()).await.expect("in time") {
        lines += piece.expect("no piece fails").iter().filter(|b| **b == b'\n').count();
    }
    assert!(lines > 5, "{lines}");
}

#[tokio::test]
async fn a_stream_ends_when_the_drain_begins() {
    let role = serve(mesh(), router(&Gate::shared()));
    let caller = role.caller(EDGE);
    let mut feed = caller.stream(request(Method::GET, "/feed")).await.expect("opened");
    feed.body.next().await.expect("a line").expect("readable");
    role.ctx.shutdown.cancel();
    while let Some(piece) = timeout(PATIENCE, feed.body.next()).await.expect("in time") {
        piece.expect("a clean end");
    }
    timeout(PATIENCE, role.serving).await.expect("drained in time").expect("no panic");
}

#[tokio::test]
async fn http2_is_served_to_those_who_ask_for_it() {
    let role = serve(mesh(), router(&Gate::shared()));
    let source = role.mesh.ca.source(EDGE);
    let connector = zizon_mtls::Connector::new(source, role.mesh.registry());
    let expect = Role::Orders.spiffe_id(role.mesh.domain());
    let address = role.address.to_string();
    let (tls, _) = connector.connect(&address, &expect, &[b"h2"]).await.expect("connects");
    let io = hyper_util::rt::TokioIo::new(tls);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, driver) = hyper::client::conn::http2::handshake(executor, io).await.expect("h2");
    let driver = tokio::spawn(driver);
    let asked = || {
        let body = http_body_util::Empty::<Bytes>::new();
        http::Request::get("https://orders/now").body(body).expect("a request")
    };
    let answer = sender.send_request(asked()).await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    role.ctx.shutdown.cancel();
    let ended = timeout(PATIENCE, driver).await.expect("the drain closes it").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}
