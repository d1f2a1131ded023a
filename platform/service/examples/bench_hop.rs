//! What mutual TLS adds to one kept-alive hop: `cargo xtask bench hop`.
//!
//! The same 1 KiB request and answer go over mTLS (the real server and upstream pool) and over plaintext (hyper alone, as
//! thin as it gets), in alternating slices of one run, each side on a thread with a runtime of its own. Plaintext between
//! roles exists nowhere but in this program.
//!
//! `cargo run --release -p zizon-service --features testing --example bench_hop -- --seconds N --in-flight N`

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use zizon_base::role::Role;
use zizon_service::testing::TestMesh;
use zizon_service::{Request, Response, Router, Server, Upstream, UpstreamOptions, UpstreamRequest, json_bytes};

static BODY: [u8; 1024] = [b' '; 1024];
const SLICE: Duration = Duration::from_secs(1);

/// What was measured of one transport.
#[derive(Default)]
struct Tally {
    times: Vec<Duration>,
    elapsed: Duration,
    cpu: Duration,
}

impl Tally {
    fn json(&mut self) -> String {
        self.times.sort_unstable();
        let count = self.times.len().max(1);
        let at = |permille: usize| self.times.get((count - 1) * permille / 1000).map_or(0.0, |t| t.as_secs_f64() * 1e3);
        format!(
            r#"{{"rate":{:.1},"cpu_us":{:.2},"p50_ms":{:.4},"p99_ms":{:.4}}}"#,
            count as f64 / self.elapsed.as_secs_f64(),
            self.cpu.as_secs_f64() * 1e6 / count as f64,
            at(500),
            at(990)
        )
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seconds, in_flight) = (number("--seconds", 5), number("--in-flight", 16));

    let mut mesh = TestMesh::new();
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let secure = ctx.listener.local_addr().expect("bound");
    let plain_listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let plain = plain_listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        runtime().block_on(async {
            let router = Router::new(()).route("POST", "/hop", |_: Arc<()>, _: Request| answer());
            Server::new(&ctx, router).run().await.expect("serves");
        });
    });
    std::thread::spawn(move || runtime().block_on(serve_plain(plain_listener)));

    let upstream = runtime();
    let secure_pool =
        upstream.block_on(async { mesh.caller("ns/shop/sa/edge", Role::Orders, secure, UpstreamOptions::default()) });
    let (mut mtls, mut plaintext) = (Tally::default(), Tally::default());
    upstream.block_on(async {
        // The first slice of each opens the connections and is not counted.
        slice(&mut Tally::default(), in_flight, |end| over_mtls(secure_pool.clone(), end)).await;
        slice(&mut Tally::default(), in_flight, |end| over_plaintext(plain, end)).await;
        for _ in 0..seconds {
            slice(&mut mtls, in_flight, |end| over_mtls(secure_pool.clone(), end)).await;
            slice(&mut plaintext, in_flight, |end| over_plaintext(plain, end)).await;
        }
    });
    println!(r#"{{"mtls":{},"plaintext":{}}}"#, mtls.json(), plaintext.json());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

fn answer() -> std::future::Ready<Response> {
    std::future::ready(json_bytes(StatusCode::OK, Bytes::from_static(&BODY)))
}

/// Processor time of this process, both sides of both transports: only one of them works during a slice.
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let nanos = threads.filter_map(Result::ok).filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn slice<F>(tally: &mut Tally, in_flight: u64, work: impl Fn(Instant) -> F)
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
{
    let (began, used) = (Instant::now(), processor_time());
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        workers.spawn(work(began + SLICE));
    }
    while let Some(worker) = workers.join_next().await {
        tally.times.extend(worker.expect("no panic"));
    }
    tally.elapsed += began.elapsed();
    tally.cpu += processor_time().saturating_sub(used);
}

async fn over_mtls(upstream: Upstream, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        let request = UpstreamRequest {
            method: Method::POST,
            path_and_query: "/hop".parse().expect("a path"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(&BODY),
            deadline: tokio::time::Instant::now() + Duration::from_secs(5),
        };
        let response = upstream.send(request).await.expect("answered");
        assert_eq!(response.body.len(), BODY.len());
        times.push(started.elapsed());
    }
    times
}

async fn serve_plain(listener: std::net::TcpListener) {
    listener.set_nonblocking(true).expect("a socket option");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            let service = service_fn(|request: http::Request<Incoming>| async move {
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                assert_eq!(body.len(), BODY.len());
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(&BODY))))
            });
            // The client closes when its slice is over.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn over_plaintext(address: SocketAddr, end: Instant) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    let calls = async move {
        let mut times = Vec::new();
        while Instant::now() < end {
            let started = Instant::now();
            let request =
                http::Request::post("/hop").header("host", "plain").body(Full::new(Bytes::from_static(&BODY)));
            let response = sender.send_request(request.expect("a request")).await.expect("answered");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body.len(), BODY.len());
            times.push(started.elapsed());
        }
        times
    };
    let (times, closed) = tokio::join!(calls, connection);
    closed.expect("the connection ends well");
    times
}
