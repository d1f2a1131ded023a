//! What the tests of this crate share: a role that serves, a caller, raw requests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use zizon_base::role::Role;
use zizon_mtls::{ConnectionLife, Connector};
use zizon_service::testing::TestMesh;
use zizon_service::{
    RoleContext, Router, Server, ServerOptions, Upstream, UpstreamOptions, UpstreamRequest, UpstreamResponse,
};

pub const EDGE: &str = "ns/shop/sa/edge";
pub const STRANGER: &str = "ns/shop/sa/stranger";

/// The edge may call everything of orders; nobody else may call anything.
pub const POLICY: &str = "
version: 1
services:
  orders:
    id: ns/shop/sa/orders
    allow:
      - {from: ns/shop/sa/edge, routes: ['* /**']}
";

/// The longest any test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running orders role.
pub struct Running {
    pub mesh: TestMesh,
    pub ctx: RoleContext,
    pub address: SocketAddr,
    pub serving: JoinHandle<()>,
}

pub fn mesh() -> TestMesh {
    TestMesh::with_policy(POLICY)
}

pub fn mesh_with_age(max_age: Duration) -> TestMesh {
    let mut mesh = mesh();
    mesh.life = ConnectionLife { max_age, grace: Duration::from_secs(1) };
    mesh
}

/// Serves `router` as orders in `mesh`.
pub fn serve<S: Send + Sync + 'static>(mut mesh: TestMesh, router: Router<S>) -> Running {
    let ctx = mesh.context(Role::Orders, Path::new("."));
    serve_context(mesh, ctx, router)
}

pub fn serve_context<S: Send + Sync + 'static>(mesh: TestMesh, ctx: RoleContext, router: Router<S>) -> Running {
    let address = ctx.listener.local_addr().expect("bound");
    let options = ServerOptions { drain_timeout: Duration::from_secs(4), ..ServerOptions::default() };
    let server = Server::with_options(&ctx, router, options);
    let serving = tokio::spawn(async move { server.run().await.expect("serves") });
    Running { mesh, ctx, address, serving }
}

impl Running {
    pub fn caller(&self, path: &str) -> Upstream {
        self.caller_with(path, UpstreamOptions::default())
    }

    pub fn caller_with(&self, path: &str, options: UpstreamOptions) -> Upstream {
        self.mesh.caller(path, Role::Orders, self.address, options)
    }

    /// A connection to send bytes of the test's choice on.
    pub async fn raw(&self, path: &str) -> TlsStream<TcpStream> {
        let connector = Connector::new(self.mesh.ca.source(path), self.mesh.registry());
        let expect = Role::Orders.spiffe_id(self.mesh.domain());
        connector.connect(&self.address.to_string(), &expect, &[b"http/1.1"]).await.expect("connects").0
    }
}

/// A request that may take until the test's patience ends.
pub fn request(method: Method, path: &str) -> UpstreamRequest {
    UpstreamRequest::new(method, path, Instant::now() + PATIENCE).expect("a path")
}

pub async fn get(caller: &Upstream, path: &str) -> UpstreamResponse {
    caller.send(request(Method::GET, path)).await.expect("answered")
}

pub fn json_of(response: &UpstreamResponse) -> serde_json::Value {
    serde_json::from_slice(&response.body).expect("a JSON body")
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Everything the other side sends until it closes.
pub async fn read_to_end(stream: &mut TlsStream<TcpStream>) -> String {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("closed in time");
    // A peer that closes without saying so has still closed.
    drop(read);
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until `end` has come.
pub async fn read_until(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(end) {
        let mut piece = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.expect("in time").expect("readable");
        assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

pub async fn write(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("writable");
    stream.flush().await.expect("writable");
}

/// A value that a metric of the role has at the moment; 0 while it is not exported.
pub fn metric(ctx: &RoleContext, series: &str) -> f64 {
    let text = ctx.metrics.encode();
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// State for handlers: a gate they wait at, and a count of those that came.
#[derive(Default)]
pub struct Gate {
    pub open: tokio::sync::Notify,
    pub arrived: std::sync::atomic::AtomicUsize,
}

impl Gate {
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    pub fn arrived(&self) -> usize {
        self.arrived.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub async fn wait(&self) {
        let opened = self.open.notified();
        self.arrived.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        opened.await;
    }
}
