//! What a role is given when it starts.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use listenfd::ListenFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_base::spiffe::{SpiffeId, TrustDomain};
use zizon_mtls::authz::{Policy, PolicyError};
use zizon_mtls::{CloseReason, ConnRegistry, RegistryOptions, SourceError, SourceOptions, SvidSource};
use zizon_telemetry::{Metrics, register_process_metrics};

use crate::metrics::register_identity_metrics;

/// The environment variable of the SPIFFE Workload Endpoint standard, section 4.
pub const ENDPOINT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Why a role could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The listener that was handed over is not usable.
    #[error(
        "the inherited listener cannot be used; start the role with LISTEN_FDS=1 and a TCP listener as descriptor 3"
    )]
    Inherited(#[source] io::Error),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}; choose a free address with --listen")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No listener was handed over and no address given.
    #[error("nothing to listen on; give --listen ADDRESS:PORT")]
    NoListener,
    /// The Workload API is not configured.
    #[error("no Workload API; set {ENDPOINT_VARIABLE}=unix:/path/to/workload.sock")]
    NoEndpoint,
    /// The Workload API gave no identity.
    #[error("no identity from {endpoint}")]
    Identity {
        /// The endpoint asked.
        endpoint: String,
        /// What went wrong there.
        #[source]
        source: SourceError,
    },
    /// A role this one calls has no address.
    #[error("the address of role {0} is not known; give --peer {0}=ADDRESS:PORT")]
    NoPeer(Role),
    /// The authorisation file cannot be read.
    #[error("cannot read the authorisation policy {file}", file = file.display())]
    PolicyFile {
        /// Where it was looked for.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The authorisation policy is not valid.
    #[error("the authorisation policy is not valid")]
    Policy(#[from] PolicyError),
}

/// A `--peer` that is not `ROLE=ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not ROLE=ADDRESS:PORT")]
pub struct PeerSyntaxError {
    given: String,
}

/// Where the other roles listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(BTreeMap<Role, String>);

impl Peers {
    /// Adds or replaces an address (`host:port`).
    pub fn insert(&mut self, role: Role, address: impl Into<String>) {
        self.0.insert(role, address.into());
    }

    /// The address of `role`, if it is known.
    #[must_use]
    pub fn get(&self, role: Role) -> Option<&str> {
        self.0.get(&role).map(String::as_str)
    }

    /// The address of a role this one cannot do without.
    ///
    /// # Errors
    /// [`ContextError::NoPeer`] names the missing argument.
    pub fn require(&self, role: Role) -> Result<&str, ContextError> {
        self.get(role).ok_or(ContextError::NoPeer(role))
    }

    /// Reads `ROLE=ADDRESS:PORT` and adds it.
    ///
    /// # Errors
    /// The text is not of that form.
    pub fn parse_and_insert(&mut self, text: &str) -> Result<(), PeerSyntaxError> {
        let wrong = || PeerSyntaxError { given: text.to_owned() };
        let (role, address) = text.split_once('=').ok_or_else(wrong)?;
        let role = Role::from_str(role).map_err(|_| wrong())?;
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port {
            return Err(wrong());
        }
        self.insert(role, address);
        Ok(())
    }
}

impl FromIterator<(Role, String)> for Peers {
    fn from_iter<I: IntoIterator<Item = (Role, String)>>(addresses: I) -> Self {
        Self(addresses.into_iter().collect())
    }
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct RoleArgs {
    /// The role to run.
    pub role: Role,
    /// The platform's data directory.
    pub data_dir: PathBuf,
    /// The trust domain of every identity here.
    pub trust_domain: TrustDomain,
    /// Where to listen when no listener is handed over.
    pub listen: Option<SocketAddr>,
    /// Where the other roles listen.
    pub peers: Peers,
    /// The Workload API; otherwise [`ENDPOINT_VARIABLE`].
    pub endpoint: Option<String>,
    /// A policy that replaces the embedded one.
    pub authz_file: Option<PathBuf>,
    /// Demonstration data and guest orders.
    pub demo: bool,
}

/// What a role has before it has an identity.
#[derive(Debug)]
pub struct RoleSetup {
    /// The role to run.
    pub role: Role,
    /// The platform's data directory.
    pub data_dir: PathBuf,
    /// The trust domain of every identity here.
    pub trust_domain: TrustDomain,
    /// Bound and listening.
    pub listener: TcpListener,
    /// A second listener a supervisor handed over: the edge's public one.
    pub second_listener: Option<TcpListener>,
    /// Where the other roles listen.
    pub peers: Peers,
    /// Who may call which route.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The registry of this process.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the role is to drain and end.
    pub shutdown: CancellationToken,
    /// Demonstration data and guest orders.
    pub demo: bool,
    endpoint: Option<String>,
}

/// What a role needs to serve and to call others.
#[derive(Clone, Debug)]
pub struct RoleContext {
    /// The role to run.
    pub role: Role,
    /// The platform's data directory.
    pub data_dir: PathBuf,
    /// The trust domain of every identity here.
    pub trust_domain: TrustDomain,
    /// Bound and listening.
    pub listener: Arc<TcpListener>,
    /// This role's identity, kept current.
    pub source: Arc<SvidSource>,
    /// Every live mTLS connection of this process.
    pub registry: Arc<ConnRegistry>,
    /// Who may call which route.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Where the other roles listen.
    pub peers: Peers,
    /// The registry of this process.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the role is to drain and end.
    pub shutdown: CancellationToken,
    /// Demonstration data and guest orders.
    pub demo: bool,
}

impl RoleSetup {
    /// Takes the listener (handed over by a supervisor, otherwise bound here) and reads the policy. The
    /// issuer of identities starts from here: it has to serve before anybody, itself included, has one.
    ///
    /// # Errors
    /// No usable listener, or a policy that does not parse.
    pub fn take(args: RoleArgs) -> Result<Self, ContextError> {
        raise_descriptor_limit();
        let (listener, second_listener) = take_listeners(args.listen)?;
        let policy = match &args.authz_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| ContextError::PolicyFile { file: file.clone(), source })?;
                Policy::from_yaml(&text, &args.trust_domain)?
            }
            None => Policy::standard(&args.trust_domain),
        };
        let metrics = Metrics::new();
        register_process_metrics(&metrics);
        Ok(Self {
            role: args.role,
            data_dir: args.data_dir,
            trust_domain: args.trust_domain,
            listener,
            second_listener,
            peers: args.peers,
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            metrics,
            shutdown: CancellationToken::new(),
            demo: args.demo,
            endpoint: args.endpoint.or_else(|| std::env::var(ENDPOINT_VARIABLE).ok()),
        })
    }

    /// Waits (bounded) for this role's identity.
    ///
    /// # Errors
    /// No Workload API is configured, or it gives no identity.
    pub async fn connect(self) -> Result<RoleContext, ContextError> {
        let endpoint = self.endpoint.clone().ok_or(ContextError::NoEndpoint)?;
        let expect = Some(self.role.spiffe_id(&self.trust_domain));
        let options = SourceOptions { expect, ..SourceOptions::default() };
        let connected = SvidSource::connect(&endpoint, options).await;
        let source = connected.map_err(|source| ContextError::Identity { endpoint, source })?;
        Ok(self.with_source(source))
    }

    /// Goes on with an identity that is there already.
    #[must_use]
    pub fn with_source(self, source: Arc<SvidSource>) -> RoleContext {
        let registry = ConnRegistry::new(RegistryOptions::default());
        registry.set_denied(self.policy.load().denied().cloned());
        register_identity_metrics(&self.metrics, Some(&source), &registry);
        RoleContext {
            role: self.role,
            data_dir: self.data_dir,
            trust_domain: self.trust_domain,
            listener: Arc::new(self.listener),
            source,
            registry,
            policy: self.policy,
            peers: self.peers,
            metrics: self.metrics,
            shutdown: self.shutdown,
            demo: self.demo,
        }
    }
}

