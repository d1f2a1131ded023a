//! An edge on free ports with roles behind it that a test controls, all over real sockets and TLS.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_edge::{Config, EdgeOptions, RunError};
use zizon_service::testing::TestMesh;
use zizon_service::{Check, Request, Response, RoleContext, Router, Server, Upstream, UpstreamOptions, json as reply};

/// A role behind the edge: answers what it got, when it is let.
#[derive(Debug)]
pub struct FakeRole {
    pub ready: AtomicBool,
    pub received: AtomicUsize,
    /// A request waits for a permit of it.
    pub gate: Semaphore,
}

impl Default for FakeRole {
    fn default() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS / 2);
        Self { ready: AtomicBool::new(true), received: AtomicUsize::new(0), gate }
    }
}

impl FakeRole {
    /// Lets nobody through until permits are added.
    pub fn hold(&self) {
        self.gate.forget_permits(usize::MAX);
    }
}

async fn echo(role: Arc<FakeRole>, request: Request) -> Response {
    role.received.fetch_add(1, Ordering::SeqCst);
    if let Ok(permit) = role.gate.acquire().await {
        permit.forget();
    }
    let fields = request.parts.headers.iter();
    let fields: Map<String, Value> =
        fields.map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))).collect();
    let mut response = reply(
        StatusCode::CREATED,
        &json!({
            "method": request.parts.method.as_str(), "target": request.parts.uri.to_string(),
            "fields": fields, "body": String::from_utf8_lossy(&request.body),
            "request_id": request.request_id.as_str(), "trace_id": request.trace.trace_id(),
        }),
    );
    for (name, value) in [("x-zizon-inside", "secret"), ("server", "inside"), ("idempotent-replayed", "true")] {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}

/// A running role.
pub struct Running {
    pub role: Arc<FakeRole>,
    ctx: RoleContext,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    fn new(ctx: RoleContext) -> Self {
        let mut running = Self { role: Arc::default(), ctx, stop: CancellationToken::new(), task: None };
        running.start();
        running
    }

    /// Serves (again) on the same socket.
    pub fn start(&mut self) {
        self.stop = CancellationToken::new();
        let ctx =
            RoleContext { shutdown: self.stop.clone(), metrics: zizon_telemetry::Metrics::new(), ..self.ctx.clone() };
        let role = Arc::clone(&self.role);
        let readiness = move || vec![Check::new("fake", role.ready.load(Ordering::SeqCst), "as the test says")];
        let router = Router::new(Arc::clone(&self.role))
            .route("POST", "/api/v1/orders", echo)
            .route("GET", "/api/v1/orders/{id}", echo)
            .route("POST", "/api/v1/orders/{id}/cancel", echo)
            .route("GET", "/api/v1/products", echo)
            .route("GET", "/api/v1/products/{id}", echo);
        let server = Server::new(&ctx, router).with_health(Arc::new(readiness));
        self.task = Some(tokio::spawn(async move {
            let _ = server.run().await;
        }));
    }

    /// Ends the process, so to speak: its connections break, its socket stays with the supervisor.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Everything.
pub struct Platform {
    pub data: TempDir,
    pub mesh: TestMesh,
    pub address: SocketAddr,
    pub internal: SocketAddr,
    pub orders: Running,
    pub catalog: Running,
    pub shutdown: CancellationToken,
    pub edge: JoinHandle<Result<(), RunError>>,
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// With an edge configured so; waits until it is ready.
    pub async fn start_with(config: Config) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut mesh = TestMesh::new();
        let orders = Running::new(mesh.context(Role::Orders, data.path()));
        let catalog = Running::new(mesh.context(Role::Catalog, data.path()));
        let ctx = mesh.context(Role::Edge, data.path());
        let internal = ctx.listener.local_addr().unwrap();
        let shutdown = ctx.shutdown.clone();
        let public_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = public_listener.local_addr().unwrap();
        let extra = EdgeOptions {
            public_listener,
            hosts: vec!["shop.example".to_owned()],
            openapi: Bytes::from_static(b"{\"openapi\":\"3.1.0\"}"),
        };
        let edge = tokio::spawn(zizon_edge::run(ctx, extra, config));
        let platform = Self { data, mesh, address, internal, orders, catalog, shutdown, edge };
        wait_for(|| platform.ca_file().exists()).await;
        platform.wait_ready(true).await;
        platform
    }

    pub fn ca_file(&self) -> PathBuf {
        self.data.path().join("ca.pem")
    }

    pub async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        connect(self.address, "localhost", &self.ca_file(), alpn).await.unwrap()
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> super::Reply {
        let mut stream = self.connect(b"http/1.1").await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        super::read_reply(&mut stream, true).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> super::Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    pub async fn order(&self) -> super::Reply {
        self.ask(
            "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        )
        .await
    }

    pub async fn wait_ready(&self, wanted: bool) {
        let waiting = async {
            while (self.get("/readyz").await.status == 200) != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("readiness within 20 seconds");
    }

    /// A caller of the edge's internal listener.
    pub fn supervisor(&self) -> Upstream {
        self.mesh.caller("ns/ops/sa/supervisor", Role::Edge, self.internal, UpstreamOptions::default())
    }
}

/// Waits for a condition, in bounds.
pub async fn wait_for(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the condition within 20 seconds");
}

/// A TLS connection that trusts the authority in `ca_file`.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    ca_file: &Path,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(zizon_mtls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}
