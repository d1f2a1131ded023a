//! The embedded SPIFFE Workload API issuer: who a process on this machine is, said by certificates that live for two minutes.
//!
//! [`run`] is the role. It starts an [`Issuer`], which serves the Workload API on a unix socket before anybody has an identity; then it
//! fetches an identity of its own there, like everybody else, and serves health and metrics with it.
//!
//! A call goes through these rooms:
//! - `socket` accepts, and has `attest::Caller` hold the very process that connected (pidfd);
//! - `service` checks the security header and the bounds (`limits`), and opens a stream;
//! - `attest` reads `/proc`, asks the supervisor which role the pid is, and makes sure the process was there all the while;
//! - `entries` tells what it is entitled to;
//! - `issuance` has one SVID per entry, renewed at half of its life, signed by `ca`, which replaces its authorities in time;
//! - `stream` sends what is published, attests again before each response, and ends when the entitlement does.
//!
//! Architecture invariants: a caller never takes part in its attestation; what is not known for certain is refused; a key leaves this
//! process only on the stream of a process that is entitled to it at that moment; no signature by an authority that has not been in
//! every bundle for the publication gap, but for the very first.
//!
//! One host, one issuer: more than that is SPIRE's work, which takes this role's place by `SPIFFE_ENDPOINT_SOCKET`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attest;
mod audit;
mod ca;
mod clock;
mod codec;
mod config;
mod entries;
mod issuance;
mod issuer;
mod limits;
mod message;
mod service;
mod socket;
mod stats;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_contracts::supervisor::SOCKET_ENV;
use zizon_service::{Check, ContextError, ENDPOINT_VARIABLE, RoleSetup, Router, Server, ServerError};
use zizon_telemetry::Metrics;

pub use attest::{AttestError, CallerError, SupervisorError};
pub use ca::{CaError, CertificateError, StoreError};
pub use clock::{Clock, TimeSource};
pub use config::Config;
pub use entries::{Entries, EntriesError, Entry, HINT_BYTES_MAX, Selector, Selectors, UnknownSelector};
pub use issuer::{Issuer, IssuerError, IssuerHandle, IssuerHealth, IssuerOptions};
pub use socket::SocketError;

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No place to serve the Workload API.
    #[error("where the workload api is to be served is not known; set {ENDPOINT_VARIABLE}=unix:/absolute/path")]
    NoEndpoint,
    /// Nobody who could tell a role from its pid.
    #[error("callers cannot be attested without a supervisor; set {SOCKET_ENV}, or start the platform with zizon up")]
    NoSupervisor,
    /// The issuer could not be started, or failed.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The role could not get an identity from its own issuer.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The mTLS listener failed.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Runs the role until `setup`'s shutdown token is cancelled.
///
/// # Errors
/// [`RunError`] says what stands in the way, or what failed.
pub async fn run(setup: RoleSetup, config: Config) -> Result<(), RunError> {
    let socket = endpoint().ok_or(RunError::NoEndpoint)?;
    let supervisor = std::env::var_os(SOCKET_ENV).map(PathBuf::from).ok_or(RunError::NoSupervisor)?;
    // The issuer outlives the drain of the listener: whoever asks during it still needs an identity.
    let issuer_shutdown = CancellationToken::new();
    let mut issuer = Issuer::start(IssuerOptions {
        directory: setup.data_dir.join(Role::Identity.name()),
        socket,
        trust_domain: setup.trust_domain.clone(),
        supervisor,
        config,
        clock: Clock::system(),
        metrics: Arc::clone(&setup.metrics),
        shutdown: issuer_shutdown.clone(),
    })?;
    let health = issuer.health();
    tokio::select! {
        failed = issuer.stopped() => return Ok(failed?),
        served = serve_health(setup, health) => served?,
    }
    issuer_shutdown.cancel();
    Ok(issuer.stopped().await?)
}

/// The mTLS listener with health and metrics only.
async fn serve_health(setup: RoleSetup, health: IssuerHealth) -> Result<(), RunError> {
    let shutdown = setup.shutdown.clone();
    let context = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        connected = setup.connect() => connected?,
    };
    let readiness = move || {
        let ok = health.can_sign();
        vec![Check::new("authority", ok, if ok { "" } else { "no authority may sign" })]
    };
    let router = Router::new(());
    Ok(Server::new(&context, router).with_health(Arc::new(readiness)).run().await?)
}

/// Defines every metric of this role, so that the catalogue is complete before anything has happened.
pub fn register_metrics(metrics: &Metrics) {
    let _ = stats::Stats::new(metrics);
    stats::register(metrics, None);
}

/// The socket of the environment's endpoint. The issuer serves unix sockets only.
fn endpoint() -> Option<PathBuf> {
    let endpoint = std::env::var(ENDPOINT_VARIABLE).ok()?;
    let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:"))?;
    path.starts_with('/').then(|| PathBuf::from(path))
}
