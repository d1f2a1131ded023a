//! What can go wrong, each with the label its metric carries.

use std::io;

use rustls::AlertDescription;
use zizon_base::spiffe::SpiffeId;

use crate::profile::ProfileError;

/// Why no SVID could be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address of the Workload API is not one.
    #[error("{endpoint:?} is not a Workload API address: {reason}; write unix:/absolute/path")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No usable SVID came in time.
    #[error("no identity from the Workload API at {endpoint} within {waited_s} s: {last}")]
    NoIdentity {
        /// The address asked.
        endpoint: String,
        /// How long it was asked, seconds.
        waited_s: u64,
        /// The last failure seen.
        last: String,
    },
}

/// Why a peer's certificate was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// Its validity is over.
    #[error("the peer's certificate has expired")]
    Expired,
    /// Its validity has not begun; one of the two clocks is wrong.
    #[error("the peer's certificate is not valid yet")]
    NotYetValid,
    /// No trusted root of its domain signed it.
    #[error("the certificate of {id} is not signed by a root of its trust domain")]
    UnknownAuthority {
        /// The identity it claims.
        id: SpiffeId,
    },
    /// There are no roots for its trust domain.
    #[error("the trust domain of {id} is not trusted")]
    UnknownTrustDomain {
        /// The identity it claims.
        id: SpiffeId,
    },
    /// It is not an X.509-SVID.
    #[error("the peer's certificate is not an identity: {0}")]
    NotAnSvid(#[from] ProfileError),
    /// The chain does not verify for another reason.
    #[error("the peer's certificate chain does not verify: {0}")]
    BadChain(rustls::Error),
    /// It is somebody else than who may be here.
    #[error("the peer is {got}, which is not expected here")]
    WrongIdentity {
        /// The verified identity.
        got: SpiffeId,
    },
    /// It is on the deny list.
    #[error("{id} is denied")]
    Denied {
        /// The verified identity.
        id: SpiffeId,
    },
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// This process has no identity to present: withdrawn or expired. It fails closed.
    #[error("this process has no valid identity")]
    NoIdentity,
    /// The address could not be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// As given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address did not answer in time.
    #[error("no connection to {address} in time")]
    ConnectTimeout {
        /// As given.
        address: String,
    },
    /// The peer did not complete the handshake in time.
    #[error("the handshake was not completed in time")]
    Timeout,
    /// The peer presented no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The peer's certificate was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The peer refused this side.
    #[error("the peer refused the connection: {0:?}")]
    RefusedByPeer(AlertDescription),
    /// A session was resumed although resumption is off; its certificate was not verified.
    #[error("a resumed session was refused")]
    Resumed,
    /// The peer does not speak TLS as it must (version, groups, record format).
    #[error("the peer does not speak TLS 1.3 as required")]
    Protocol(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection broke in the handshake")]
    Io(#[source] io::Error),
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// The closed set of handshake results, as metric labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All of them, in the order of their index in metrics.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The metric label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

reasons! {
    /// The handshake succeeded.
    Ok = "ok",
    /// Own identity missing, withdrawn or expired.
    NoIdentity = "no_identity",
    /// Address not reachable, or not in time.
    Connect = "connect",
    /// Handshake not completed in time.
    Timeout = "timeout",
    /// Peer without certificate.
    NoCertificate = "no_certificate",
    /// Peer's certificate expired.
    Expired = "expired",
    /// Peer's certificate not valid yet.
    NotYetValid = "not_yet_valid",
    /// Not signed by a trusted root.
    UnknownAuthority = "unknown_authority",
    /// Trust domain without roots.
    UnknownTrustDomain = "unknown_trust_domain",
    /// Not an X.509-SVID.
    NotAnSvid = "not_an_svid",
    /// Chain fails for another reason.
    BadChain = "bad_chain",
    /// Verified, but not who may be here.
    WrongIdentity = "wrong_identity",
    /// On the deny list.
    Denied = "denied",
    /// The peer sent an alert.
    RefusedByPeer = "refused_by_peer",
    /// Resumed session.
    Resumed = "resumed",
    /// Not TLS 1.3 as required.
    Protocol = "protocol",
    /// The connection broke.
    Io = "io",
}

impl Rejection {
    /// The metric label of this rejection.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Expired => Reason::Expired,
            Self::NotYetValid => Reason::NotYetValid,
            Self::UnknownAuthority { .. } => Reason::UnknownAuthority,
            Self::UnknownTrustDomain { .. } => Reason::UnknownTrustDomain,
            Self::NotAnSvid(_) => Reason::NotAnSvid,
            Self::BadChain(_) => Reason::BadChain,
            Self::WrongIdentity { .. } => Reason::WrongIdentity,
            Self::Denied { .. } => Reason::Denied,
        }
    }
}

impl HandshakeError {
    /// The metric label of this failure.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoIdentity => Reason::NoIdentity,
            Self::Connect { .. } | Self::ConnectTimeout { .. } => Reason::Connect,
            Self::Timeout => Reason::Timeout,
            Self::NoCertificate => Reason::NoCertificate,
            Self::Rejected(rejection) => rejection.reason(),
            Self::RefusedByPeer(_) => Reason::RefusedByPeer,
            Self::Resumed => Reason::Resumed,
            Self::Protocol(_) => Reason::Protocol,
            Self::Io(_) => Reason::Io,
        }
    }

    /// Names the failure behind an I/O error of a TLS stream. In TLS 1.3 a client's handshake is over before the server has judged the
    /// client's certificate, so a refusal reaches the client as an alert on its first read.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Self::RefusedByPeer(*alert),
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(other) => Self::Protocol(other.clone()),
            None => Self::Io(error),
        }
    }
}
