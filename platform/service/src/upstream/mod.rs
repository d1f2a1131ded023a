//! Calling another role: a pool of HTTP/1.1 connections over mTLS to exactly one identity.
//!
//! Connections are replaced in the background before they age out, so no call pays for a handshake and no
//! rotation costs a call. A call ends in one of four ways that differ in whether it may be sent again; see
//! [`UpstreamError`].

mod dial;
mod error;
mod link;
mod metrics;
mod pool;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use zizon_base::role::Role;
use zizon_base::spiffe::TrustDomain;
use zizon_mtls::{ConnRegistry, Connector, SvidSource};
use zizon_telemetry::Metrics;

use self::dial::Target;
use self::error::Outcome;
use self::link::ExchangeError;
pub(crate) use self::metrics::UpstreamFamilies;
use self::pool::{Lease, Pool};
pub use self::{
    error::{NotSent, UpstreamError},
    stream::{BodyStream, UpstreamStream},
};
use crate::context::{ContextError, RoleContext};

/// Bounds of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamOptions {
    /// Connections at any time; a few more while some are being replaced.
    pub max_connections: usize,
    /// Calls that may wait for a connection; further ones are [`UpstreamError::Overloaded`].
    pub max_waiting: usize,
    /// How long a call waits for a connection.
    pub wait_timeout: Duration,
    /// Longest time for the TCP connection, and again for the handshake.
    pub connect_timeout: Duration,
    /// Connections opened at the same time.
    pub max_dials: usize,
    /// Pause after a failed connection; it doubles up to [`UpstreamOptions::backoff_max`].
    pub backoff_min: Duration,
    /// Longest pause: a role that comes back is in use after at most this long.
    pub backoff_max: Duration,
    /// A connection that nobody used for this long is closed.
    pub idle_timeout: Duration,
    /// Connections that are opened ahead of the first call and stay although nobody uses them.
    pub min_idle: usize,
    /// Longest response body, in bytes, other than of a stream.
    pub response_bytes: usize,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_waiting: 256,
            wait_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            max_dials: 8,
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(150),
            idle_timeout: Duration::from_secs(30),
            min_idle: 1,
            response_bytes: 4 * 1024 * 1024,
        }
    }
}

/// A call. `Host` and `Content-Length` are added.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path_and_query: PathAndQuery,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When the caller gives up.
    pub deadline: Instant,
}

impl UpstreamRequest {
    /// A call without headers and body.
    ///
    /// # Errors
    /// `path_and_query` is not one.
    pub fn new(method: Method, path_and_query: &str, deadline: Instant) -> Result<Self, UpstreamError> {
        let path_and_query = path_and_query.parse().map_err(|error: http::uri::InvalidUri| {
            UpstreamError::NotSent(NotSent::Invalid(error.to_string().into()))
        })?;
        Ok(Self { method, path_and_query, headers: HeaderMap::new(), body: Bytes::new(), deadline })
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = body.into();
        self
    }
}

/// A complete answer, whatever its status.
#[derive(Clone, Debug)]
pub struct UpstreamResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Calls one role. Clones share the pool.
#[derive(Clone)]
pub struct Upstream {
    pool: Arc<Pool>,
    connector: Connector,
    host: HeaderValue,
    _background: Arc<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.pool.target;
        f.debug_struct("Upstream").field("expect", &target.expect).field("address", &target.address).finish()
    }
}

impl Upstream {
    /// An upstream for `role` at the address the context knows, counted in its metrics.
    ///
    /// # Errors
    /// The context has no address of that role.
    pub fn for_role(ctx: &RoleContext, role: Role, options: UpstreamOptions) -> Result<Self, ContextError> {
        let address = ctx.peers.require(role)?;
        let identity = (Arc::clone(&ctx.source), Arc::clone(&ctx.registry));
        Ok(Self::build(identity, &ctx.trust_domain, role, address, options, &ctx.metrics))
    }

