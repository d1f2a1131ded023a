//! Responses that go on for long, each on a connection of its own.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::error::{NotSent, Outcome, UpstreamError};
use super::link::{ExchangeError, Link};
use super::{Upstream, UpstreamRequest};

/// The head of a long response and its body.
#[derive(Debug)]
pub struct UpstreamStream {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it comes.
    pub body: BodyStream,
}

/// Pieces of a response body. It ends when the other side ends it, which happens at the latest when the
/// connection is due to close: the reader opens another one and goes on where it was.
pub struct BodyStream {
    link: Box<Link>,
    body: Incoming,
    /// Bounds a stream that the other side does not end: no connection outlives its identities.
    end: Pin<Box<Sleep>>,
    failed: bool,
}

impl std::fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyStream").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, UpstreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        let next = match this.end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the connection reached its age".into()))),
            Poll::Pending => this.link.poll_data(cx, &mut this.body),
        };
        this.failed = matches!(next, Poll::Ready(Some(Err(_))));
        next.map(|piece| piece.map(|data| data.map_err(UpstreamError::Unknown)))
    }
}

impl Upstream {
    /// Sends a request on a connection of its own and returns as soon as the head of the answer is there.
    /// The request's deadline is for the head only.
    ///
    /// # Errors
    /// As [`Upstream::send`]; nothing is sent twice.
    pub async fn stream(&self, request: UpstreamRequest) -> Result<UpstreamStream, UpstreamError> {
        let deadline = request.deadline;
        let rendered = self.render(request);
        let mut sent = false;
        let exchange = async {
            let opened = Link::open(&self.connector, &self.pool.target).await;
            let refused = |error| UpstreamError::NotSent(NotSent::Connect(Arc::new(error)));
            let mut link = opened.map_err(refused)?;
            sent = true;
            let response = link.head(rendered).await.map_err(|error| match error {
                ExchangeError::NotSent(_, reason) => UpstreamError::NotSent(NotSent::Closed(reason)),
                ExchangeError::Unknown(reason) => UpstreamError::Unknown(reason),
            })?;
            let (head, body) = response.into_parts();
            let end = Box::pin(sleep_until(link.hard_at()));
            let body = BodyStream { link, body, end, failed: false };
            Ok(UpstreamStream { status: head.status, headers: head.headers, body })
        };
        let started = Instant::now();
        let result = timeout_at(deadline, exchange).await;
        let too_late = if sent { UpstreamError::Deadline } else { UpstreamError::NotSent(NotSent::NoConnection) };
        let result = result.unwrap_or(Err(too_late));
        let outcome = result.as_ref().map_or_else(UpstreamError::outcome, |_| Outcome::Answered);
        self.pool.metrics.record(outcome, started.elapsed().as_secs_f64());
        result
    }
}
