//! What can become of a call.

use std::sync::Arc;

use zizon_mtls::HandshakeError;

/// Why a call got no answer. What matters to the caller is whether it may have been applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nothing was sent: safe to send again.
    #[error("the request was not sent")]
    NotSent(#[source] NotSent),
    /// It was sent and then the connection ended: it may have been applied.
    #[error("the connection ended before the answer: {0}")]
    Unknown(Arc<str>),
    /// It was sent and no answer came by its deadline: it may have been applied.
    #[error("no answer by the deadline")]
    Deadline,
    /// Refused here, before anything was sent: too many calls wait for a connection.
    #[error("too many calls wait for a connection")]
    Overloaded,
}

/// Why nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotSent {
    /// There is no connection and none could be made.
    #[error("no connection")]
    Connect(#[source] Arc<HandshakeError>),
    /// No connection became free in time.
    #[error("no connection became free in time")]
    NoConnection,
    /// The connection turned out to be closed, and so did the one tried after it.
    #[error("the connection was closed: {0}")]
    Closed(Arc<str>),
    /// The request is not one: a header or a path that cannot be written.
    #[error("the request cannot be written: {0}")]
    Invalid(Arc<str>),
}

impl UpstreamError {
    /// Whether the other side may have acted on the request.
    #[must_use]
    pub const fn may_have_been_applied(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Deadline)
    }

    /// The label of metrics.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(_) => Outcome::NotSent,
            Self::Unknown(_) => Outcome::Unknown,
            Self::Deadline => Outcome::Deadline,
            Self::Overloaded => Outcome::Overloaded,
        }
    }
}

/// How a call ended, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    NotSent,
    Unknown,
    Deadline,
    Overloaded,
}

impl Outcome {
    pub(crate) const LABELS: [&'static str; 5] = ["answered", "not_sent", "unknown", "deadline", "overloaded"];
}
