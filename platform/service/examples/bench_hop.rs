//! What mutual TLS adds to one kept-alive hop: `cargo xtask bench hop`.
//!
//! The same 1 KiB request and answer go over mTLS (the real server and upstream pool), over the same mutual TLS with hyper
//! alone at both ends, and over plaintext (hyper alone again, as thin as it gets), in slices of one run that take turns in
//! going first, over as many kept-alive connections as there are requests in flight, each side on a thread with a runtime
//! of its own. From the third to the second is what TLS costs: the same program over another transport. From the second
//! to the first is what a role does for every request besides: authorisation, routing, pool, deadlines, metrics. Plaintext
//! between roles exists nowhere but in this program.
//!
//! `cargo run --release -p zizon-service --features testing --example bench_hop -- --seconds N --in-flight N`

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use zizon_base::role::Role;
use zizon_mtls::{Acceptor, Connector, PeerPolicy};
use zizon_service::testing::TestMesh;
use zizon_service::{Request, Response, Router, Server, Upstream, UpstreamOptions, UpstreamRequest, json_bytes};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static BODY: [u8; 1024] = [b' '; 1024];
/// A route that the standard policy lets the edge call: authorisation is part of the hop.
const ROUTE: &str = "/api/v1/orders";
const SLICE: Duration = Duration::from_secs(1);
/// Longest time to open the pool's connections.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// What was measured of one transport.
struct Tally {
    times: Vec<Duration>,
    elapsed: Duration,
    cpu: Duration,
}

impl Tally {
    const EMPTY: Self = Self { times: Vec::new(), elapsed: Duration::ZERO, cpu: Duration::ZERO };

