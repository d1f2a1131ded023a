//! What becomes of calls when the other side fails.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::*;
use http::{Method, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};
use zizon_base::role::Role;
use zizon_mtls::{Acceptor, PeerPolicy};
use zizon_service::testing::TestMesh;
use zizon_service::{NotSent, Request, Response, Router, Upstream, UpstreamError, UpstreamOptions, empty};

async fn gated(gate: Arc<Gate>, _: Request) -> Response {
    gate.wait().await;
    empty(StatusCode::OK)
}

fn router(gate: &Arc<Gate>) -> Router<Gate> {
    Router::new(Arc::clone(gate))
        .route("POST", "/gated", gated)
        .route("GET", "/now", |_, _| async { empty(StatusCode::OK) })
        .route("POST", "/now", |_, _| async { empty(StatusCode::OK) })
}

/// A port where nobody listens.
fn dead_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("bound")
}

#[tokio::test]
async fn a_role_that_is_not_there_is_not_sent_to_and_says_so_at_once() {
    let mesh = mesh();
    let caller = mesh.caller(EDGE, Role::Orders, dead_port(), UpstreamOptions::default());
    let begun = Instant::now();
    for _ in 0..20 {
        let refused = caller.send(request(Method::POST, "/now")).await.expect_err("nobody there");
        assert!(matches!(refused, UpstreamError::NotSent(NotSent::Connect(_))), "{refused:?}");
        assert!(!refused.may_have_been_applied());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dead_role_is_not_stormed_with_connections() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let slamming = tokio::spawn(async move {
        // Accepts and closes: the fastest way to fail.
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, SeqCst);
        }
    });
    let mesh = mesh();
    let caller = mesh.caller(EDGE, Role::Orders, address, UpstreamOptions::default());
    let end = Instant::now() + Duration::from_millis(600);
    let mut calls = 0;
    while Instant::now() < end {
        assert!(caller.send(request(Method::POST, "/now")).await.is_err());
        calls += 1;
        tokio::task::yield_now().await;
    }
    slamming.abort();
    let attempts = attempts.load(SeqCst);
    assert!((3..20).contains(&attempts), "{attempts} attempts for {calls} calls");
}