    /// An upstream for `role` of the source's own trust domain at `address` (`host:port`), without metrics.
    /// Must be called within a tokio runtime, like [`Upstream::for_role`].
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn new(
        source: Arc<SvidSource>,
        registry: Arc<ConnRegistry>,
        role: Role,
        address: &str,
        options: UpstreamOptions,
    ) -> Self {
        let own = source.id();
        let domain: TrustDomain = own.trust_domain().parse().expect("an identity has a valid trust domain");
        Self::build((source, registry), &domain, role, address, options, &Metrics::new())
    }

    fn build(
        (source, registry): (Arc<SvidSource>, Arc<ConnRegistry>),
        domain: &TrustDomain,
        role: Role,
        address: &str,
        options: UpstreamOptions,
        metrics: &Metrics,
    ) -> Self {
        let connector =
            Connector::new(source, Arc::clone(&registry)).timeouts(options.connect_timeout, options.connect_timeout);
        let target = Target { address: address.to_owned(), expect: role.spiffe_id(domain), registry };
        let metrics = UpstreamFamilies::new(metrics).of(role.name());
        let pool = Pool::new(target, options, metrics);
        let background = tokio::spawn(dial::run(Arc::clone(&pool), connector.clone()));
        Self {
            pool,
            connector,
            host: HeaderValue::from_static(role.name()),
            _background: Arc::new(AbortOnDropHandle::new(background)),
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// A request that met a closed connection before anything was sent is sent once more on another one;
    /// `GET` and `HEAD` are also sent once more when the connection ended before the answer. Dropping the
    /// future closes the connection the request is on, because its answer can no longer be told apart.
    ///
    /// # Errors
    /// [`UpstreamError`] says whether the request may have been applied.
    pub async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let started = Instant::now();
        let result = self.send_twice_at_most(request).await;
        let outcome = result.as_ref().map_or_else(UpstreamError::outcome, |_| Outcome::Answered);
        self.pool.metrics.record(outcome, started.elapsed().as_secs_f64());
        result
    }

    /// Connections in the pool, idle or in use.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.pool.open()
    }

    async fn send_twice_at_most(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let deadline = request.deadline;
        let safe = request.method == Method::GET || request.method == Method::HEAD;
        let again = safe.then(|| request.clone());
        let request = self.render(request);
        let failed = match self.attempt(request, deadline).await? {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let retry = match failed {
            ExchangeError::NotSent(request, _) => *request,
            ExchangeError::Unknown(reason) => match again {
                Some(request) => self.render(request),
                None => return Err(UpstreamError::Unknown(reason)),
            },
        };
        match self.attempt(retry, deadline).await? {
            Ok(response) => Ok(response),
            Err(ExchangeError::NotSent(_, reason)) => Err(UpstreamError::NotSent(NotSent::Closed(reason))),
            Err(ExchangeError::Unknown(reason)) => Err(UpstreamError::Unknown(reason)),
        }
    }

    /// One exchange on one connection: the outer error ends the call, the inner one may allow another try.
    async fn attempt(
        &self,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Result<UpstreamResponse, ExchangeError>, UpstreamError> {
        let mut lease: Lease = self.pool.checkout(deadline).await?;
        let limit = self.pool.options.response_bytes;
        let until = deadline.min(lease.link().hard_at());
        let exchanged = timeout_at(until, lease.link().exchange(request, limit)).await;
        match exchanged.map_err(|_| UpstreamError::Deadline)? {
            Ok(response) => {
                lease.give_back().await;
                let (head, body) = response.into_parts();
                Ok(Ok(UpstreamResponse { status: head.status, headers: head.headers, body }))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn render(&self, request: UpstreamRequest) -> http::Request<Full<Bytes>> {
        let mut rendered = http::Request::new(Full::new(request.body));
        *rendered.method_mut() = request.method;
        *rendered.uri_mut() = Uri::from(request.path_and_query);
        *rendered.headers_mut() = request.headers;
        rendered.headers_mut().insert(header::HOST, self.host.clone());
        rendered
    }
}
