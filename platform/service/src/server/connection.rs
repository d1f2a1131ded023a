//! One accepted connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use zizon_mtls::{CloseReason, ConnGuard, Peer, Side};
use zizon_telemetry::Gauge;

use super::{Shared, dispatch};
use crate::response::Body;

/// Streams one peer may have open on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 128;

/// What every request of a connection needs.
pub(super) struct Connection<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) peer: Arc<Peer>,
    /// Cancelled when the connection is due to close: answers say so, streams end.
    pub(super) closing: CancellationToken,
}

/// Counts something for as long as it lives.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Completes the handshake and answers requests until the connection ends.
pub(super) async fn serve<S: Send + Sync + 'static>(shared: Arc<Shared<S>>, tcp: TcpStream) {
    let gauge = shared.metrics.connections.clone();
    let _open = Counted::new(&gauge);
    let (tls, peer) = match shared.acceptor.accept(tcp).await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::debug!(%error, reason = error.reason().label(), "handshake failed");
            return;
        }
    };
    let guard = shared.registry.register(&peer, Side::Server);
    let connection = Arc::new(Connection { shared, peer, closing: CancellationToken::new() });
    let reason = if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_h2(&connection, &guard, tls).await
    } else {
        serve_h1(&connection, &guard, tls).await
    };
    guard.close_reason(reason);
}

async fn serve_h1<S: Send + Sync + 'static>(
    connection: &Arc<Connection<S>>,
    guard: &ConnGuard,
    tls: TlsStream<TcpStream>,
) -> CloseReason {
    let service = service(connection);
    // No header timer: it costs a timer per request, and the connection's age bounds a slow peer already.
    // No Date: the edge dates what goes to the public.
    let driver = http1::Builder::new()
        .header_read_timeout(None)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(tls), service);
    live(connection, guard, pin!(driver)).await
}

async fn serve_h2<S: Send + Sync + 'static>(
    connection: &Arc<Connection<S>>,
    guard: &ConnGuard,
    tls: TlsStream<TcpStream>,
) -> CloseReason {
    let service = service(connection);
    let driver = http2::Builder::new(Streams::default())
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(tls), service);
    live(connection, guard, pin!(driver)).await
}

fn service<S: Send + Sync + 'static>(
    connection: &Arc<Connection<S>>,
) -> impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send> + use<S> {
    let connection = Arc::clone(connection);
    service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(dispatch::answer(&connection, request).await) }
    })
}

/// Where a connection stands on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Answers carry `Connection: close`; an idle connection waits a moment for a request under way.
    Lingering,
    /// Closes as soon as nothing is in flight.
    Closing,
}

/// Drives a connection within the bounds of its life; says why it ended.
async fn live<S, D: Driver>(connection: &Connection<S>, guard: &ConnGuard, mut driver: Pin<&mut D>) -> CloseReason {
    let shared = &connection.shared;
    let mut phase = Phase::Open;
    let mut reason = CloseReason::Finished;
    let mut timer = pin!(sleep_until(guard.graceful_at()));
    let mut cancelled = pin!(guard.cancelled());
    let mut shutdown = pin!(shared.shutdown.cancelled());
    loop {
        tokio::select! {
            biased;
            why = &mut cancelled => return why,
            ended = driver.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection broke");
                }
                return reason;
            }
            () = &mut shutdown, if phase == Phase::Open => {
                reason = CloseReason::Shutdown;
                phase = Phase::Lingering;
            }
            () = &mut timer => match phase {
                Phase::Open => {
                    reason = CloseReason::Age;
                    phase = Phase::Lingering;
                }
                Phase::Lingering => {
                    phase = Phase::Closing;
                    driver.as_mut().close_gracefully();
                }
                Phase::Closing => return CloseReason::Expired,
            },
        }
        match phase {
            Phase::Open => {}
            Phase::Lingering => {
                connection.closing.cancel();
                let linger = if D::ANNOUNCES_CLOSE { Instant::now() } else { Instant::now() + shared.linger };
                timer.as_mut().reset(linger.min(guard.hard_at()));
            }
            Phase::Closing => timer.as_mut().reset(guard.hard_at()),
        }
    }
}

/// What both versions of HTTP have in common here.
trait Driver: Future<Output = hyper::Result<()>> {
    /// Whether the protocol can say that it closes without an answer to say it with.
    const ANNOUNCES_CLOSE: bool;

    fn close_gracefully(self: Pin<&mut Self>);
}

impl<T> Driver for http1::Connection<TokioIo<TlsStream<TcpStream>>, T>
where
    T: HttpService<Incoming, ResBody = Body>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const ANNOUNCES_CLOSE: bool = false;

    fn close_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<T> Driver for http2::Connection<TokioIo<TlsStream<TcpStream>>, T, Streams>
where
    T: HttpService<Incoming, ResBody = Body>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T::Future: Send + 'static,
{
    const ANNOUNCES_CLOSE: bool = true;

    fn close_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the streams of one HTTP/2 connection; they end with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock();
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}
