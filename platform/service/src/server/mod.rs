//! Serving: accept, drive, drain.

mod builtin;
mod connection;
mod dispatch;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_mtls::authz::Policy;
use zizon_mtls::{Acceptor, CloseReason, ConnRegistry, PeerPolicy, SourceState, SvidSource};

use crate::context::RoleContext;
use crate::metrics::{RouteMetrics, ServerMetrics, UNMATCHED};
use crate::readiness::Readiness;
use crate::router::Router;

/// Pause after the kernel refused to accept (out of descriptors): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Accepted sockets at any time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Longest time from an accepted socket to a completed handshake.
    pub handshake_timeout: Duration,
    /// Longest drain; what is in flight after it is dropped.
    pub drain_timeout: Duration,
    /// How long a connection that is due to close still answers (with `Connection: close`), so that a
    /// request already on its way is not lost.
    pub linger: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(8),
            linger: Duration::from_millis(250),
        }
    }
}

/// Why a server ended other than by its shutdown token.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The listener cannot be used by the runtime.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
}

/// A role's mTLS listener with its routes.
///
/// `GET /healthz`, `GET /readyz` and `GET /metrics` are added to the router's routes. Like every other route
/// they are for identities the policy names.
pub struct Server<S> {
    listener: Arc<TcpListener>,
    source: Arc<SvidSource>,
    shutdown: CancellationToken,
    options: ServerOptions,
    shared: Shared<S>,
}

/// What every connection needs.
struct Shared<S> {
    service: Role,
    acceptor: Acceptor,
    registry: Arc<ConnRegistry>,
    policy: Arc<ArcSwap<Policy>>,
    router: Router<S>,
    routes: Vec<RouteMetrics>,
    unmatched: RouteMetrics,
    metrics: ServerMetrics,
    shutdown: CancellationToken,
    linger: Duration,
}

impl<S: Send + Sync + 'static> Server<S> {
    /// A server on the context's listener that is ready as soon as its identity is.
    #[must_use]
    pub fn new(ctx: &RoleContext, router: Router<S>) -> Self {
        Self::with_options(ctx, router, ServerOptions::default())
    }

    /// A server with bounds of its own.
    #[must_use]
    pub fn with_options(ctx: &RoleContext, router: Router<S>, options: ServerOptions) -> Self {
        let expected = PeerPolicy::AnyOfTrustDomain(ctx.trust_domain.clone());
        let acceptor = Acceptor::new(Arc::clone(&ctx.source), expected, Arc::clone(&ctx.registry))
            .alpn(&[b"http/1.1", b"h2"])
            .handshake_timeout(options.handshake_timeout);
        let metrics = ServerMetrics::new(&ctx.metrics);
        let router = builtin::add_routes(router, ctx);
        let routes = router.routes.iter().map(|route| metrics.route(route.template, route.method.as_str())).collect();
        let shared = Shared {
            service: ctx.role,
            acceptor,
            registry: Arc::clone(&ctx.registry),
            policy: Arc::clone(&ctx.policy),
            router,
            routes,
            unmatched: metrics.route(UNMATCHED, UNMATCHED),
            metrics,
            shutdown: ctx.shutdown.clone(),
            linger: options.linger,
        };
        Self {
            listener: Arc::clone(&ctx.listener),
            source: Arc::clone(&ctx.source),
            shutdown: ctx.shutdown.clone(),
            options,
            shared,
        }
    }

    /// Serves until the context's shutdown token is cancelled, then drains: nothing is accepted any more,
    /// connections close after what they have in flight, and what is left after
    /// [`ServerOptions::drain_timeout`] is dropped.
    ///
    /// # Errors
    /// The listener cannot be used. Failures of single connections end those only.
    pub async fn run(self) -> Result<(), ServerError> {
        let listener = self.listener.try_clone().map_err(ServerError::Listener)?;
        listener.set_nonblocking(true).map_err(ServerError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Listener)?;
        let shared = Arc::new(self.shared);
        let mut identity = self.source.changed();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Ok(()) = identity.changed() => {
                    let state = *identity.borrow_and_update();
                    close_without_identity(&shared.registry, state);
                }
                Some(ended) = connections.join_next() => report(ended),
                accepted = listener.accept(), if connections.len() < self.options.max_connections => {
                    match accepted {
                        Ok((tcp, _)) => {
                            connections.spawn(connection::serve(Arc::clone(&shared), tcp));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept a connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
        drop(listener);
        drain(connections, self.options.drain_timeout).await;
        Ok(())
    }
}

impl<S> Server<S> {
    /// Lets `/readyz` ask `readiness` as well.
    #[must_use]
    pub fn with_health(self, readiness: Arc<dyn Readiness>) -> Self {
        // The first readiness stays; a role has one.
        let _ = self.shared.router.readiness.set(readiness);
        self
    }
}

/// Fails closed: without an identity of its own a process has no connection to anybody.
fn close_without_identity(registry: &ConnRegistry, state: SourceState) {
    if matches!(state, SourceState::Withdrawn | SourceState::Expired) {
        let closed = registry.close_all(CloseReason::Withdrawn);
        tracing::error!(closed, ?state, "the own identity is gone; every connection was closed");
    }
}

async fn drain(mut connections: JoinSet<()>, limit: Duration) {
    let finished = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(limit, finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections dropped at the end of the drain");
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a handler panicked; its connection is closed");
    }
}
