//! HTTP/2: hyper frames it, the header rules and everything behind are those of HTTP/1.1.
//!
//! One rule is out of reach: a fragment in `:path` is cut off by `http::Uri` before anything here sees it, so the request
//! is served as if it had none. Nothing behind the edge sees the fragment either, so no two readers can differ about it.

mod check;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, goes_to_client};
use crate::h1::{H1Options, Occupancy, Pace, Reject};
use crate::handler::{Begun, Handler};
use crate::view::{Protocol, RequestView};

/// Streams of one connection at a time.
const STREAMS_MAX: u32 = 200;
/// Bytes of a request's fields, as RFC 9113 (6.5.2) counts them.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Streams reset before they were answered that a connection may have at a time (Rapid Reset, CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Streams this side had to reset for errors of the client (MadeYouReset, CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves requests from `stream` until either side ends the connection.
pub async fn serve<S, H, O>(
    stream: S,
    peer: SocketAddr,
    handler: Arc<H>,
    options: Arc<H1Options>,
    occupancy: O,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
    O: Occupancy + Sync + 'static,
{
    let load = Arc::new(Load { active: AtomicUsize::new(0), last: Mutex::new(Instant::now()), occupancy });
    let service = {
        let (options, load) = (Arc::clone(&options), Arc::clone(&load));
        service_fn(move |request| {
            let (handler, options, load) = (Arc::clone(&handler), Arc::clone(&options), Arc::clone(&load));
            async move {
                let _working = Working::begin(&load);
                Ok::<_, Infallible>(respond(request, peer, handler.as_ref(), &options).await)
            }
        })
    };
    let mut connection = pin!(
        http2::Builder::new(Streams::default())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut leaving = false;
    loop {
        let idle_until = load.idle_until(options.limits.idle_time_max);
        tokio::select! {
            // An error of the connection concerns its client only, which has been told by GOAWAY.
            _ = connection.as_mut() => return,
            () = shutdown.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(idle_until), if !leaving => {
                if load.idle_until(options.limits.idle_time_max) <= Instant::now() {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// How much goes on in a connection.
struct Load<O> {
    active: AtomicUsize,
    last: Mutex<Instant>,
    occupancy: O,
}

impl<O> Load<O> {
    /// When the connection will have been idle for `time_max`; at least that far from now while it works.
    fn idle_until(&self, time_max: Duration) -> Instant {
        let since = if self.active.load(Ordering::Relaxed) > 0 { Instant::now() } else { *self.last.lock() };
        since + time_max
    }
}

struct Working<'a, O: Occupancy>(&'a Load<O>);

impl<'a, O: Occupancy> Working<'a, O> {
    fn begin(load: &'a Load<O>) -> Self {
        if load.active.fetch_add(1, Ordering::Relaxed) == 0 {
            // An evicted connection is aborted as a whole, this stream with it.
            let _ = load.occupancy.busy();
        }
        Self(load)
    }
}

impl<O: Occupancy> Drop for Working<'_, O> {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        if self.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.occupancy.idle();
        }
    }
}

async fn respond<H: Handler>(
    request: Request<Incoming>,
    peer: SocketAddr,
    handler: &H,
    options: &H1Options,
) -> Response<Full<Bytes>> {
    let (parts, mut body) = request.into_parts();
    let answer = match check::check(&parts, body.is_end_stream(), &options.limits) {
        Err(reject) => handler.refuse(reject, Protocol::Http2, None),
        Ok(checked) => {
            let view = RequestView::of_parts(&parts, checked.host, peer, checked.body_len);
            match handler.begin(&view) {
                Begun::Answer(answer) => answer,
                Begun::Proceed { ticket, body_bytes_max } => {
                    let too_large = checked.body_len.is_some_and(|len| len > body_bytes_max as u64);
                    let read = if too_large {
                        Err(Reject::BodyTooLarge)
                    } else {
                        read_body(&mut body, body_bytes_max, options).await
                    };
                    match read {
                        Ok(bytes) => handler.finish(&view, ticket, bytes).await,
                        Err(reject) => handler.refuse(reject, Protocol::Http2, Some(ticket)),
                    }
                }
            }
        }
    };
    render(answer, options)
}

async fn read_body(body: &mut Incoming, bytes_max: usize, options: &H1Options) -> Result<Bytes, Reject> {
    let pace = Pace::new(&options.limits);
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    loop {
        let received = first.len().max(whole.len());
        let frame = tokio::time::timeout_at(pace.due(received), body.frame()).await.map_err(|_| Reject::BodyTimeout)?;
        let Some(frame) = frame else {
            return Ok(if whole.is_empty() { first } else { whole.into() });
        };
        // Trailers are dropped.
        let Ok(data) = frame.map_err(|_| Reject::BodyTruncated)?.into_data() else { continue };
        if received + data.len() > bytes_max {
            return Err(Reject::BodyTooLarge);
        }
        if received == 0 {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
}

fn render(answer: Answer, options: &H1Options) -> Response<Full<Bytes>> {
    let length = HeaderValue::from(answer.body.len());
    let bodiless = answer.is_bodiless();
    let body = if bodiless || answer.head_only { Bytes::new() } else { answer.body };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    for (name, value) in &answer.headers {
        if goes_to_client(name) {
            headers.append(name, value.clone());
        }
    }
    if !bodiless {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    headers.insert(HeaderName::from_static("x-request-id"), answer.request_id.to_header());
    for (name, value) in options.hardening.fields() {
        headers.insert(name, value.clone());
    }
    response
}

/// Runs the streams of one connection; they end with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock();
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}
