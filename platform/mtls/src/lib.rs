//! Mutual TLS between SPIFFE identities: where a process gets its own identity, how it checks a peer's, and how long it believes it.
//!
//! - [`SvidSource`] follows the SPIFFE Workload API and holds one immutable [`Material`] at a time.
//! - [`Acceptor`] and [`Connector`] load that snapshot once per handshake and use nothing else for it, so a rotation never mixes an old
//!   certificate with new roots and never costs a handshake.
//! - [`ConnRegistry`] knows every live connection by identity: it bounds their age by the life of the certificates that opened them and
//!   closes those of an identity that is denied.
//! - [`authz`] answers who may call which route.
//!
//! Architecture invariant: this crate knows nothing of HTTP beyond a method and a path, and nothing of roles beyond their names.
//!
//! TLS resumption is off on both sides because rustls takes the client's certificate chain of a resumed session from the ticket without
//! asking the verifier again; a resumed connection would outlive its identity.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acceptor;
pub mod authz;
mod clock;
mod config;
mod connector;
mod deadline;
mod error;
mod material;
mod metrics;
mod peer;
mod profile;
mod registry;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod verifier;
mod workload;

pub use acceptor::Acceptor;
pub use clock::Clock;
pub use config::crypto_provider;
pub use connector::Connector;
pub use deadline::{ConnectionLife, Deadline, connection_deadline};
pub use error::{HandshakeError, Reason, Rejection, SourceError};
pub use material::{Material, MaterialError, SvidDer};
pub use metrics::{HandshakeCount, KeyExchange, MtlsMetrics};
pub use peer::{Peer, PeerPolicy, Side};
pub use profile::ProfileError;
pub use registry::{CloseReason, ConnGuard, ConnRegistry, RegistryOptions};
pub use source::{SourceOptions, SourceState, SourceStats, SvidSource};
