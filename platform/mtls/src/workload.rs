//! The only module that knows crate `spiffe`: it turns the Workload API's stream into publications and withdrawals.
//!
//! The crate's own `X509Source` is not used: its reconnection pause grows to 10 s and it hides why a stream ended, while here the pause
//! is bounded by 2 s and "you have no identity" must be told apart from "I cannot be reached".

use std::{pin::pin, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use futures_util::StreamExt as _;
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context, X509Svid, transport::Endpoint};
use tokio::time::{interval, sleep, timeout};
use zeroize::Zeroizing;
use zizon_base::spiffe::SpiffeId;

use crate::{
    error::SourceError,
    material::SvidDer,
    source::{Current, SourceOptions},
};

/// Opening the socket and the stream, and the first message on it, may take this long each.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest patience with a stream that says nothing.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// How a stream ended.
enum End {
    /// The issuer says that this process has no identity.
    Withdrawn(String),
    /// Anything else: worth trying again, and no reason to drop a good SVID.
    Lost(String),
}

/// A future that follows the Workload API for ever.
pub(crate) fn follow(
    endpoint: &str,
    current: Arc<Current>,
    options: SourceOptions,
) -> Result<impl Future<Output = ()> + Send + use<>, SourceError> {
    let parsed = Endpoint::parse(endpoint)
        .map_err(|error| SourceError::Endpoint { endpoint: endpoint.to_owned(), reason: error.to_string() })?;
    Ok(async move {
        tokio::join!(reconnect_for_ever(&parsed, &current, &options), expire_in_time(&current));
    })
}

async fn reconnect_for_ever(endpoint: &Endpoint, current: &Current, options: &SourceOptions) {
    let mut pause = options.backoff_min;
    loop {
        let rotations = current.stats.rotations();
        match session(endpoint, current, options).await {
            End::Withdrawn(reason) => {
                // Once per withdrawal, not once per attempt.
                if current.withdraw() {
                    tracing::warn!(reason, "the workload api has no identity for this process");
                }
                current.failed(reason);
            }
            End::Lost(reason) => {
                tracing::debug!(reason, "the workload api stream ended");
                current.failed(reason);
            }
        }
        current.stats.reconnects.fetch_add(1, Relaxed);
        if current.stats.rotations() > rotations {
            pause = options.backoff_min;
        }
        sleep(pause).await;
        pause = (pause * 2).min(options.backoff_max);
    }
}

/// Certificates end by the wall clock, which may step or stand still with the machine, so it is looked at every second.
async fn expire_in_time(current: &Current) {
    let mut tick = interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        if current.expire() {
            tracing::error!(
                "the own certificate expired before it was renewed: every connection is refused until the issuer answers"
            );
        }
    }
}

/// One stream, from opening to its end.
async fn session(endpoint: &Endpoint, current: &Current, options: &SourceOptions) -> End {
    let opened = timeout(OPEN_TIMEOUT, async {
        let client = WorkloadApiClient::connect(endpoint.clone()).await?;
        client.stream_x509_contexts().await
    });
    let stream = match opened.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return end_of(&error),
        Err(_) => return End::Lost("no answer in time".to_owned()),
    };
    let mut stream = pin!(stream);
    let mut last: Option<SvidDer> = None;
    let mut patience = OPEN_TIMEOUT;
    loop {
        let context = match timeout(patience, stream.next()).await {
            Ok(Some(Ok(context))) => context,
            Ok(Some(Err(error))) => return end_of(&error),
            Ok(None) => return End::Lost("the stream was closed".to_owned()),
            Err(_) => return End::Lost("the stream fell silent".to_owned()),
        };
        let svid = match select(&context, options.expect.as_ref()) {
            Ok(svid) => svid,
            Err(end) => return end,
        };
        if last.as_ref() != Some(&svid) {
            take(current, &svid);
            last = Some(svid);
        }
        patience = patience_with(current);
    }
}

fn take(current: &Current, svid: &SvidDer) {
    match current.publish(svid) {
        Ok(()) => {
            if let Some(material) = current.material() {
                tracing::debug!(id = %material.id(), serial = material.serial(), not_after = material.not_after(), "identity renewed");
            }
        }
        Err(error) => {
            current.stats.refused_updates.fetch_add(1, Relaxed);
            tracing::error!(%error, "the workload api sent an unusable svid; the last good one stays in use");
            current.failed(error.to_string());
        }
    }
}

/// An issuer that is alive renews at half-life. One that says nothing until only a quarter is left may be stuck behind an open socket:
/// a fresh stream must answer at once.
fn patience_with(current: &Current) -> Duration {
    let Some(material) = current.material() else { return SILENCE_MIN };
    let left = Duration::from_secs(material.seconds_left(current.clock.unix_seconds()));
    left.saturating_sub(material.lifetime() / 4).max(SILENCE_MIN)
}

fn select(context: &X509Context, expect: Option<&SpiffeId>) -> Result<SvidDer, End> {
    let chosen = match expect {
        None => context.default_svid(),
        Some(id) => context.svids().iter().find(|svid| svid.spiffe_id().to_string() == id.as_str()),
    };
    let Some(svid) = chosen else {
        let wanted = expect.map_or_else(|| "an identity".to_owned(), ToString::to_string);
        let offered: Vec<String> = context.svids().iter().map(|svid| svid.spiffe_id().to_string()).collect();
        return Err(End::Withdrawn(format!("wanted {wanted}, was offered {}", offered.join(", "))));
    };
    as_der(svid, context).ok_or_else(|| End::Lost("the bundle of an invalid trust domain was sent".to_owned()))
}

fn as_der(svid: &X509Svid, context: &X509Context) -> Option<SvidDer> {
    let bundles = context.bundle_set().iter().map(|(domain, bundle)| {
        let authorities = bundle.authorities().iter().map(|authority| authority.as_bytes().to_vec()).collect();
        Some((domain.as_str().parse().ok()?, authorities))
    });
    Some(SvidDer {
        chain: svid.cert_chain().iter().map(|certificate| certificate.as_bytes().to_vec()).collect(),
        key: Zeroizing::new(svid.private_key().as_bytes().to_vec()),
        bundles: bundles.collect::<Option<_>>()?,
    })
}

/// A caller that loses its entitlement gets PermissionDenied or a response without its SVID (Workload API standard, section 5.2.1).
fn end_of(error: &WorkloadApiError) -> End {
    let reason = describe(error);
    match error {
        WorkloadApiError::NoIdentityIssued
        | WorkloadApiError::PermissionDenied(_)
        | WorkloadApiError::MissingRequiredField { field: "X509SVIDResponse.svids" } => End::Withdrawn(reason),
        _ => End::Lost(reason),
    }
}

/// The error with its causes: "transport error" alone helps nobody.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
