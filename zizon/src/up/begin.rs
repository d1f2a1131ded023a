//! A start as people follow it: the table as soon as every role has a process, then what is still going on, then `ready`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use zizon_contracts::{paths::Paths, supervisor::StatusReport};

use super::{banner, state::State};
use crate::exit::Failure;

/// How often a start that goes on says what it is doing.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How long a platform whose roles all answer may stay not ready before that is said.
const READY_PATIENCE: Duration = Duration::from_secs(3);

/// Waits until every role answers, however long a role needs that is alive and at work; gives up on one that keeps ending.
pub async fn wait(state: &Arc<State>, paths: &Paths, began: Instant) -> Result<StatusReport> {
    let begun = state.wait_until(|state| state.hopeless().is_some() || state.all_started());
    begun.await;
    if state.hopeless().is_none() {
        banner::print_roles(&state.report(), paths);
    }
    let first = (began + PROGRESS_EVERY).into();
    let mut progress = interval_at(first, PROGRESS_EVERY);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let answered = state.wait_until(|state| state.hopeless().is_some() || state.all_answer());
    tokio::pin!(answered);
    loop {
        tokio::select! {
            () = &mut answered => break,
            _ = progress.tick() => banner::print_progress(&state.report(), began.elapsed()),
        }
    }
    if let Some(failure) = hopeless(state, paths) {
        return Err(failure.into());
    }
    // What is still missing is usually the first word of another role, unless only somebody's decision is.
    let enough = state.wait_until(|state| state.report().ready || state.nobody_may_order());
    let _ = timeout(READY_PATIENCE, enough).await;
    Ok(state.report())
}

/// Why the start cannot succeed, if it cannot.
pub fn hopeless(state: &State, paths: &Paths) -> Option<Failure> {
    let (role, reason) = state.hopeless()?;
    let log = paths.log_file(role.name());
    Some(Failure::unknown(format!("{role} does not start: {reason}"), format!("its whole log is {}", log.display())))
}
