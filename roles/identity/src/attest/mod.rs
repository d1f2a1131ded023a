//! Attestation: what can be said for certain about a caller.

mod caller;
mod supervisor;

use std::path::Path;

pub use caller::CallerError;
pub(crate) use caller::{Caller, ProcessFacts};
pub use supervisor::SupervisorError;

use supervisor::Supervisor;

use crate::entries::{Selector, Selectors};

/// Why nothing can be said about a caller.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// It ended while it was looked at, so that what was read may belong to a later process of the same pid.
    #[error("the caller has ended")]
    Gone,
    /// Whether it is one of the platform's processes is not known, and guessing could make a role of a stranger.
    #[error("the supervisor did not say which role the caller is")]
    Supervisor(#[from] SupervisorError),
}

/// What was established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attestation {
    pub(crate) selectors: Selectors,
    pub(crate) facts: ProcessFacts,
}

/// Looks at callers.
#[derive(Debug)]
pub(crate) struct Attestor {
    supervisor: Supervisor,
}

impl Attestor {
    pub(crate) fn new(supervisor: &Path) -> Self {
        Self { supervisor: Supervisor::at(supervisor) }
    }

    /// Reads what `/proc` and the supervisor say of the caller's pid, then makes sure that the pid meant the caller all the while.
    pub(crate) async fn attest(&self, caller: &Caller) -> Result<Attestation, AttestError> {
        let facts = caller.facts().ok_or(AttestError::Gone)?;
        let answer = self.supervisor.who_is(caller.pid).await?;
        if !caller.alive() {
            return Err(AttestError::Gone);
        }
        let mut selectors = Selectors::from([Selector::UnixUid(caller.uid), Selector::UnixGid(caller.gid)]);
        match answer.role {
            // The platform's own processes run as the uid that started it: another uid has only met the pid.
            Some(role) if caller.uid == answer.operator_uid => drop(selectors.insert(Selector::Role(role))),
            Some(_) => {}
            None if caller.uid == answer.operator_uid => drop(selectors.insert(Selector::Operator)),
            None => {}
        }
        Ok(Attestation { selectors, facts })
    }
}
