//! Handing a request on to a role: what goes along, what is tried again, and what the client is told when nobody
//! answers.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;
use zizon_base::problem::{Code, Problem};
use zizon_base::role::Role;
use zizon_contracts::headers;
use zizon_service::{NotSent, RequestId, TraceContext, Upstream, UpstreamError, UpstreamRequest, UpstreamResponse};

use crate::h1::Reject;
use crate::view::RequestView;

/// Calls roles.
pub trait Backend: Send + Sync + 'static {
    /// Sends `request` to `role`.
    fn call(
        &self,
        role: Role,
        request: UpstreamRequest,
    ) -> impl Future<Output = Result<UpstreamResponse, UpstreamError>> + Send;
}

/// The roles behind this edge.
#[derive(Debug)]
pub struct Roles {
    /// Stock and orders.
    pub orders: Upstream,
    /// Products and prices.
    pub catalog: Upstream,
}

impl Backend for Roles {
    async fn call(&self, role: Role, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        match role {
            Role::Orders => self.orders.send(request).await,
            _ => self.catalog.send(request).await,
        }
    }
}

/// The fields that go on to a role, in the order of [`headers::FORWARDED_TO_ROLES`].
type Kept<'a> = [Option<&'a [u8]>; headers::FORWARDED_TO_ROLES.len()];

/// Picks the fields that go on. Everything else stays here: hop-by-hop fields and those that Connection names,
/// forwarding fields, traces and identities that a client has no right to set.
fn keep<'a>(request: &RequestView<'a>) -> Result<Kept<'a>, Reject> {
    let mut kept = Kept::default();
    let mut repeated = false;
    request.each_field(|name, value| {
        let slot = headers::FORWARDED_TO_ROLES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let Some(slot) = slot {
            // Lists may come in several lines; of those only the first is kept, which loses a preference at most.
            let is_list = headers::FORWARDED_TO_ROLES[slot].starts_with("accept");
            repeated |= kept[slot].is_some() && !is_list;
            kept[slot].get_or_insert(value);
        }
    });
    for (slot, name) in kept.iter_mut().zip(headers::FORWARDED_TO_ROLES) {
        if slot.is_some() && request.is_hop_field(name.as_bytes()) {
            *slot = None;
        }
    }
    if repeated { Err(Reject::FieldRepeated) } else { Ok(kept) }
}

/// A request ready to be sent, once or twice.
struct Outbound<'a> {
    method: Method,
    path_and_query: PathAndQuery,
    kept: Kept<'a>,
    request_id: RequestId,
    trace: TraceContext,
    body: Bytes,
    deadline: Instant,
}

impl Outbound<'_> {
    fn render(&self) -> UpstreamRequest {
        let mut fields = HeaderMap::with_capacity(8);
        for (value, name) in self.kept.iter().zip(headers::FORWARDED_TO_ROLES) {
            // Values have passed the framing rules, which are stricter than the type's.
            if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        fields.insert(HeaderName::from_static(headers::REQUEST_ID), self.request_id.to_header());
        fields.insert(HeaderName::from_static(headers::TRACEPARENT), self.trace.to_header());
        UpstreamRequest {
            method: self.method.clone(),
            path_and_query: self.path_and_query.clone(),
            headers: fields,
            body: self.body.clone(),
            deadline: self.deadline,
        }
    }
}

/// Sends `request` to `role` and takes its answer, within `patience`.
///
/// What was not sent is sent once more. What may have been applied is sent once more as well: a read changes nothing,
/// an order carries its idempotency key, and cancelling twice is cancelling once. Nothing is sent after the deadline.
///
/// # Errors
/// What to tell the client, when the role gave no answer.
pub(crate) async fn forward(
    backend: &impl Backend,
    role: Role,
    request: &RequestView<'_>,
    body: Bytes,
    request_id: RequestId,
    patience: Duration,
) -> Result<UpstreamResponse, Problem> {
    let kept = keep(request).map_err(|reject| Problem::new(reject.code()).detail(reject.detail()))?;
    let outbound = Outbound {
        method: if request.method == "POST" { Method::POST } else { Method::GET },
        path_and_query: path_and_query(request)?,
        kept,
        request_id,
        trace: TraceContext::begin(&request_id),
        body: if request.method == "POST" { body } else { Bytes::new() },
        deadline: Instant::now() + patience,
    };
    let mut sent = backend.call(role, outbound.render()).await;
    let may_succeed = match &sent {
        Err(UpstreamError::NotSent(reason)) => !matches!(reason, NotSent::Invalid(_)),
        Err(UpstreamError::Unknown(_)) => true,
        Ok(_) | Err(UpstreamError::Deadline | UpstreamError::Overloaded) => false,
    };
    let mut may_have_been_applied = sent.as_ref().is_err_and(UpstreamError::may_have_been_applied);
    if may_succeed && Instant::now() < outbound.deadline {
        sent = backend.call(role, outbound.render()).await;
        may_have_been_applied |= sent.as_ref().is_err_and(UpstreamError::may_have_been_applied);
    }
    sent.map_err(|error| explain(&error, role, may_have_been_applied))
}