#[tokio::test]
async fn a_role_that_comes_back_is_used_within_200_ms() {
    let mut mesh = mesh();
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let address = ctx.listener.local_addr().expect("bound");
    let RoleParts { listener, ctx } = close_listener(ctx);
    drop(listener);
    let caller = mesh.caller(EDGE, Role::Orders, address, UpstreamOptions::default());
    for _ in 0..200 {
        assert!(caller.send(request(Method::GET, "/now")).await.is_err());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rebound = std::net::TcpListener::bind(address).expect("the port is free again");
    let ctx = zizon_service::RoleContext { listener: Arc::new(rebound), ..ctx };
    let role = serve_context(mesh, ctx, router(&Gate::shared()));
    let back = Instant::now();
    while caller.send(request(Method::GET, "/now")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(back.elapsed() < Duration::from_millis(300), "{:?}", back.elapsed());
    drop(role);
}

struct RoleParts {
    listener: Arc<std::net::TcpListener>,
    ctx: zizon_service::RoleContext,
}

/// Takes the context's listener out, leaving one on another port.
fn close_listener(ctx: zizon_service::RoleContext) -> RoleParts {
    let spare = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let listener = Arc::clone(&ctx.listener);
    RoleParts { listener, ctx: zizon_service::RoleContext { listener: Arc::new(spare), ..ctx } }
}

/// A server under the test's control: completes handshakes, hands over the streams.
fn scripted(
    mesh: &mut TestMesh,
) -> (SocketAddr, tokio::sync::mpsc::Receiver<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>) {
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let address = ctx.listener.local_addr().expect("bound");
    let expected = PeerPolicy::AnyOfTrustDomain(mesh.domain().clone());
    let acceptor = Acceptor::new(Arc::clone(&ctx.source), expected, Arc::clone(&ctx.registry)).alpn(&[b"http/1.1"]);
    let listener = ctx.listener.try_clone().expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok((tls, _)) = acceptor.accept(tcp).await
                && sender.send(tls).await.is_err()
            {
                return;
            }
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn a_request_that_was_sent_and_lost_is_unknown() {
    let mut mesh = mesh();
    let (address, mut streams) = scripted(&mut mesh);
    let caller = mesh.caller(EDGE, Role::Orders, address, UpstreamOptions::default());
    let call = tokio::spawn(async move { caller.send(request(Method::POST, "/now")).await });
    let mut stream = streams.recv().await.expect("a connection");
    let mut piece = [0; 1024];
    assert!(stream.read(&mut piece).await.expect("readable") > 0);
    drop(stream);
    let lost = call.await.expect("no panic").expect_err("no answer");
    assert!(matches!(lost, UpstreamError::Unknown(_)) && lost.may_have_been_applied(), "{lost:?}");
}

#[tokio::test]
async fn a_get_that_was_lost_is_sent_once_more() {
    let mut mesh = mesh();
    let (address, mut streams) = scripted(&mut mesh);
    let caller = mesh.caller(EDGE, Role::Orders, address, UpstreamOptions::default());
    let call = tokio::spawn(async move { caller.send(request(Method::GET, "/now")).await });
    for _ in 0..2 {
        let mut stream = timeout(PATIENCE, streams.recv()).await.expect("in time").expect("a connection");
        let mut piece = [0; 1024];
        assert!(stream.read(&mut piece).await.expect("readable") > 0);
    }
    assert!(matches!(call.await.expect("no panic"), Err(UpstreamError::Unknown(_))));
}

#[tokio::test]
async fn no_answer_by_the_deadline_may_have_been_applied() {
    let role = serve(mesh(), router(&Gate::shared()));
    let mut asked = request(Method::POST, "/gated");
    asked.deadline = Instant::now() + Duration::from_millis(200);
    let late = role.caller(EDGE).send(asked).await.expect_err("no answer");
    assert!(matches!(late, UpstreamError::Deadline) && late.may_have_been_applied(), "{late:?}");
}

#[tokio::test]
async fn calls_beyond_the_queue_are_refused_at_once() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let options =
        UpstreamOptions { max_connections: 2, max_waiting: 3, wait_timeout: PATIENCE, ..UpstreamOptions::default() };
    let caller = role.caller_with(EDGE, options);
    let send = |caller: &Upstream| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.send(request(Method::POST, "/gated")).await })
    };
    let working: Vec<_> = (0..2).map(|_| send(&caller)).collect();
    eventually("both connections are in use", || gate.arrived() == 2).await;
    let waiting: Vec<_> = (0..3).map(|_| send(&caller)).collect();
    tokio::task::yield_now().await;
    let refused = timeout(Duration::from_secs(1), caller.send(request(Method::POST, "/gated"))).await;
    assert!(matches!(refused, Ok(Err(UpstreamError::Overloaded))), "{refused:?}");
    assert_eq!(caller.connections(), 2);
    for call in working.into_iter().chain(waiting) {
        let call = async {
            let mut call = call;
            loop {
                gate.open.notify_waiters();
                if let Ok(done) = timeout(Duration::from_millis(5), &mut call).await {
                    return done;
                }
            }
        };
        let answer = timeout(PATIENCE, call).await.expect("in time").expect("no panic").expect("answered");
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_call_does_not_wait_for_a_connection_beyond_its_bound() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let options =
        UpstreamOptions { max_connections: 1, wait_timeout: Duration::from_millis(100), ..UpstreamOptions::default() };
    let caller = role.caller_with(EDGE, options);
    let first = caller.clone();
    let working = tokio::spawn(async move { first.send(request(Method::POST, "/gated")).await });
    eventually("the connection is in use", || gate.arrived() == 1).await;
    let refused = caller.send(request(Method::POST, "/now")).await.expect_err("nothing is free");
    assert!(matches!(refused, UpstreamError::NotSent(NotSent::NoConnection)), "{refused:?}");
    gate.open.notify_waiters();
    working.await.expect("no panic").expect("answered");
    assert_eq!(caller.send(request(Method::POST, "/now")).await.expect("answered").status, StatusCode::OK);
    assert_eq!(caller.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_call() {
    let role = serve(mesh(), router(&Gate::shared()));
    let caller = role.caller(EDGE);
    for round in 0..20 {
        let answer = caller.send(request(Method::POST, "/now")).await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
        role.ctx.registry.close_all(zizon_mtls::CloseReason::Policy);
        eventually("the server has closed it", || role.ctx.registry.is_empty()).await;
    }
}

#[tokio::test]
async fn calls_wait_for_a_role_that_restarts_behind_the_same_listener() {
    let mut mesh = mesh();
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let role = serve_context(mesh, ctx, router(&Gate::shared()));
    let caller = role.caller(EDGE);
    caller.send(request(Method::POST, "/now")).await.expect("answered");
    role.serving.abort();
    eventually("it is gone", || role.ctx.registry.is_empty()).await;

    let waiting = caller.clone();
    let waiting = tokio::spawn(async move { waiting.send(request(Method::POST, "/now")).await });
    eventually("the caller has noticed", || caller.connections() == 0).await;
    let successor = serve_context(role.mesh, role.ctx, router(&Gate::shared()));
    let answer = waiting.await.expect("no panic").expect("the successor answers");
    assert_eq!(answer.status, StatusCode::OK);
    drop(successor);
}

#[tokio::test]
async fn calls_to_a_role_that_does_not_come_back_fail_in_bounded_time() {
    let mut mesh = mesh();
    // Bound, but nobody accepts: connections are made and handshakes are not.
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let address = ctx.listener.local_addr().expect("bound");
    let options = UpstreamOptions { wait_timeout: Duration::from_millis(200), ..UpstreamOptions::default() };
    let caller = mesh.caller(EDGE, Role::Orders, address, options);
    let begun = Instant::now();
    let refused = caller.send(request(Method::POST, "/now")).await.expect_err("nobody accepts");
    assert!(matches!(refused, UpstreamError::NotSent(NotSent::NoConnection)), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_but_the_expected_identity_is_sent_to() {
    let role = serve(mesh(), router(&Gate::shared()));
    let wrong = role.mesh.caller(EDGE, Role::Catalog, role.address, UpstreamOptions::default());
    let refused = wrong.send(request(Method::GET, "/now")).await.expect_err("it is orders");
    assert!(matches!(refused, UpstreamError::NotSent(NotSent::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn a_call_that_is_given_up_closes_its_connection() {
    let gate = Gate::shared();
    let role = serve(mesh(), router(&gate));
    let caller = role.caller(EDGE);
    let dropped = caller.clone();
    let call = tokio::spawn(async move { dropped.send(request(Method::POST, "/gated")).await });
    eventually("the request is being handled", || gate.arrived() == 1).await;
    call.abort();
    eventually("the connection is gone", || caller.connections() == 0 && role.ctx.registry.is_empty()).await;
}