    fn json(&mut self) -> String {
        self.times.sort_unstable();
        let count = self.times.len();
        let at = |permille: usize| self.times[(count - 1) * permille / 1000].as_secs_f64() * 1e3;
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
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().expect("a number")).max(1)
    };
    let (seconds, in_flight) = (number("--seconds", 5), number("--in-flight", 16));

    let mut mesh = TestMesh::new();
    let ctx = mesh.context(Role::Orders, Path::new("."));
    let secure = ctx.listener.local_addr().expect("bound");
    let (plain_listener, plain) = listen();
    let (tls_listener, tls) = listen();
    let acceptor =
        Acceptor::new(Arc::clone(&ctx.source), PeerPolicy::AnyOfTrustDomain(mesh.domain().clone()), mesh.registry())
            .alpn(&[b"http/1.1"]);
    let expected = Role::Orders.spiffe_id(mesh.domain());
    std::thread::spawn(move || {
        runtime().block_on(async {
            let router = Router::new(()).route("POST", ROUTE, |_: Arc<()>, _: Request| answer());
            Server::new(&ctx, router).run().await.expect("serves");
        });
    });
    std::thread::spawn(move || runtime().block_on(serve(plain_listener, |tcp| std::future::ready(Some(tcp)))));
    std::thread::spawn(move || {
        runtime().block_on(serve(tls_listener, move |tcp| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(tcp).await.ok().map(|(stream, _)| stream) }
        }));
    });

    let mut tallies = [const { Tally::EMPTY }; 3];
    runtime().block_on(async {
        let options = UpstreamOptions { max_connections: in_flight, min_idle: in_flight, ..UpstreamOptions::default() };
        let pool = mesh.caller("ns/shop/sa/edge", Role::Orders, secure, options);
        tokio::time::timeout(OPENING_MAX, all_open(&pool, in_flight)).await.expect("the pool opens its connections");
        let connector = Connector::new(mesh.ca.source("ns/shop/sa/edge"), mesh.registry());
        let (mut plain_links, mut tls_links) = (Vec::new(), Vec::new());
        for _ in 0..in_flight {
            let tcp = TcpStream::connect(plain).await.expect("a connection");
            tcp.set_nodelay(true).expect("a socket option");
            plain_links.push(Arc::new(Mutex::new(Link::over(tcp).await)));
            let connected = connector.connect(&tls.to_string(), &expected, &[b"http/1.1"]).await;
            tls_links.push(Arc::new(Mutex::new(Link::over(connected.expect("a handshake").0).await)));
        }
        for round in 0..=seconds {
            // The first round warms up and is not counted.
            let mut warm_up = [const { Tally::EMPTY }; 3];
            let tallies = if round == 0 { &mut warm_up } else { &mut tallies };
            for turn in 0..tallies.len() {
                let transport = (round + turn) % tallies.len();
                let tally = &mut tallies[transport];
                match transport {
                    0 => slice(tally, in_flight, |_, end| over_mtls(pool.clone(), end)).await,
                    1 => slice(tally, in_flight, |at, end| hyper_alone(Arc::clone(&tls_links[at]), end)).await,
                    _ => slice(tally, in_flight, |at, end| hyper_alone(Arc::clone(&plain_links[at]), end)).await,
                }
            }
        }
    });
    let [mut mtls, mut alone, mut plaintext] = tallies;
    println!(r#"{{"mtls":{},"tls_alone":{},"plaintext":{}}}"#, mtls.json(), alone.json(), plaintext.json());
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

fn answer() -> std::future::Ready<Response> {
    std::future::ready(json_bytes(StatusCode::OK, Bytes::from_static(&BODY)))
}

/// Processor time of this process, both sides of all transports: only one of them works during a slice.
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let nanos = threads.filter_map(Result::ok).filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Waits until the pool has as many connections as the others.
async fn all_open(pool: &Upstream, count: usize) {
    while pool.connections() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets `in_flight` workers, told apart by their number, call one after another until the slice is over.
async fn slice<F>(tally: &mut Tally, in_flight: usize, work: impl Fn(usize, Instant) -> F)
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
{
    let (began, used) = (Instant::now(), processor_time());
    let mut workers = JoinSet::new();
    for at in 0..in_flight {
        workers.spawn(work(at, began + SLICE));
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
            path_and_query: ROUTE.parse().expect("a path"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(&BODY),
            deadline: tokio::time::Instant::now() + Duration::from_secs(5),
        };
        let response = upstream.send(request).await.expect("answered");
        assert_eq!((response.status, response.body.len()), (StatusCode::OK, BODY.len()));
        times.push(started.elapsed());
    }
    times
}

async fn serve<S, F>(listener: std::net::TcpListener, secure: impl Fn(TcpStream) -> F + Clone + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Option<S>> + Send,
{
    listener.set_nonblocking(true).expect("a socket option");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let secure = secure.clone();
        connections.spawn(async move {
            let stream = secure(tcp).await.expect("a handshake");
            let service = service_fn(|request: http::Request<Incoming>| async move {
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                assert_eq!(body.len(), BODY.len());
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(&BODY))))
            });
            // As the real server sets it: no header timer, no Date. The client closes at the end of the run.
            let _ = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A kept-alive connection of hyper, driven by whoever uses it, as the upstream pool's are.
struct Link<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<S>, Full<Bytes>>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link<S> {
    async fn over(stream: S) -> Self {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        Self { sender, driver: Box::pin(driver) }
    }
}

async fn hyper_alone<S>(link: Arc<Mutex<Link<S>>>, end: Instant) -> Vec<Duration>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut link = link.lock().await;
    let Link { sender, driver } = &mut *link;
    let calls = async move {
        let mut times = Vec::new();
        while Instant::now() < end {
            let started = Instant::now();
            sender.ready().await.expect("kept alive");
            let request =
                http::Request::post(ROUTE).header("host", "orders").body(Full::new(Bytes::from_static(&BODY)));
            let response = sender.send_request(request.expect("a request")).await.expect("answered");
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            assert_eq!((head.status, body.len()), (StatusCode::OK, BODY.len()));
            times.push(started.elapsed());
        }
        times
    };
    tokio::select! {
        biased;
        times = calls => times,
        ended = driver => panic!("the connection ended before its slice: {ended:?}"),
    }
}