fn path_and_query(request: &RequestView<'_>) -> Result<PathAndQuery, Problem> {
    let text = match request.query {
        Some(query) => [request.path, "?", query].concat(),
        None => request.path.to_owned(),
    };
    PathAndQuery::from_maybe_shared(Bytes::from(text))
        .map_err(|_| Problem::new(Reject::Target.code()).detail(Reject::Target.detail()))
}

fn explain(error: &UpstreamError, role: Role, may_have_been_applied: bool) -> Problem {
    tracing::debug!(role = role.name(), %error, "no answer from a role");
    match error {
        UpstreamError::NotSent(NotSent::Invalid(_)) => Problem::new(Code::Internal),
        UpstreamError::Deadline => Problem::new(Code::UpstreamTimeout).retry_after(1),
        _ if may_have_been_applied => Problem::new(Code::OutcomeUnknown).retry_after(1),
        UpstreamError::Overloaded => Problem::new(Code::Overloaded).retry_after(1),
        UpstreamError::NotSent(_) | UpstreamError::Unknown(_) => Problem::new(Code::UpstreamUnavailable).retry_after(1),
    }
}

/// Takes off what a role's answer may not tell the client, besides what every answer loses when it is written.
pub(crate) fn clean(headers: &mut HeaderMap) {
    // A role names itself to the edge only.
    headers.remove(header::VIA);
    headers.remove(header::SERVER);
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::StatusCode;
    use parking_lot::Mutex;

    use super::*;
    use crate::h1::{Limits, parse_head};

    type Sent = Result<UpstreamResponse, UpstreamError>;

    /// Answers from a list and remembers what it was sent.
    #[derive(Default)]
    struct Scripted {
        answers: Mutex<VecDeque<Sent>>,
        seen: Mutex<Vec<UpstreamRequest>>,
    }

    impl Backend for Scripted {
        async fn call(&self, _: Role, request: UpstreamRequest) -> Sent {
            self.seen.lock().push(request);
            self.answers.lock().pop_front().expect("no further call")
        }
    }

    fn created() -> Sent {
        Ok(UpstreamResponse { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::new() })
    }

    fn closed() -> Sent {
        Err(UpstreamError::NotSent(NotSent::Closed("gone".into())))
    }

    fn unknown() -> Sent {
        Err(UpstreamError::Unknown("reset".into()))
    }

    /// The outcome, and how often the role was called.
    async fn outcome(answers: impl IntoIterator<Item = Sent>) -> (Result<StatusCode, Code>, usize) {
        let backend = Scripted { answers: Mutex::new(answers.into_iter().collect()), ..Scripted::default() };
        let bytes = b"POST /api/v1/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n";
        let head = parse_head(bytes, &Limits::default()).unwrap().unwrap();
        let view = RequestView::of_head(&head, bytes, "10.0.0.1:1".parse().unwrap());
        let patience = Duration::from_secs(5);
        let id = RequestId::random();
        let result = forward(&backend, Role::Orders, &view, Bytes::from_static(b"{}"), id, patience).await;
        let seen = backend.seen.lock();
        for request in seen.iter() {
            assert_eq!((request.method.as_str(), request.body.as_ref()), ("POST", b"{}".as_slice()));
            assert_eq!(request.headers, seen[0].headers, "the second try is the same request");
        }
        (result.map(|response| response.status).map_err(|problem| problem.code), seen.len())
    }

    #[tokio::test]
    async fn what_was_not_sent_is_sent_once_more() {
        assert_eq!(outcome([closed(), created()]).await, (Ok(StatusCode::CREATED), 2));
        assert_eq!(outcome([closed(), closed()]).await, (Err(Code::UpstreamUnavailable), 2));
    }

    #[tokio::test]
    async fn what_may_have_been_applied_is_repeated_once_because_it_carries_its_key() {
        assert_eq!(outcome([unknown(), created()]).await, (Ok(StatusCode::CREATED), 2));
        assert_eq!(outcome([unknown(), unknown()]).await, (Err(Code::OutcomeUnknown), 2));
        assert_eq!(outcome([unknown(), closed()]).await, (Err(Code::OutcomeUnknown), 2));
    }

    #[tokio::test]
    async fn nothing_is_repeated_after_a_deadline_or_into_an_overload() {
        assert_eq!(outcome([Err(UpstreamError::Deadline)]).await, (Err(Code::UpstreamTimeout), 1));
        assert_eq!(outcome([Err(UpstreamError::Overloaded)]).await, (Err(Code::Overloaded), 1));
        let invalid = Err(UpstreamError::NotSent(NotSent::Invalid("x".into())));
        assert_eq!(outcome([invalid]).await, (Err(Code::Internal), 1));
    }
}
