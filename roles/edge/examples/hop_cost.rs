//! What the edge costs per order: CPU time of its thread between a TLS client and a role over mTLS.
//!
//! `cargo run --release -p zizon-edge --example hop_cost [SECONDS] [CONNECTIONS]`
//!
//! Edge, role and clients each have a thread with a runtime of their own, as the processes of `zizon up` have. The role
//! answers at once, so that what is measured is the edge alone.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zizon_base::role::Role;
use zizon_edge::{Config, EdgeOptions};
use zizon_service::testing::TestMesh;
use zizon_service::{RoleContext, Router, Server, json_bytes};

const BODY: &str = r#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;
const ANSWER: &[u8] = br#"{"id":"ord_0123456789abcdef0123456789abcdef0123456789","status":"pending_payment","totals":{"total":5380000},"items":[{"product_id":"PROD001","quantity":2,"price":2690000}]}"#;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let seconds = arguments.next().unwrap_or(5);
    let connections = arguments.next().unwrap_or(64);
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut mesh = TestMesh::new();
    let orders = mesh.context(Role::Orders, data.path());
    let catalog = mesh.context(Role::Catalog, data.path());
    let edge = mesh.context(Role::Edge, data.path());
    let public_listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = public_listener.local_addr().expect("a bound listener has an address");
    in_thread(move || serve_role(orders));
    in_thread(move || serve_role(catalog));
    let extra = EdgeOptions { public_listener, hosts: Vec::new(), openapi: Bytes::new() };
    let edge_thread = in_thread(move || async {
        zizon_edge::run(edge, extra, Config::default()).await.expect("the edge runs");
    });
    let ca_file = data.path().join("ca.pem");
    while !ca_file.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let runtime = runtime();
    runtime.block_on(measure(address, &ca_file, Duration::from_secs(seconds as u64), connections, edge_thread));
    // The serving threads end with the process.
    std::process::exit(0);
}

async fn measure(address: SocketAddr, ca_file: &Path, time: Duration, connections: usize, edge_thread: String) {
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let stream = connect(address, ca_file).await;
        clients.spawn(order_without_end(stream, Arc::clone(&answered)));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, count, cpu) = (Instant::now(), answered.load(Ordering::Relaxed), cpu_ns(&edge_thread));
    tokio::time::sleep(time).await;
    let (elapsed, count, cpu) =
        (began.elapsed().as_secs_f64(), answered.load(Ordering::Relaxed) - count, cpu_ns(&edge_thread) - cpu);
    println!("orders/s              {:10.0}", count as f64 / elapsed);
    println!("edge CPU us per order {:10.2}", cpu as f64 / 1000.0 / count.max(1) as f64);
    println!("edge CPU share        {:10.2}", cpu as f64 / 1e9 / elapsed);
}

async fn order_without_end(mut stream: TlsStream<tokio::net::TcpStream>, answered: Arc<AtomicU64>) {
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: api.cloudwave10.shop\r\nUser-Agent: k6/1.0 (https://k6.io/)\r\n\
         Content-Length: {}\r\nContent-Type: application/json\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = vec![0; 16 * 1024];
    loop {
        stream.write_all(request.as_bytes()).await.expect("the edge reads");
        stream.flush().await.expect("the edge reads");
        let mut filled = 0;
        while !buffer[..filled].ends_with(&ANSWER[ANSWER.len() - 8..]) {
            let read = stream.read(&mut buffer[filled..]).await.expect("the edge answers");
            assert!(read > 0, "the edge ended the connection: {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += read;
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connect(address: SocketAddr, ca_file: &Path) -> TlsStream<tokio::net::TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).expect("the authority's certificate")).expect("a usable root");
    let config = rustls::ClientConfig::builder_with_provider(zizon_mtls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(address).await.expect("the edge accepts");
    tcp.set_nodelay(true).expect("a TCP option");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")
}

async fn serve_role(ctx: RoleContext) {
    let router = Router::new(())
        .route("POST", "/api/v1/orders", |_, _| async { json_bytes(StatusCode::CREATED, Bytes::from_static(ANSWER)) });
    Server::new(&ctx, router).run().await.expect("the role serves");
}

/// Runs a future on a thread of its own; says where the kernel accounts for it.
fn in_thread<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let own = std::fs::read_link("/proc/thread-self").expect("procfs is mounted");
        tell.send(format!("/proc/{}/schedstat", own.display())).expect("the main thread waits");
        runtime().block_on(work());
    });
    told.recv().expect("the thread starts")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time of a thread in nanoseconds.
fn cpu_ns(schedstat: &str) -> u64 {
    let text = std::fs::read_to_string(schedstat).expect("the thread lives");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("schedstat begins with the CPU time")
}
