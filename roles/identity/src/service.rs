//! The service `SpiffeWorkloadAPI`: its two X.509 streams. Every other RPC of it answers Unimplemented, as the standard asks of
//! profiles that are not offered (Workload API, section 7).

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};

use crate::attest::{AttestError, Attestor, Caller};
use crate::ca::CaError;
use crate::codec::Prebuilt;
use crate::entries::{Entries, Entry};
use crate::issuance::{Issuance, Use, described};
use crate::limits::{Limits, LogLimit, OpenRate, TooMany};
use crate::stats::{Outcome, Stats};
use crate::stream::{Kind, Stream, UNREAD_MAX};

/// The metadata every request carries, against requests forged by way of a proxy (Workload Endpoint standard, section 6).
const SECURITY_HEADER: &str = "workload.spiffe.io";
/// Requests have no content; anything longer is refused unread, in bytes.
const REQUEST_BYTES_MAX: usize = 4096;

/// What all streams of an issuer share.
pub(crate) struct Shared {
    pub(crate) attestor: Attestor,
    pub(crate) entries: Entries,
    pub(crate) issuance: Arc<Issuance>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) rate: OpenRate,
    pub(crate) stats: Arc<Stats>,
    pub(crate) log: LogLimit,
    pub(crate) recheck_every: Duration,
    pub(crate) svid_life: Duration,
    pub(crate) shutdown: CancellationToken,
    pub(crate) streams: TaskTracker,
}

impl Shared {
    /// Has the SVIDs of `entries` published for as long as the answer lives. Bundles are published anyway.
    pub(crate) fn take_up(&self, kind: Kind, entries: &[Arc<Entry>]) -> Result<Vec<Use>, CaError> {
        let entries = if kind == Kind::Svids { entries } else { &[] };
        entries.iter().map(|entry| self.issuance.take_up(entry)).collect()
    }

    async fn open(self: Arc<Self>, request: Request<()>, kind: Kind) -> Result<Response<Responses>, Status> {
        let opened = self.admit(&request, kind).await;
        let outcome = opened.as_ref().map_or_else(|(outcome, _)| *outcome, |_| Outcome::Admitted);
        self.stats.opened(outcome);
        opened.map(Response::new).map_err(|(_, status)| status)
    }

    async fn admit(self: &Arc<Self>, request: &Request<()>, kind: Kind) -> Result<Responses, (Outcome, Status)> {
        check_header(request.metadata()).map_err(|status| (Outcome::Header, status))?;
        let shed = |why: &'static str| (Outcome::Shed, Status::unavailable(why));
        if self.shutdown.is_cancelled() {
            return Err(shed("the issuer is stopping"));
        }
        let Some(caller) = request.extensions().get::<Arc<Caller>>().cloned() else {
            return Err((Outcome::Denied, Status::permission_denied("the caller is not known")));
        };
        if !self.rate.allow(caller.uid, self.issuance.clock().now().monotonic) {
            return Err(shed("too many streams were opened in a short time"));
        }
        let permit = self.limits.acquire(caller.pid).map_err(|too_many| match too_many {
            TooMany::OfOwner => shed("the process has too many streams"),
            TooMany::InTotal => shed("too many streams are open"),
        })?;
        let attestation = self.attestor.attest(&caller).await.map_err(|error| self.refusal(error))?;
        let entries = self.entries.of(&attestation.selectors);
        if entries.is_empty() {
            if self.may_log() {
                tracing::info!(pid = caller.pid, uid = caller.uid, "a caller without an entry was refused");
            }
            return Err((Outcome::Denied, Status::permission_denied("no identity issued")));
        }
        let uses = self.take_up(kind, &entries).map_err(|error| {
            if self.may_log() {
                tracing::error!(error = %described(&error), "an svid could not be issued");
            }
            shed("no svid can be issued at the moment")
        })?;
        let (out, responses) = mpsc::channel(UNREAD_MAX);
        let updates = self.issuance.subscribe();
        let stream =
            Stream { shared: Arc::clone(self), caller, kind, attestation, entries, uses, updates, out, permit };
        self.streams.spawn(stream.run());
        Ok(ReceiverStream::new(responses))
    }

    fn refusal(&self, error: AttestError) -> (Outcome, Status) {
        match error {
            AttestError::Gone => (Outcome::Gone, Status::permission_denied("the caller has ended")),
            AttestError::Supervisor(error) => {
                if self.may_log() {
                    tracing::warn!(error = %described(&error), "a caller could not be attested");
                }
                (Outcome::Supervisor, Status::unavailable("who the caller is cannot be told at the moment"))
            }
        }
    }

    fn may_log(&self) -> bool {
        self.log.allow(self.issuance.clock().now().monotonic)
    }
}

/// Exactly one value, and exactly `true`.
fn check_header(metadata: &MetadataMap) -> Result<(), Status> {
    let mut values = metadata.get_all(SECURITY_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_encoded_bytes() == b"true" => Ok(()),
        _ => Err(Status::invalid_argument("the metadata workload.spiffe.io must be true, once")),
    }
}

type Responses = ReceiverStream<Result<Bytes, Status>>;

/// The gRPC service.
#[derive(Clone)]
pub(crate) struct WorkloadApi {
    shared: Arc<Shared>,
}

impl WorkloadApi {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl NamedService for WorkloadApi {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl<B> Service<http::Request<B>> for WorkloadApi
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let kind = match request.uri().path() {
            "/SpiffeWorkloadAPI/FetchX509SVID" => Kind::Svids,
            "/SpiffeWorkloadAPI/FetchX509Bundles" => Kind::Bundles,
            _ => return Box::pin(async { Ok(Status::unimplemented("this profile is not offered").into_http()) }),
        };
        let open = Open { shared: Arc::clone(&self.shared), kind };
        let mut grpc = Grpc::new(Prebuilt).max_decoding_message_size(REQUEST_BYTES_MAX);
        Box::pin(async move { Ok(grpc.server_streaming(open, request).await) })
    }
}

/// One call of a streaming RPC.
struct Open {
    shared: Arc<Shared>,
    kind: Kind,
}

impl ServerStreamingService<()> for Open {
    type Response = Bytes;
    type ResponseStream = Responses;
    type Future = BoxFuture<Response<Responses>, Status>;

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(Arc::clone(&self.shared).open(request, self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_must_be_there_once_and_say_true() {
        let metadata = |values: &[&'static str]| {
            let mut map = MetadataMap::new();
            values.iter().for_each(|value| {
                map.append(SECURITY_HEADER, value.parse().unwrap());
            });
            map
        };
        assert!(check_header(&metadata(&["true"])).is_ok());
        for wrong in [&[][..], &["false"], &["True"], &["true", "true"], &["true,true"], &[""]] {
            let status = check_header(&metadata(wrong)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{wrong:?}");
        }
    }
}
