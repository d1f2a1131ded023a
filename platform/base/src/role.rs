//! The roles of the platform and who they are.

use std::{fmt, str::FromStr};

use crate::spiffe::{SpiffeId, TrustDomain};

/// A process with an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Issues SPIFFE identities on this machine.
    Identity,
    /// Products and prices.
    Catalog,
    /// Stock and orders.
    Orders,
    /// The public listener.
    Edge,
}

impl Role {
    /// Every role, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::Identity, Self::Catalog, Self::Orders, Self::Edge];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Catalog => "catalog",
            Self::Orders => "orders",
            Self::Edge => "edge",
        }
    }

    /// The SPIFFE path, without a leading slash.
    #[must_use]
    pub const fn spiffe_path(self) -> &'static str {
        match self {
            Self::Identity => "ns/ops/sa/identity",
            Self::Catalog => "ns/shop/sa/catalog",
            Self::Orders => "ns/shop/sa/orders",
            Self::Edge => "ns/shop/sa/edge",
        }
    }

    /// The role's identity in `domain`.
    ///
    /// # Panics
    /// Never: the paths above are valid.
    #[must_use]
    pub fn spiffe_id(self, domain: &TrustDomain) -> SpiffeId {
        domain.workload(self.spiffe_path()).expect("role paths are valid SPIFFE paths")
    }
}

/// SPIFFE path of the supervisor of `zizon up`.
pub const SUPERVISOR_PATH: &str = "ns/ops/sa/supervisor";
/// SPIFFE path of the local operator (the uid that started the platform).
pub const OPERATOR_PATH: &str = "ns/ops/sa/operator";

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not a role's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}; roles are identity, catalog, orders, edge")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
