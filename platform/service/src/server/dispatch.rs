//! One request: read its path, judge it, find its handler, read its body, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use zizon_base::problem::{Code, Problem};
use zizon_mtls::authz::{Decision, normalise_path};

use super::Shared;
use super::connection::{Connection, Counted};
use crate::metrics::RouteMetrics;
use crate::request::{Request, RequestId, TraceContext};
use crate::response::{Body, Response, language_of, problem_at};
use crate::router::{Found, RouteLimits};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How much of a body that is too large is read and thrown away, so that the answer is not lost in a reset
/// of the connection (RFC 9112, section 9.6).
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers one request and counts it.
pub(super) async fn answer<S: Send + Sync + 'static>(
    connection: &Connection<S>,
    request: http::Request<Incoming>,
) -> Response {
    let started = Instant::now();
    let shared = &*connection.shared;
    let _in_flight = Counted::new(&shared.metrics.in_flight);
    let version = request.version();
    let (mut response, route) = route(connection, request).await;
    route.record(response.status(), started.elapsed().as_secs_f64());
    if connection.closing.is_cancelled() && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    if let Body::Stream(stream) = response.body_mut() {
        let endless = std::mem::replace(stream, futures_util::stream::empty().boxed());
        *stream = endless.take_until(connection.closing.clone().cancelled_owned()).boxed();
    }
    response
}

async fn route<S: Send + Sync + 'static>(
    connection: &Connection<S>,
    request: http::Request<Incoming>,
) -> (Response, &RouteMetrics) {
    let shared = &*connection.shared;
    let (parts, body) = request.into_parts();
    let request_id = RequestId::from_headers(&parts.headers);
    let trace = TraceContext::from_headers(&parts.headers, &request_id);
    let refuse =
        |problem: &Problem| problem_at(problem, parts.uri.path(), trace.trace_id(), language_of(&parts.headers));

    let path = match normalise_path(parts.uri.path()) {
        Ok(path) => path,
        Err(error) => {
            let problem = Problem::new(Code::BadRequest).detail(error.to_string());
            return (refuse(&problem), &shared.unmatched);
        }
    };
    if let Err(problem) = authorise(connection, &parts, &path) {
        return (refuse(&problem), &shared.unmatched);
    }
    let (index, params) = match shared.router.find(&parts.method, &path) {
        Found::Route(index, params) => (index, params),
        Found::Nothing => return (refuse(&Problem::new(Code::NotFound)), &shared.unmatched),
        Found::Method(allow) => {
            let mut response = refuse(&Problem::new(Code::MethodNotAllowed));
            response.headers_mut().insert(header::ALLOW, allow);
            return (response, &shared.unmatched);
        }
    };
    let route = &shared.router.routes[index];
    let metrics = &shared.routes[index];
    let body = match read_body(body, route.limits).await {
        Ok(body) => body,
        Err(code) => {
            if code == Code::RequestTimeout {
                shared.metrics.timeouts.inc();
            }
            let mut response = refuse(&Problem::new(code));
            // The rest of the body may still be under way: nothing after it can be told apart from it.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
            remove_connection_header_of_h2(response.headers_mut(), parts.version);
            return (response, metrics);
        }
    };
    let (instance, language) = (parts.uri.clone(), language_of(&parts.headers));
    let peer = Arc::clone(&connection.peer);
    let request = Request { parts, params, body, peer, request_id, trace };
    let handler = (route.handler)(Arc::clone(&shared.router.state), request);
    let response = timeout(route.limits.timeout, handler).await.unwrap_or_else(|_| {
        shared.metrics.timeouts.inc();
        let problem = Problem::new(Code::OutcomeUnknown).detail("the handler ran out of time");
        problem_at(&problem, instance.path(), trace.trace_id(), language)
    });
    (response, metrics)
}

/// Asks the policy; a refusal names the policy that decided.
fn authorise<S>(connection: &Connection<S>, parts: &Parts, path: &str) -> Result<(), Problem> {
    let shared = &*connection.shared;
    let policy = shared.policy.load();
    match policy.decide(shared.service, &connection.peer.id, parts.method.as_str(), path) {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } => {
            shared.metrics.denied.inc();
            log_denial(shared, connection.peer.id.as_str(), parts.method.as_str(), path);
            tracing::debug!(%reason, "request denied");
            Err(Problem::new(Code::Forbidden).with("policy", policy.hash().to_string()))
        }
    }
}

/// At most one line per second and process: a caller that is refused will try again.
fn log_denial<S>(shared: &Shared<S>, peer: &str, method: &str, path: &str) {
    static LAST_SECOND: AtomicU64 = AtomicU64::new(0);
    let second = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    if LAST_SECOND.swap(second, Relaxed) != second {
        let service = shared.service.name();
        tracing::warn!(peer, service, method, path, "request denied by the authorisation policy");
    }
}

/// The whole body within the route's limits.
async fn read_body(mut body: Incoming, limits: RouteLimits) -> Result<Bytes, Code> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().lower();
    if announced > limits.body_bytes as u64 {
        discard(body).await;
        return Err(Code::BodyTooLarge);
    }
    let read = timeout(limits.timeout, collect(&mut body, limits.body_bytes)).await;
    let result = read.unwrap_or(Err(Code::RequestTimeout));
    if result == Err(Code::BodyTooLarge) {
        discard(body).await;
    }
    result
}

async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, Code> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Code::BadRequest)?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err(Code::BodyTooLarge);
        }
        // A body in one piece, the usual case, is not copied.
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

async fn discard(mut body: Incoming) {
    let rest = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    // What is not read in time is cut off with the connection.
    let _ = timeout(DISCARD_TIMEOUT, rest).await;
}

/// HTTP/2 has no `Connection` header (RFC 9113, section 8.2.2).
fn remove_connection_header_of_h2(headers: &mut HeaderMap, version: Version) {
    if version >= Version::HTTP_2 {
        headers.remove(header::CONNECTION);
    }
}
