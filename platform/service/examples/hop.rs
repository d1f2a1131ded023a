//! Requests per second over one mTLS hop: a server with a trivial handler and an upstream pool, each on a
//! thread with a runtime of its own.
//!
//! `cargo run --release -p zizon-service --features testing --example hop -- [SECONDS] [IN_FLIGHT] [MAX_AGE_SECONDS]`

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use zizon_base::role::Role;
use zizon_service::testing::TestMesh;
use zizon_service::{Request, Response, Router, Server, Upstream, UpstreamOptions, UpstreamRequest, json_bytes};

const ORDER: &[u8] = br#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;
const ANSWER: &[u8] = &[b' '; 900];

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse::<u64>().expect("a number"));
    let seconds = numbers.next().unwrap_or(5);
    let in_flight = numbers.next().unwrap_or(64);

    let mut mesh = TestMesh::new();
    mesh.life.max_age = numbers.next().map_or(mesh.life.max_age, Duration::from_secs);
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let address = ctx.listener.local_addr().expect("bound");
    let shutdown = ctx.shutdown.clone();
    let serving = std::thread::Builder::new().name("server".into()).spawn(move || {
        runtime().block_on(async {
            let router = Router::new(()).route("POST", "/api/v1/orders", answer);
            Server::new(&ctx, router).run().await.expect("serves");
        });
        println!("server thread: {:?} of processor time", processor_time());
    });
    let calling = std::thread::Builder::new().name("client".into()).spawn(move || {
        runtime().block_on(call(mesh, address, Duration::from_secs(seconds), in_flight));
    });
    calling.expect("spawned").join().expect("caller ended well");
    shutdown.cancel();
    serving.expect("spawned").join().expect("server ended well");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// What the calling thread has used (proc_pid_schedstat: nanoseconds on a processor come first).
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

async fn answer(_: Arc<()>, request: Request) -> Response {
    assert_eq!(request.body.len(), ORDER.len());
    json_bytes(StatusCode::CREATED, Bytes::from_static(ANSWER))
}

async fn call(mesh: TestMesh, address: SocketAddr, duration: Duration, in_flight: u64) {
    let upstream = mesh.caller("ns/shop/sa/edge", Role::Orders, address, UpstreamOptions::default());
    let end = Instant::now() + duration;
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        workers.spawn(work(upstream.clone(), end));
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker.expect("no panic"));
    }
    times.sort_unstable();
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000];
    let requests = times.len();
    println!("client thread: {:?} of processor time for {requests} requests", processor_time());
    println!("{} connections at the end", upstream.connections());
    println!("{rate:.0} requests/s, p50 {:?}, p99 {:?}, max {:?}", at(500), at(990), at(1000));
}

async fn work(upstream: Upstream, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        let request = UpstreamRequest {
            method: Method::POST,
            path_and_query: "/api/v1/orders".parse().expect("a path"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(ORDER),
            deadline: tokio::time::Instant::now() + Duration::from_secs(5),
        };
        let response = upstream.send(request).await.expect("answered");
        assert_eq!((response.status, response.body.len()), (StatusCode::CREATED, ANSWER.len()));
        times.push(started.elapsed());
    }
    times
}
