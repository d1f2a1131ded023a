//! A catalog with its demo products on a free port, and callers with the identities that may call it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_catalog::{Config, RunError, run};
use zizon_contracts::catalog::{FeedLine, History};
use zizon_service::testing::TestMesh;
use zizon_service::{BodyStream, Upstream, UpstreamOptions, UpstreamRequest};

pub const EDGE: &str = "ns/shop/sa/edge";
pub const ORDERS: &str = "ns/shop/sa/orders";
pub const OPERATOR: &str = "ns/ops/sa/operator";
pub const SUPERVISOR: &str = "ns/ops/sa/supervisor";

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Shop {
    mesh: TestMesh,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    role: JoinHandle<Result<(), RunError>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Shop {
    /// Starts the role over what is in `dir`.
    pub fn open(dir: &Path, demo: bool, config: Config) -> Self {
        let mut mesh = TestMesh::new();
        let mut context = mesh.context(Role::Catalog, dir);
        context.demo = demo;
        let address = context.listener.local_addr().unwrap();
        let shutdown = context.shutdown.clone();
        let role = tokio::spawn(run(context, config));
        Self { mesh, address, shutdown, role }
    }

    pub fn demo(dir: &Path) -> Self {
        Self::open(dir, true, Config::default())
    }

    /// Drains the role and waits for its end.
    pub async fn close(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.role).await.unwrap().unwrap().unwrap();
    }

    pub fn caller(&self, path: &str) -> Caller {
        Caller(self.mesh.caller(path, Role::Catalog, self.address, UpstreamOptions::default()))
    }
}

pub struct Caller(Upstream);

impl Caller {
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get_with(&self, path: &str, header: (&'static str, &str)) -> Answer {
        self.send(Method::GET, path, &[header], Bytes::new()).await
    }

    pub async fn put(&self, path: &str, body: &Value, headers: &[(&'static str, &str)]) -> Answer {
        self.send(Method::PUT, path, headers, body.to_string().into()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> Answer {
        let mut request = UpstreamRequest::new(method, path, Instant::now() + PATIENCE).unwrap();
        if !body.is_empty() {
            request = request.json(body);
        }
        for (name, value) in headers {
            request.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let response = self.0.send(request).await.unwrap();
        Answer { status: response.status, headers: response.headers, body: response.body }
    }

    /// The feed for a reader that has everything up to a position of a history.
    pub async fn feed(&self, from: Option<(History, u64)>) -> Lines {
        let path = match from {
            Some((history, seq)) => format!("/internal/v1/feed?from={seq}&history={history}"),
            None => "/internal/v1/feed".to_owned(),
        };
        let request = UpstreamRequest::new(Method::GET, &path, Instant::now() + PATIENCE);
        let stream = self.0.stream(request.unwrap()).await.unwrap();
        assert_eq!(stream.status, StatusCode::OK);
        Lines { body: stream.body, buffer: Vec::new() }
    }
}

/// The feed, line by line.
pub struct Lines {
    body: BodyStream,
    buffer: Vec<u8>,
}

impl Lines {
    pub async fn next(&mut self) -> FeedLine {
        loop {
            if let Some(end) = self.buffer.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("a line within the bound");
            self.buffer.extend_from_slice(&piece.expect("the feed goes on").unwrap());
        }
    }

    /// Lines up to and with the next heartbeat.
    pub async fn until_heartbeat(&mut self) -> (Vec<FeedLine>, (History, u64)) {
        let mut lines = Vec::new();
        loop {
            match self.next().await {
                FeedLine::Heartbeat { seq, history } => return (lines, (history, seq)),
                line => lines.push(line),
            }
        }
    }
}
