//! Roles on free ports, with identities from an in-memory authority. Only with feature `testing`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_base::spiffe::TrustDomain;
use zizon_mtls::authz::Policy;
use zizon_mtls::testing::TestCa;
use zizon_mtls::{Clock, ConnRegistry, ConnectionLife, RegistryOptions, SvidSource};
use zizon_telemetry::Metrics;

use crate::context::{Peers, RoleContext};
use crate::metrics::register_identity_metrics;
use crate::upstream::{Upstream, UpstreamOptions};

/// A trust domain with everything a test needs to start roles in it.
pub struct TestMesh {
    /// Issues every identity.
    pub ca: TestCa,
    /// Who may call what; shared by all contexts.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Age limits of every connection.
    pub life: ConnectionLife,
    /// Addresses of the roles that were given a context.
    pub peers: Peers,
}

impl Default for TestMesh {
    fn default() -> Self {
        Self::new()
    }
}

impl TestMesh {
    /// The domain `zizon.local` under the standard policy.
    #[must_use]
    pub fn new() -> Self {
        let ca = TestCa::new("zizon.local");
        let policy = Arc::new(ArcSwap::from_pointee(Policy::standard(ca.domain())));
        Self { ca, policy, life: ConnectionLife::default(), peers: Peers::default() }
    }

    /// The same under a policy of the test's own.
    ///
    /// # Panics
    /// When the policy does not parse.
    #[must_use]
    pub fn with_policy(yaml: &str) -> Self {
        let mesh = Self::new();
        let policy = Policy::from_yaml(yaml, mesh.ca.domain()).expect("a test's policy parses");
        mesh.policy.store(Arc::new(policy));
        mesh
    }

    /// The trust domain.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        self.ca.domain()
    }

    /// A context for `role` on a free port of the loopback interface, which the mesh's `peers` learn.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn context(&mut self, role: Role, data_dir: &Path) -> RoleContext {
        let source = self.ca.source(role.spiffe_path());
        self.context_with(role, data_dir, source)
    }

    /// The same with a source that the test controls.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn context_with(&mut self, role: Role, data_dir: &Path, source: Arc<SvidSource>) -> RoleContext {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        self.peers.insert(role, address.to_string());
        let registry = self.registry();
        let metrics = Metrics::new();
        register_identity_metrics(&metrics, Some(&source), &registry);
        RoleContext {
            role,
            data_dir: data_dir.to_owned(),
            trust_domain: self.domain().clone(),
            listener: Arc::new(listener),
            source,
            registry,
            policy: Arc::clone(&self.policy),
            peers: self.peers.clone(),
            metrics,
            shutdown: CancellationToken::new(),
            demo: false,
        }
    }

    /// A registry with the mesh's age limits.
    #[must_use]
    pub fn registry(&self) -> Arc<ConnRegistry> {
        ConnRegistry::new(RegistryOptions { life: self.life, clock: Clock::system() })
    }

    /// A caller with the identity at `path` (`ns/shop/sa/edge`) of `role` at `address`.
    #[must_use]
    pub fn caller(&self, path: &str, role: Role, address: SocketAddr, options: UpstreamOptions) -> Upstream {
        Upstream::new(self.ca.source(path), self.registry(), role, &address.to_string(), options)
    }
}
