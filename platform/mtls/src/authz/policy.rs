//! A compiled policy and its decisions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aws_lc_rs::digest;
use hashbrown::HashSet;
use serde::Deserialize;
use zizon_base::{
    role::Role,
    spiffe::{SpiffeId, TrustDomain},
};

use super::{
    compile::{self, ServiceTable, namespace_of},
    document::{self, PolicyError},
    path::{PathError, normalise_path},
};

/// The text of the policy that holds unless the operator has an own one (`authz.default.yaml`), to start such a file from.
pub const DEFAULT_POLICY: &str = include_str!("../../authz.default.yaml");

/// What a decision against the caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The call is refused.
    #[default]
    Enforce,
    /// The call goes through under a rule whose name begins with `audit:`, to see what a policy would refuse.
    Audit,
}

/// The answer to "may this identity call this route".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow {
        /// The rule that says so, such as `orders.allow[0]`. A closed set for a given policy.
        rule: Arc<str>,
    },
    /// It may not.
    Deny {
        /// Why.
        reason: DenyReason,
    },
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DenyReason {
    /// No rule allows it.
    #[error("no rule allows it")]
    NoRule,
    /// A deny rule covers it.
    #[error("rule {0} denies it")]
    Rule(Arc<str>),
    /// The caller is on the deny list.
    #[error("the caller is on the deny list")]
    Listed,
    /// The caller is of another trust domain.
    #[error("the caller is of another trust domain")]
    ForeignTrustDomain,
    /// The path is ambiguous; answer 400 rather than 403.
    #[error("the path is refused: {0}")]
    Path(#[from] PathError),
}

impl DenyReason {
    /// The metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Rule(_) => "deny_rule",
            Self::Listed => "denylist",
            Self::ForeignTrustDomain => "foreign_trust_domain",
            Self::Path(_) => "path",
        }
    }
}

impl Decision {
    /// Whether the call may go on.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

/// A compiled policy. Immutable: a reload compiles another one and swaps it in whole.
pub struct Policy {
    domain: TrustDomain,
    services: BTreeMap<Role, ServiceTable>,
    denied: HashSet<SpiffeId>,
    hash: String,
    audit_no_rule: Arc<str>,
    audit_denied: Arc<str>,
}

impl Policy {
    /// Reads and compiles a policy for `domain`.
    ///
    /// # Errors
    /// [`PolicyError`] with line, key and what to write instead: unknown fields, services, methods or subjects, malformed or repeated
    /// routes, another trust domain, another version.
    pub fn from_yaml(text: &str, domain: &TrustDomain) -> Result<Self, PolicyError> {
        compile::compile(document::parse(text)?, domain, fingerprint(text))
    }

    /// The policy the platform comes with, [`DEFAULT_POLICY`].
    ///
    /// # Panics
    /// Never: a test compiles the same text.
    #[must_use]
    pub fn standard(domain: &TrustDomain) -> Self {
        Self::from_yaml(DEFAULT_POLICY, domain).expect("the policy in the binary compiles")
    }

    pub(super) fn assemble(
        domain: TrustDomain,
        services: BTreeMap<Role, ServiceTable>,
        denied: HashSet<SpiffeId>,
        hash: String,
    ) -> Self {
        Self {
            domain,
            services,
            denied,
            hash,
            audit_no_rule: "audit:no_rule".into(),
            audit_denied: "audit:deny_rule".into(),
        }
    }

    /// Decides whether `from` may call `method` `path` (as received, without query) of `service`.
    #[must_use]
    pub fn decide(&self, service: Role, from: &SpiffeId, method: &str, path: &str) -> Decision {
        match self.judge(service, from, method, path) {
            Ok(rule) => Decision::Allow { rule },
            Err(DenyReason::NoRule) if self.mode(service) == Mode::Audit => {
                Decision::Allow { rule: Arc::clone(&self.audit_no_rule) }
            }
            Err(DenyReason::Rule(_)) if self.mode(service) == Mode::Audit => {
                Decision::Allow { rule: Arc::clone(&self.audit_denied) }
            }
            Err(reason) => Decision::Deny { reason },
        }
    }

    fn judge(&self, service: Role, from: &SpiffeId, method: &str, path: &str) -> Result<Arc<str>, DenyReason> {
        if from.trust_domain() != self.domain.as_str() {
            return Err(DenyReason::ForeignTrustDomain);
        }
        if self.denied.contains(from) {
            return Err(DenyReason::Listed);
        }
        let path = normalise_path(path)?;
        let table = self.services.get(&service).ok_or(DenyReason::NoRule)?;
        let caller = from.path();
        let denied = table.deny.iter().find(|rule| {
            rule.from.covers(caller)
                && rule.routes.find(method, &path).is_some()
                && !rule.except.iter().any(|spared| spared.covers(caller))
        });
        if let Some(rule) = denied {
            return Err(DenyReason::Rule(Arc::clone(&rule.name)));
        }
        let own = table.by_identity.get(caller).and_then(|routes| routes.find(method, &path));
        let shared = || table.by_namespace.get(namespace_of(caller)?)?.find(method, &path);
        own.or_else(shared).map(|number| Arc::clone(&table.names[number])).ok_or(DenyReason::NoRule)
    }

    /// Whether any rule lets `from` call anything of `service`: after a reload, connections of the others are closed.
    #[must_use]
    pub fn admits(&self, service: Role, from: &SpiffeId) -> bool {
        let named = |table: &ServiceTable| {
            table.mode == Mode::Audit
                || table.by_identity.contains_key(from.path())
                || namespace_of(from.path()).is_some_and(|namespace| table.by_namespace.contains_key(namespace))
        };
        from.trust_domain() == self.domain.as_str()
            && !self.denied.contains(from)
            && self.services.get(&service).is_some_and(named)
    }

    /// The mode of a service.
    #[must_use]
    pub fn mode(&self, service: Role) -> Mode {
        self.services.get(&service).map_or(Mode::Enforce, |table| table.mode)
    }

    /// Identities that are refused everywhere; feed them to [`crate::ConnRegistry::set_denied`].
    pub fn denied(&self) -> impl Iterator<Item = &SpiffeId> {
        self.denied.iter()
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the file: `sha256sum authz.yaml` shows the same.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("domain", &self.domain.as_str())
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

fn fingerprint(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
