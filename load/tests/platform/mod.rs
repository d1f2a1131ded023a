//! A platform small enough for these tests: TLS, orders in memory, faults on request.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// What the platform knows, and how it is to misbehave.
#[derive(Default)]
pub struct State {
    /// Order documents by id.
    pub orders: HashMap<String, Value>,
    /// Ids by user and key.
    pub ids: HashMap<(String, String), String>,
    /// Orders answered so far.
    pub answered: u64,
    /// At this many answers, answer nothing for so long.
    pub stall: Option<(u64, Duration)>,
    /// When the stall ends, once it has begun.
    pub stalled_until: Option<Instant>,
    /// Every n-th order is refused with 503.
    pub refuse_every: Option<u64>,
    /// Close the connection after every n-th answer.
    pub close_every: Option<u64>,
    /// Never answer orders.
    pub silent: bool,
}

/// A running platform with a directory for files.
pub struct Platform {
    /// Base address.
    pub url: String,
    /// The CA's file.
    pub ca: PathBuf,
    /// Deleted at the end.
    pub dir: tempfile::TempDir,
    /// Shared with the server.
    pub state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Platform {
    pub fn start(state: State) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let tls = certificates(&ca);
        let state = Arc::new(Mutex::new(state));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (stop, stopped) = oneshot::channel();
        let served = state.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, TlsAcceptor::from(tls), served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { url, ca, dir, state, stop: Some(stop), thread: Some(thread) }
    }
}

fn certificates(ca_file: &std::path::Path) -> Arc<ServerConfig> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    std::fs::File::create(ca_file).unwrap().write_all(ca.pem().as_bytes()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    Arc::new(config)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move { connection(tcp, tls, state).await });
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = tls.accept(tcp).await.ok()?;
    let mut buffer = Vec::new();
    loop {
        let (head, body, end) = loop {
            if let Some(request) = split(&buffer) {
                break request;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        buffer.drain(..end);
        let (status, headers, body, close) = answer(&head, &body, &state).await;
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        if close {
            stream.shutdown().await.ok()?;
            return None;
        }
    }
}

fn split(buffer: &[u8]) -> Option<(String, Vec<u8>, usize)> {
    let head_end = buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let length = header(&head, "content-length").map_or(0, |v| v.parse().unwrap());
    let end = head_end + length;
    (buffer.len() >= end).then(|| (head, buffer[head_end..end].to_vec(), end))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

async fn answer(head: &str, body: &[u8], state: &Mutex<State>) -> (u16, &'static str, String, bool) {
    let path = head.split(' ').nth(1).unwrap();
    if let Some(id) = path.strip_prefix("/api/v1/products/") {
        let document = json!({"id": id, "prices": {"JP": 1200}});
        return if id.starts_with("SERUM") {
            (200, "", document.to_string(), false)
        } else {
            (404, "", "{}".into(), false)
        };
    }
    if let Some(id) = path.strip_prefix("/api/v1/orders/") {
        let state = state.lock().unwrap();
        let order = state.orders.get(id).filter(|o| {
            header(head, "authorization") == Some(&format!("Bearer {}", o["access_token"].as_str().unwrap()))
        });
        return order.map_or((404, "", "{}".into(), false), |order| (200, "", order.to_string(), false));
    }
    let stalled = {
        let mut state = state.lock().unwrap();
        if let Some((at, pause)) = state.stall
            && state.answered >= at
            && state.stalled_until.is_none()
        {
            state.stalled_until = Some(Instant::now() + pause);
        }
        state.stalled_until
    };
    if let Some(until) = stalled {
        tokio::time::sleep_until(until.into()).await;
    }
    if state.lock().unwrap().silent {
        std::future::pending::<()>().await;
    }
    order(body, &mut state.lock().unwrap())
}

fn order(body: &[u8], state: &mut State) -> (u16, &'static str, String, bool) {
    state.answered += 1;
    let every = |n: Option<u64>, answered: u64| n.is_some_and(|n| answered.is_multiple_of(n));
    if every(state.refuse_every, state.answered) {
        return (503, "content-type: application/problem+json\r\n", r#"{"code":"overloaded"}"#.into(), false);
    }
    let close = every(state.close_every, state.answered);
    let request: Value = serde_json::from_slice(body).unwrap();
    let text = |name: &str| request[name].as_str().unwrap().to_owned();
    let (user, key) = (text("user_id"), text("idempotency_key"));
    if let Some(id) = state.ids.get(&(user.clone(), key.clone())) {
        return (201, "Idempotent-Replayed: true\r\n", state.orders[id].to_string(), close);
    }
    let id = format!("ord_{}", state.orders.len());
    let order = json!({
        "id": id, "number": format!("K-{id}"), "status": "pending_payment", "user_id": user,
        "market": request.get("market").unwrap_or(&json!("KR")), "currency": "KRW", "items": request["items"],
        "totals": {"total": request["items"][0]["price"]}, "created_at": "2026-11-22T04:05:06.789Z", "access_token": format!("token-{id}"),
    });
    state.ids.insert((user, key), id.clone());
    state.orders.insert(id, order.clone());
    (201, "", order.to_string(), close)
}
