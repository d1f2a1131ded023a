//! What stands between a protocol and the routes.

use std::future::Future;

use bytes::Bytes;

use crate::answer::Answer;
use crate::h1::Reject;
use crate::view::{Protocol, RequestView};

/// Answers requests, whichever protocol they come by.
///
/// A request passes in two steps, so that it can be refused before its body is read.
pub trait Handler: Send + Sync + 'static {
    /// What is carried from the head to the body.
    type Ticket: Send;

    /// Looks at the head. Does no work that has to wait.
    fn begin(&self, request: &RequestView<'_>) -> Begun<Self::Ticket>;

    /// Does the work. Always answers, in bounded time.
    fn finish(
        &self,
        request: &RequestView<'_>,
        ticket: Self::Ticket,
        body: Bytes,
    ) -> impl Future<Output = Answer> + Send;

    /// The answer to a request that breaks a rule of framing; `ticket` when it was found in the body.
    fn refuse(&self, reject: Reject, protocol: Protocol, ticket: Option<Self::Ticket>) -> Answer;

    /// Whether connections are to end after the answer they are at.
    fn is_draining(&self) -> bool;
}

/// How a head is taken.
#[derive(Debug)]
pub enum Begun<T> {
    /// Answered without the body.
    Answer(Answer),
    /// Read the body, of at most this many bytes, then finish.
    Proceed {
        /// To hand to [`Handler::finish`].
        ticket: T,
        /// Longest body in bytes.
        body_bytes_max: usize,
    },
}
