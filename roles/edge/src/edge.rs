//! What happens to a request between framing and its answer, for both protocols.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio_util::sync::CancellationToken;
use zizon_base::problem::{Code, Problem};
use zizon_base::role::Role;
use zizon_service::RequestId;

use crate::answer::Answer;
use crate::forward::{self, Backend};
use crate::guard::{Chain, Held, Refusal};
use crate::h1::Reject;
use crate::handler::{Begun, Handler};
use crate::metrics::EdgeMetrics;
use crate::paced::Paced;
use crate::pages;
use crate::ready::Watcher;
use crate::routes::{Place, Routed, Verb, route};
use crate::view::{Protocol, RequestView};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The edge's part in every request.
pub struct Edge<B> {
    /// Calls roles.
    pub backend: Arc<B>,
    /// May refuse before anything is done.
    pub guards: Chain,
    /// Counts.
    pub metrics: Arc<EdgeMetrics>,
    /// Which refusals of what cannot be read are logged.
    pub refusals: Paced,
    /// Knows whether orders are accepted.
    pub ready: Arc<Watcher>,
    /// The API's description.
    pub openapi: Bytes,
    /// Longest request body in bytes.
    pub body_bytes_max: usize,
    /// How long a role has for an answer.
    pub upstream_patience: Duration,
    /// Cancelled when the edge drains.
    pub shutdown: CancellationToken,
}

/// A request whose head has been let in.
#[derive(Debug)]
pub struct Ticket {
    role: Option<Role>,
    held: Held,
    request_id: RequestId,
    began: Instant,
    /// [`Place::index`]'s place, without the borrowed part.
    place: Place<'static>,
}

impl<B: Backend> Handler for Edge<B> {
    type Ticket = Ticket;

    fn begin(&self, request: &RequestView<'_>) -> Begun<Ticket> {
        let began = Instant::now();
        let request_id = RequestId::random();
        let place = Place::of_path(request.path);
        let answer = match self.guards.inspect(request) {
            Err(refusal) => self.refusal(&refusal, request, request_id),
            Ok(held) => match route(place, Verb::of_method(request.method)) {
                Routed::Forward(role) => return self.let_in(Some(role), held, request_id, began, place),
                Routed::Local(_) if request.body_len != Some(0) => {
                    return self.let_in(None, held, request_id, began, place);
                }
                Routed::Local(place) => self.local(place, request, request_id),
                Routed::Options => options(place, request_id),
                Routed::NotFound => Answer::problem(&Code::NotFound.into(), request, request_id),
                Routed::MethodNotAllowed => method_not_allowed(place, request, request_id),
                Routed::MethodUnknown => Answer::problem(&Code::NotImplemented.into(), request, request_id),
            },
        };
        Begun::Answer(self.done(answer, request, place, began))
    }

    async fn finish(&self, request: &RequestView<'_>, mut ticket: Ticket, body: Bytes) -> Answer {
        let place = Place::of_path(request.path);
        let answer = match self.guards.inspect_body(request, &body, &mut ticket.held) {
            Err(refusal) => self.refusal(&refusal, request, ticket.request_id),
            Ok(()) => match ticket.role {
                Some(_) if is_coded(request) && !body.is_empty() => {
                    let problem = Problem::new(Code::UnsupportedMediaType)
                        .detail("send the body as it is: content codings such as gzip are not taken");
                    Answer::problem(&problem, request, ticket.request_id)
                }
                Some(role) => self.forward(role, request, body, &mut ticket).await,
                None => self.local(place, request, ticket.request_id),
            },
        };
        self.done(answer, request, place, ticket.began)
    }

    fn refuse(&self, reject: Reject, protocol: Protocol, ticket: Option<Ticket>) -> Answer {
        let request_id = ticket.as_ref().map_or_else(RequestId::random, |ticket| ticket.request_id);
        let problem = Problem::new(reject.code()).detail(reject.detail()).with("reason", reject.reason());
        let answer = Answer::unread(&problem, request_id).closing();
        self.metrics.rejected(reject, protocol);
        let (place, began) = ticket.map_or_else(|| (Place::Nowhere, Instant::now()), |t| (t.place, t.began));
        self.metrics.answered(place, answer.status, began);
        if let Some(left_out) = self.refusals.admit(Instant::now()) {
            tracing::info!(
                target: "zizon_edge::access",
                protocol = protocol.name(), route = place.label(), status = answer.status.as_u16(),
                reason = reject.reason(), request_id = request_id.as_str(), left_out, "refused",
            );
        }
        answer
    }

