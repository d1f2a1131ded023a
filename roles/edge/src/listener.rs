//! The public listener: accept, shake hands, choose the protocol; at the end, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Entry};
use crate::h1::{self, H1Options};
use crate::h2;
use crate::handler::Handler;
use crate::metrics::EdgeMetrics;

/// Pause after the kernel refused to accept (out of descriptors): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Idle connections closed each time the kernel refuses.
const EVICTED_AT_ONCE: usize = 64;
/// Between two log lines about it.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);
/// How long an idle connection still answers while the edge drains, so that a request on its way is not lost.
const DRAIN_IDLE_MS: u64 = 500;
const DRAIN_IDLE: Duration = Duration::from_millis(DRAIN_IDLE_MS);

/// The public listener and what it needs.
pub struct PublicListener<H> {
    /// Bound and listening.
    pub listener: TcpListener,
    /// TLS of every connection.
    pub acceptor: TlsAcceptor,
    /// Answers.
    pub handler: Arc<H>,
    /// Bounds and fields of every connection.
    pub options: Arc<H1Options>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// Counts.
    pub metrics: Arc<EdgeMetrics>,
    /// Longest handshake.
    pub handshake_time_max: Duration,
    /// Longest drain; what is in work after it is dropped.
    pub drain_time_max: Duration,
    /// Cancelled when the edge drains.
    pub shutdown: CancellationToken,
}

/// What a connection's task needs.
struct Shared<H> {
    acceptor: TlsAcceptor,
    handler: Arc<H>,
    options: Arc<H1Options>,
    metrics: Arc<EdgeMetrics>,
    handshake_time_max: Duration,
    shutdown: CancellationToken,
}

impl<H: Handler> PublicListener<H> {
    /// Serves until `shutdown`, then drains: nothing is accepted any more, answers say that the connection ends, idle
    /// connections are closed, and what is left at the end of [`PublicListener::drain_time_max`] is dropped.
    pub async fn run(self) {
        let shared = Arc::new(Shared {
            acceptor: self.acceptor,
            handler: self.handler,
            options: self.options,
            metrics: Arc::clone(&self.metrics),
            handshake_time_max: self.handshake_time_max,
            shutdown: self.shutdown.clone(),
        });
        let mut tasks = JoinSet::new();
        let mut complained = None;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(ended) = tasks.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, peer)) => admit(&shared, &self.connections, &mut tasks, tcp, peer),
                    Err(error) => {
                        // Descriptors are short: whoever is idle makes room for whoever is waiting.
                        let closed = self.connections.make_room(EVICTED_AT_ONCE);
                        if complained.is_none_or(|last: Instant| last.elapsed() >= COMPLAINT_PAUSE) {
                            complained = Some(Instant::now());
                            tracing::warn!(%error, closed, "cannot accept a connection");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        // The supervisor keeps the socket open, so clients that arrive wait for the next process instead of failing.
        drop(self.listener);
        drain(&self.connections, tasks, self.drain_time_max).await;
    }
}

fn admit<H: Handler>(
    shared: &Arc<Shared<H>>,
    connections: &Arc<Connections>,
    tasks: &mut JoinSet<()>,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    match connections.enter(peer) {
        Ok(entry) => {
            let evicted = connections.take_evicted();
            if evicted > 0 {
                shared.metrics.connections_closed("evicted", evicted);
            }
            let ender = entry.ender();
            ender.ends(tasks.spawn(serve(Arc::clone(shared), tcp, peer, entry)));
        }
        Err(full) => {
            shared.metrics.connections_closed(full.reason(), 1);
            tracing::debug!(reason = full.reason(), "connection turned away");
        }
    }
}

/// Counts an open connection.
struct Counted<'a>(&'a EdgeMetrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a EdgeMetrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

async fn serve<H: Handler>(shared: Arc<Shared<H>>, tcp: TcpStream, peer: SocketAddr, entry: Entry) {
    let _counted = Counted::new(&shared.metrics);
    // Answers are written whole; waiting to fill a segment would only delay them.
    let _ = tcp.set_nodelay(true);
    let handshake = tokio::time::timeout(shared.handshake_time_max, shared.acceptor.accept(tcp)).await;
    let result = match &handshake {
        Ok(Ok(_)) => "ok",
        Ok(Err(error)) => handshake_failure(error),
        Err(_) => "timeout",
    };
    shared.metrics.handshake(result);
    let Ok(Ok(stream)) = handshake else { return };
    let (handler, options) = (Arc::clone(&shared.handler), Arc::clone(&shared.options));
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        h2::serve(stream, peer, handler, options, entry, shared.shutdown.clone()).await;
    } else {
        h1::serve(stream, peer, handler, options, entry).await;
    }
}

fn handshake_failure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "gone",
        _ => "refused",
    }
}

async fn drain(connections: &Connections, mut tasks: JoinSet<()>, time_max: Duration) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while !tasks.is_empty() && began.elapsed() < time_max {
        tokio::select! {
            Some(ended) = tasks.join_next() => report(ended),
            _ = ticks.tick() => {
                // Who has just been answered is idle too, and may still be reading.
                if began.elapsed() >= DRAIN_IDLE {
                    connections.close_idle(DRAIN_IDLE_MS);
                }
            }
        }
    }
    if !tasks.is_empty() {
        tracing::warn!(connections = tasks.len(), "drain took too long, dropping the rest");
    }
    tasks.shutdown().await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed");
    }
}
