//! Who may call which route.
//!
//! The policy is one YAML file, compiled once into a table per service. Nothing is allowed that no rule allows, and a deny rule wins over
//! every allow rule. The subject is always the identity of the TLS peer; the path is judged decoded and normalised.
//!
//! ```
//! use zizon_base::{role::Role, spiffe::TrustDomain};
//! use zizon_mtls::authz::Policy;
//!
//! let domain: TrustDomain = "zizon.local".parse()?;
//! let policy = Policy::standard(&domain);
//! let edge = Role::Edge.spiffe_id(&domain);
//! assert!(policy.decide(Role::Orders, &edge, "POST", "/api/v1/orders").is_allowed());
//! assert!(!policy.decide(Role::Orders, &edge, "GET", "/internal/v1/orders").is_allowed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod document;
mod path;
mod policy;
mod routes;

pub use document::PolicyError;
pub use path::{PathError, normalise_path};
pub use policy::{DEFAULT_POLICY, Decision, DenyReason, Mode, Policy};
