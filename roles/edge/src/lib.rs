//! The edge role: the only public listener. TLS, strict HTTP, limits and routing to roles.
//!
//! ```text
//! listener  accept, bounds per client, TLS 1.3
//!   h1 | h2   framing: every rule that two readers could read differently (h1::Reject)
//!     guard     what may refuse a request before anybody acts on it: admission; later WAF, rate limits, blocks
//!       routes    method and path: a page of the edge's own, or a role
//!         forward   over mTLS to orders or catalog, tried again where that is safe
//! ```
//!
//! Architecture invariants: the edge holds no business rule and no state beyond connections; no field of a request
//! reaches a role unless it is named; every request is answered, in bounded time, with a body that says what to do.

pub mod answer;
pub mod config;
pub mod connections;
pub mod edge;
pub mod forward;
pub mod guard;
pub mod h1;
pub mod h2;
pub mod handler;
pub mod listener;
pub mod metrics;
pub mod paced;
mod pages;
pub mod ready;
pub mod routes;
pub mod tls;
pub mod view;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_rustls::TlsAcceptor;
use zizon_base::role::Role;
use zizon_service::{
    ContextError, RoleContext, Router, Server, ServerError, Upstream, UpstreamOptions, descriptor_limit,
};

pub use config::{Config, TlsConfig};
pub use tls::TlsError;

use crate::answer::Hardening;
use crate::config::millis;
use crate::connections::Connections;
use crate::edge::Edge;
use crate::forward::Roles;
use crate::guard::{Admission, Chain};
use crate::h1::{DateCache, H1Options};
use crate::listener::PublicListener;
use crate::metrics::EdgeMetrics;
use crate::paced::Paced;
use crate::ready::Watcher;
use crate::tls::Certificate;

/// The longest drain; what is in work after it is dropped.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(8);

/// What the edge needs besides the context of every role, whose listener is the internal, mTLS one.
#[derive(Debug)]
pub struct EdgeOptions {
    /// The public listener, bound and listening.
    pub public_listener: TcpListener,
    /// Names and addresses the certificate of the local authority is for, besides `localhost` and the loopback ones.
    pub hosts: Vec<String>,
    /// What `/openapi.json` answers.
    pub openapi: Bytes,
}

/// Why the edge could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] zizon_base::config::ConfigError),
    /// There is no usable certificate.
    #[error("the public listener has no certificate")]
    Tls(#[from] TlsError),
    /// A role's address is missing.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The public listener cannot be used.
    #[error("the public listener cannot be used")]
    Listener(#[source] io::Error),
    /// The internal listener cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Serves until the context's shutdown token is cancelled, then drains.
///
/// # Errors
/// The edge cannot start. Failures of single connections or roles are answered, not returned.
pub async fn run(ctx: RoleContext, extra: EdgeOptions, config: Config) -> Result<(), RunError> {
    config.validate()?;
    let upstream = UpstreamOptions {
        max_connections: config.upstream_connections_max.into(),
        max_waiting: config.in_flight_max as usize,
        ..UpstreamOptions::default()
    };
    let backend = Arc::new(Roles {
        orders: Upstream::for_role(&ctx, Role::Orders, upstream.clone())?,
        catalog: Upstream::for_role(&ctx, Role::Catalog, upstream)?,
    });
    let admission = Admission::new(config.in_flight_max as usize, config.upstream_connections_max.into());
    let metrics = Arc::new(EdgeMetrics::new(&ctx.metrics, &admission));
    let ready = Watcher::new(ctx.shutdown.clone());
    let edge = Arc::new(Edge {
        backend: Arc::clone(&backend),
        // The layer between framing and routing: a WAF, rate limits and blocks join the chain here.
        guards: Chain::default().with(admission),
        metrics: Arc::clone(&metrics),
        refusals: Paced::default(),
        ready: Arc::clone(&ready),
        openapi: extra.openapi,
        body_bytes_max: config.body_bytes_max as usize,
        upstream_patience: millis(config.upstream_time_max_ms),
        shutdown: ctx.shutdown.clone(),
    });
    let certificate = Certificate::open(&config.tls, &ctx.data_dir, &extra.hosts)?;
    let public = PublicListener {
        listener: into_tokio(extra.public_listener).map_err(RunError::Listener)?,
        acceptor: TlsAcceptor::from(certificate.server_config()?),
        handler: edge,
        options: Arc::new(H1Options {
            limits: config.limits(),
            hardening: Hardening::new(config.hsts_max_age_seconds),
            date: DateCache::default(),
        }),
        connections: Connections::new(connections_max(&config) as usize, config.connections_per_ip_max),
        metrics: Arc::clone(&metrics),
        handshake_time_max: millis(config.handshake_time_max_ms),
        drain_time_max: DRAIN_TIME_MAX,
        shutdown: ctx.shutdown.clone(),
    };
    let internal = Server::new(&ctx, Router::new(())).with_health(Arc::clone(&ready) as _);
    let (served, (), (), ()) = tokio::join!(
        internal.run(),
        public.run(),
        ready.follow(backend),
        certificate.keep_current(&ctx.data_dir, metrics, ctx.shutdown.clone()),
    );
    served.map_err(RunError::from)
}

/// The configured bound, or what the descriptors of this process allow: at a bound of its own the edge closes who is idle,
/// at the kernel's it could not even call a role.
fn connections_max(config: &Config) -> u32 {
    let descriptors = descriptor_limit();
    let within = config.connections_within(descriptors);
    if within < config.connections_max {
        tracing::warn!(
            configured = config.connections_max,
            used = within,
            descriptors,
            "fewer connections than edge.connections_max: the limit of open files is too low for it"
        );
    }
    within
}

fn into_tokio(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