impl RoleContext {
    /// [`RoleSetup::take`], then [`RoleSetup::connect`].
    ///
    /// # Errors
    /// As those two.
    pub async fn from_env(args: RoleArgs) -> Result<Self, ContextError> {
        RoleSetup::take(args)?.connect().await
    }

    /// Takes another policy into use: the next request is judged by it, and connections of identities it
    /// denies or has no place for are closed at once. Says how many.
    pub fn replace_policy(&self, policy: Policy) -> usize {
        let denied: Vec<_> = policy.denied().cloned().collect();
        let policy = Arc::new(policy);
        self.policy.store(Arc::clone(&policy));
        let others = |id: &SpiffeId| policy.admits(self.role, id) || self.calls(id);
        self.registry.set_denied(denied) + self.registry.close_unless(CloseReason::Policy, others)
    }

    /// Whether this role calls `id`; such connections are judged by the policy of the other side.
    fn calls(&self, id: &SpiffeId) -> bool {
        self.peers.0.keys().any(|role| role.spiffe_id(&self.trust_domain) == *id)
    }
}

/// Ends when the process is asked to stop: SIGTERM, or SIGINT from a terminal.
///
/// # Errors
/// The signal handlers could not be installed.
pub async fn terminated() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Connections are bounded by the configuration; the usual soft limit of 1,024 descriptors would be a lower bound that
/// nobody chose.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(current = limit.current, "the limit of open files could not be raised");
    }
}

/// How many descriptors this process may have open; `None` without a limit.
#[must_use]
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Both at once: taking the descriptors out of the environment is possible only once.
fn take_listeners(listen: Option<SocketAddr>) -> Result<(TcpListener, Option<TcpListener>), ContextError> {
    let mut handed_over = ListenFd::from_env();
    if let Some(inherited) = handed_over.take_tcp_listener(0).map_err(ContextError::Inherited)? {
        let second = match handed_over.len() {
            0 | 1 => None,
            _ => handed_over.take_tcp_listener(1).map_err(ContextError::Inherited)?,
        };
        return Ok((inherited, second));
    }
    let address = listen.ok_or(ContextError::NoListener)?;
    let bound = TcpListener::bind(address).map_err(|source| ContextError::Bind { address, source })?;
    Ok((bound, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_role_and_an_address_with_a_port() {
        let mut peers = Peers::default();
        peers.parse_and_insert("orders=127.0.0.1:4000").expect("well formed");
        peers.parse_and_insert("catalog=[::1]:4001").expect("well formed");
        assert_eq!(peers.get(Role::Orders), Some("127.0.0.1:4000"));
        for bad in ["orders", "orders=", "orders=127.0.0.1", "nobody=127.0.0.1:1", "=a:1"] {
            assert!(peers.parse_and_insert(bad).is_err(), "{bad}");
        }
        let missing = peers.require(Role::Edge).expect_err("no such peer");
        assert!(missing.to_string().contains("--peer edge=ADDRESS:PORT"), "{missing}");
    }
}
