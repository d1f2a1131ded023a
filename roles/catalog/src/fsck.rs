//! The check of the role's storage, stopped and in use: journal and index.

use std::sync::Arc;

use zizon_base::role::Role;
use zizon_contracts::fsck::{CheckStatus, StoreFinding};
use zizon_table::{CheckState, EmbeddedTable, FsckReport, OnlineChecks};

/// Checks of the role's table.
#[derive(Debug)]
pub(crate) struct StoreCheck {
    table: Arc<EmbeddedTable>,
    checks: OnlineChecks<StoreFinding>,
}

impl StoreCheck {
    /// Checks of `table`.
    pub(crate) fn new(table: Arc<EmbeddedTable>) -> Self {
        Self { table, checks: OnlineChecks::default() }
    }

    /// Starts a check, unless one runs.
    pub(crate) fn start(&self) -> std::io::Result<CheckStatus> {
        self.checks.start(Arc::clone(&self.table), |report, _| finding(&report))?;
        Ok(self.status())
    }

    /// Where the last check is.
    pub(crate) fn status(&self) -> CheckStatus {
        match self.checks.state() {
            CheckState::Idle => CheckStatus::Idle,
            CheckState::Running(at) => CheckStatus::Running { step: at.step.to_string(), done: at.done, of: at.of },
            CheckState::Done(finding) => CheckStatus::Done { finding },
            CheckState::Failed(reason) => CheckStatus::Failed { reason },
        }
    }
}

/// What a check of the role's table found.
#[must_use]
pub fn finding(report: &FsckReport) -> StoreFinding {
    StoreFinding {
        role: Role::Catalog.name().to_owned(),
        ok: report.ok(),
        seq: report.journal_damage.is_none().then_some(report.last_seq),
        plans: report.plans,
        items: report.items,
        truncated_bytes: report.truncated_bytes,
        first_difference: report.first_difference(),
        stock: None,
    }
}
