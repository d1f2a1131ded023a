//! The issuer as a whole: started before anybody, itself included, has an identity.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use zizon_base::spiffe::TrustDomain;
use zizon_telemetry::Metrics;

use crate::attest::Attestor;
use crate::audit::Audit;
use crate::ca::{Authorities, CaError, CaLives};
use crate::clock::Clock;
use zizon_base::config::ConfigError;

use crate::config::Config;
use crate::entries::Entries;
use crate::issuance::{Issuance, IssuanceOptions};
use crate::limits::{Limits, LogLimit, OpenRate};
use crate::service::{Shared, WorkloadApi};
use crate::socket::{self, SocketError};
use crate::stats::{self, Stats};
use crate::stream::DRAIN;

/// What one request's headers may take, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Connections that may be open beside those with a stream.
const IDLE_CONNECTIONS_MAX: u32 = 256;

/// What an issuer is started with.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// Where the authorities and the audit are kept; made if need be (0700).
    pub directory: PathBuf,
    /// Where the Workload API is served.
    pub socket: PathBuf,
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// The supervisor's socket, which tells a role from its pid.
    pub supervisor: PathBuf,
    /// Lives and bounds.
    pub config: Config,
    /// Both clocks.
    pub clock: Clock,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the issuer is to stop.
    pub shutdown: CancellationToken,
}

/// Why an issuer does not run.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A value out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The authorities cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The audit cannot be written.
    #[error("cannot write the issuance audit {path}", path = path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be served.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The server ended by itself.
    #[error("the workload api server failed")]
    Server(#[source] tonic::transport::Error),
    /// A task of the issuer ended by a panic.
    #[error("a task of the issuer panicked")]
    Panicked,
}

/// The embedded issuer.
#[derive(Debug)]
pub struct Issuer;

impl Issuer {
    /// Reads or makes the authorities and serves the Workload API from then on. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`IssuerError`] says what stands in the way; nothing is served then.
    pub fn start(options: IssuerOptions) -> Result<IssuerHandle, IssuerError> {
        let IssuerOptions { directory, socket, trust_domain, supervisor, config, clock, metrics, shutdown } = options;
        config.validate()?;
        let lives = CaLives {
            ca_seconds: config.ca_life_seconds,
            leaf_seconds: config.svid_life_seconds,
            publish_gap_seconds: config.publish_gap_seconds(),
        };
        let authorities = Authorities::open(&directory, &trust_domain, lives, clock.now().unix())?;
        let path = directory.join("audit.log");
        let audit = Audit::open(&path, config.audit_file_bytes, config.audit_files)
            .map_err(|source| IssuerError::Audit { path, source })?;
        let stats = Arc::new(Stats::new(&metrics));
        let issuance = Issuance::new(
            authorities,
            trust_domain.clone(),
            IssuanceOptions { svid_life: config.svid_life() },
            clock,
            Arc::new(audit),
            Arc::clone(&stats),
        );
        let limits = Limits::new(config.streams_per_process_max, config.streams_max);
        stats::register(&metrics, Some((Arc::clone(&issuance), Arc::clone(&limits))));
        let shared = Arc::new(Shared {
            attestor: Attestor::new(&supervisor),
            entries: Entries::built_in(&trust_domain),
            issuance: Arc::clone(&issuance),
            limits,
            rate: OpenRate::new(config.opens_per_second_per_uid),
            stats,
            log: LogLimit::default(),
            recheck_every: std::time::Duration::from_secs(config.recheck_seconds),
            svid_life: config.svid_life(),
            shutdown: shutdown.clone(),
            streams: TaskTracker::new(),
        });
        let listener = socket::bind(&socket)?;
        tracing::info!(socket = %socket.display(), trust_domain = %trust_domain, "the workload api is served");
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(Arc::clone(&issuance), shutdown.clone()));
        tasks.spawn(serve(listener, shared, config));
        Ok(IssuerHandle { issuance, tasks, shutdown })
    }
}

async fn renew(issuance: Arc<Issuance>, shutdown: CancellationToken) -> Result<(), IssuerError> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(issuance.next_tick()) => issuance.tick(),
        }
    }
}

async fn serve(listener: tokio::net::UnixListener, shared: Arc<Shared>, config: Config) -> Result<(), IssuerError> {
    let connections_max = config.streams_max + IDLE_CONNECTIONS_MAX;
    let incoming = socket::connections(listener, connections_max, Arc::clone(&shared.stats));
    let shutdown = shared.shutdown.clone();
    let server = Server::builder()
        .max_concurrent_streams(config.streams_per_process_max)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .add_service(WorkloadApi::new(Arc::clone(&shared)))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended.map_err(IssuerError::Server),
        () = shutdown.cancelled() => {}
    }
    // Streams tell their callers to come back; callers that do not hear it are not waited for.
    shared.streams.close();
    let _ = timeout(DRAIN, async {
        shared.streams.wait().await;
        server.await
    })
    .await;
    Ok(())
}

/// A running issuer. Dropping it stops it.
pub struct IssuerHandle {
    issuance: Arc<Issuance>,
    tasks: JoinSet<Result<(), IssuerError>>,
    shutdown: CancellationToken,
}

impl std::fmt::Debug for IssuerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IssuerHandle")
    }
}

impl IssuerHandle {
    /// Answers whether the issuer can sign; cheap and usable from anywhere.
    #[must_use]
    pub fn health(&self) -> IssuerHealth {
        IssuerHealth { issuance: Arc::clone(&self.issuance), shutdown: self.shutdown.clone() }
    }

    /// Resolves when the issuer has stopped: after its shutdown token was cancelled, or by a fault.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub async fn stopped(&mut self) -> Result<(), IssuerError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|_| IssuerError::Panicked)??;
        }
        self.issuance.release();
        Ok(())
    }
}

/// A view of an issuer for readiness checks.
#[derive(Clone)]
pub struct IssuerHealth {
    issuance: Arc<Issuance>,
    shutdown: CancellationToken,
}

impl std::fmt::Debug for IssuerHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IssuerHealth")
    }
}

impl IssuerHealth {
    /// Whether a caller that is entitled to an identity would get one.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        !self.shutdown.is_cancelled() && self.issuance.can_sign()
    }
}
