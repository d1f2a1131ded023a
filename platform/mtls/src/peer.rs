//! Who is at the other end, and who may be.

use zizon_base::spiffe::{SpiffeId, TrustDomain};

/// A peer whose certificate was verified in the handshake of this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The identity in its certificate.
    pub id: SpiffeId,
    /// End of its certificate's validity, unix seconds.
    pub not_after: u64,
    /// Serial number of its certificate, hexadecimal.
    pub serial: String,
    /// End of validity of the certificate this side presented, unix seconds.
    pub own_not_after: u64,
}

/// Which peers may complete a handshake. There is no default: whoever opens a port or a connection says whom it expects.
/// What a peer may then call is decided per request by [`crate::authz`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerPolicy {
    /// Any identity of one trust domain.
    AnyOfTrustDomain(TrustDomain),
    /// These identities only.
    Exactly(Vec<SpiffeId>),
}

impl PeerPolicy {
    /// Whether `id` may complete a handshake.
    #[must_use]
    pub fn admits(&self, id: &SpiffeId) -> bool {
        match self {
            Self::AnyOfTrustDomain(domain) => id.trust_domain() == domain.as_str(),
            Self::Exactly(ids) => ids.contains(id),
        }
    }
}

/// Which end of a connection this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It accepted.
    Server,
    /// It connected.
    Client,
}

impl Side {
    /// Both, in the order of their index in metrics.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}
