//! What every implementation of [`Table`] must do, as cases that use nothing but the port.
//!
//! Run it against an implementation with [`run`]; each case works in partitions of its own name, so one table
//! may serve them all. Cases that need what a backend does not have ([`Table::caps`]) are skipped by name.

mod conditions;
mod ctx;
mod feed;
mod items;
mod limits;
mod patches;
mod plans;
mod races;
mod ranges;
mod reads;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;

pub use ctx::Ctx;

use crate::port::{Caps, Feed, Table};

type Run = fn(Ctx) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a case needs of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing beyond the port.
    Nothing,
    /// Plans over several items.
    Transact,
    /// A feed in one total order.
    TotalFeed,
    /// Both.
    TransactAndTotalFeed,
}

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// A sentence.
    pub name: &'static str,
    /// What it needs.
    pub needs: Needs,
    run: Run,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Case {
    fn possible(&self, caps: &Caps) -> bool {
        let transact = caps.transact.is_some();
        let total = caps.feed == Feed::Total;
        match self.needs {
            Needs::Nothing => true,
            Needs::Transact => transact,
            Needs::TotalFeed => total,
            Needs::TransactAndTotalFeed => transact && total,
        }
    }
}

/// What a run of the suite came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Names of cases that held.
    pub passed: Vec<&'static str>,
    /// Names of cases that did not, and why.
    pub failed: Vec<(&'static str, String)>,
    /// Names of cases the backend cannot run.
    pub skipped: Vec<&'static str>,
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let groups = [
        items::CASES,
        conditions::CASES,
        patches::CASES,
        plans::CASES,
        reads::CASES,
        ranges::CASES,
        feed::CASES,
        limits::CASES,
        races::CASES,
    ];
    groups.concat()
}

/// Runs all cases, one after the other, each on a table that `make` gives it.
pub async fn run<F, Made>(make: F) -> Summary
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Table>>,
{
    let mut summary = Summary::default();
    for case in cases() {
        let table = make().await;
        if !case.possible(&table.caps()) {
            summary.skipped.push(case.name);
            continue;
        }
        let outcome = AssertUnwindSafe((case.run)(Ctx::new(table, case.name))).catch_unwind().await;
        match outcome {
            Ok(()) => summary.passed.push(case.name),
            Err(panic) => summary.failed.push((case.name, message(&*panic))),
        }
    }
    summary
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned()
}

/// Lists functions as cases.
macro_rules! list_cases {
    ($needs:ident: $($name:ident),+ $(,)?) => {
        &[$($crate::contract::Case {
            name: stringify!($name),
            needs: $crate::contract::Needs::$needs,
            run: |ctx| Box::pin($name(ctx)),
        }),+]
    };
}
use list_cases;
