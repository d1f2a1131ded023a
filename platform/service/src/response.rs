//! A response as a handler gives it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use zizon_base::language::Language;
use zizon_base::problem::{Code, Problem};

use crate::request::Request;

/// What a handler answers.
pub type Response = http::Response<Body>;

/// A response body.
pub enum Body {
    /// All of it, with a `Content-Length`.
    Full(Bytes),
    /// Pieces as they come. The server ends the stream when the connection is due to close (age, drain):
    /// the reader opens another one.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// No bytes at all.
    #[must_use]
    pub fn empty() -> Self {
        Body::Full(Bytes::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static(Problem::MEDIA_TYPE);

/// A body of the given type.
#[must_use]
pub fn full(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(Body::Full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// JSON that is rendered already.
#[must_use]
pub fn json_bytes(status: StatusCode, body: Bytes) -> Response {
    full(status, JSON, body)
}

/// `value` as JSON.
#[must_use]
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json_bytes(status, text.into()),
        Err(error) => {
            tracing::error!(%error, "response could not be rendered");
            problem_at(&Problem::new(Code::Internal), "", "", Language::English)
        }
    }
}

/// One JSON document per line, as they come.
#[must_use]
pub fn ndjson(lines: BoxStream<'static, Bytes>) -> Response {
    let mut response = Response::new(Body::Stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, NDJSON);
    response
}

/// A status without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A problem document about `request`.
#[must_use]
pub fn problem(problem: &Problem, request: &Request) -> Response {
    let language = language_of(&request.parts.headers);
    problem_at(problem, request.parts.uri.path(), request.trace.trace_id(), language)
}

/// The language the caller prefers.
#[must_use]
pub fn language_of(headers: &HeaderMap) -> Language {
    let accept = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    accept.map_or(Language::English, Language::of_accept)
}

/// A problem document in `language` about the request for `instance` in the trace `trace_id`.
#[must_use]
pub fn problem_at(problem: &Problem, instance: &str, trace_id: &str, language: Language) -> Response {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = full(status, PROBLEM_JSON, problem.to_json(instance, trace_id, language).into());
    response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    if let Some(seconds) = problem.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
