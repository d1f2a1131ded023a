//! The check of the role's storage while it is in use: journal, index and the stock equation, at one position.

use std::sync::Arc;

use zizon_base::role::Role;
use zizon_contracts::fsck::{CheckStatus, StockReport, StoreFinding};
use zizon_table::{CheckState, EmbeddedTable, FsckReport, OnlineChecks, Pace};

use super::audit::audit_feed;

/// Checks of the role's table.
#[derive(Debug)]
pub struct StoreCheck {
    table: Arc<EmbeddedTable>,
    checks: OnlineChecks<StoreFinding>,
}

impl StoreCheck {
    /// Checks of `table`.
    #[must_use]
    pub fn new(table: Arc<EmbeddedTable>) -> Self {
        Self { table, checks: OnlineChecks::default() }
    }

    /// Starts a check, unless one runs.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(&self) -> std::io::Result<CheckStatus> {
        let table = Arc::clone(&self.table);
        self.checks.start(Arc::clone(&self.table), move |report, pace| conclude(&table, &report, pace))?;
        Ok(self.status())
    }

    /// Where the last check is.
    #[must_use]
    pub fn status(&self) -> CheckStatus {
        match self.checks.state() {
            CheckState::Idle => CheckStatus::Idle,
            CheckState::Running(at) => CheckStatus::Running { step: at.step.to_string(), done: at.done, of: at.of },
            CheckState::Done(finding) => CheckStatus::Done { finding },
            CheckState::Failed(reason) => CheckStatus::Failed { reason },
        }
    }
}

fn conclude(table: &EmbeddedTable, report: &FsckReport, pace: &mut Pace) -> StoreFinding {
    let stock = report.all_read().then(|| audit(table, report.last_seq, pace));
    finding(report, stock)
}

/// The audit at the position of the check. It is read on the thread of the check.
fn audit(table: &EmbeddedTable, seq: u64, pace: &mut Pace) -> Result<StockReport, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    runtime.block_on(audit_feed(table, seq, &mut || pace.rest())).map_err(|error| error.to_string())
}

/// What a check of the role's table found. Without `stock`, nothing is said about stock.
#[must_use]
pub fn finding(report: &FsckReport, stock: Option<Result<StockReport, String>>) -> StoreFinding {
    let (stock, unreadable) = match stock {
        None => (None, None),
        Some(Ok(stock)) => (Some(stock), None),
        Some(Err(reason)) => (None, Some(format!("stock: {reason}"))),
    };
    let first_difference =
        report.first_difference().or(unreadable).or_else(|| stock.as_ref()?.differences.first().cloned());
    StoreFinding {
        role: Role::Orders.name().to_owned(),
        ok: report.ok() && stock.as_ref().is_some_and(|stock| stock.ok),
        seq: report.journal_damage.is_none().then_some(report.last_seq),
        plans: report.plans,
        items: report.items,
        truncated_bytes: report.truncated_bytes,
        first_difference,
        stock,
    }
}