    fn is_draining(&self) -> bool {
        self.shutdown.is_cancelled()
    }
}

impl<B: Backend> Edge<B> {
    fn let_in(
        &self,
        role: Option<Role>,
        held: Held,
        request_id: RequestId,
        began: Instant,
        place: Place<'_>,
    ) -> Begun<Ticket> {
        let ticket = Ticket { role, held, request_id, began, place: place.without_name() };
        Begun::Proceed { ticket, body_bytes_max: self.body_bytes_max }
    }

    fn local(&self, place: Place<'_>, request: &RequestView<'_>, id: RequestId) -> Answer {
        const JSON: &str = "application/json";
        match place {
            Place::Health => Answer::new(StatusCode::OK, JSON, Bytes::from_static(b"{\"status\":\"ok\"}"), id),
            Place::Ready => {
                let readiness = self.ready.public();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = serde_json::to_vec(&readiness).unwrap_or_default();
                let mut answer = Answer::new(status, JSON, body.into(), id);
                if !readiness.ready {
                    answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                answer
            }
            Place::OpenApi => Answer::new(StatusCode::OK, JSON, self.openapi.clone(), id),
            Place::Problem(slug) => pages::problem_page(slug, request, id),
            Place::Landing => pages::landing(request, id),
            _ => Answer::problem(&Code::NotFound.into(), request, id),
        }
    }

    async fn forward(&self, role: Role, request: &RequestView<'_>, body: Bytes, ticket: &mut Ticket) -> Answer {
        let id = ticket.request_id;
        match forward::forward(self.backend.as_ref(), role, request, body, id, self.upstream_patience).await {
            Ok(response) => {
                ticket.held.answered();
                let mut headers = response.headers;
                forward::clean(&mut headers);
                Answer {
                    status: response.status,
                    headers,
                    body: response.body,
                    request_id: id,
                    close: false,
                    head_only: false,
                }
            }
            Err(problem) => {
                // Whoever could not be reached was not slow.
                if problem.code == Code::UpstreamTimeout {
                    ticket.held.answered();
                }
                Answer::problem(&problem, request, id)
            }
        }
    }

    fn refusal(&self, refusal: &Refusal, request: &RequestView<'_>, id: RequestId) -> Answer {
        self.metrics.refused(refusal.guard, refusal.problem.code.slug());
        Answer::problem(&refusal.problem, request, id)
    }

    /// Counts and logs an answer on its way out.
    fn done(&self, mut answer: Answer, request: &RequestView<'_>, place: Place<'_>, began: Instant) -> Answer {
        answer.head_only = request.method == "HEAD";
        // Orders are private, and what may be kept says so itself.
        answer.headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        self.metrics.answered(place, answer.status, began);
        tracing::debug!(
            target: "zizon_edge::access",
            protocol = request.protocol.name(), route = place.label(), status = answer.status.as_u16(),
            micros = began.elapsed().as_micros(), request_id = answer.request_id.as_str(), "answered",
        );
        answer
    }
}

/// Whether the body is in a content coding. Roles never see the field, and would take the coded bytes for the body.
fn is_coded(request: &RequestView<'_>) -> bool {
    request.field("content-encoding").is_some_and(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn options(place: Place<'_>, id: RequestId) -> Answer {
    let mut answer = Answer::new(StatusCode::NO_CONTENT, "text/plain", Bytes::new(), id);
    answer.headers.clear();
    answer.headers.insert(header::ALLOW, HeaderValue::from_static(place.allow()));
    answer
}

fn method_not_allowed(place: Place<'_>, request: &RequestView<'_>, id: RequestId) -> Answer {
    let mut answer = Answer::problem(&Code::MethodNotAllowed.into(), request, id);
    answer.headers.insert(header::ALLOW, HeaderValue::from_static(place.allow()));
    answer
}
