//! A start as people follow it: the table as soon as every role has a process, then what is still going on, then `ready`.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use zizon_contracts::{paths::Paths, supervisor::StatusReport};

use super::{banner, state::State};
use crate::exit::Failure;

/// How often a start that goes on says what it is doing.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How long a platform whose roles all answer may stay not ready before that is said.
const READY_PATIENCE: Duration = Duration::from_secs(3);
/// Microseconds a service manager is asked to wait on, each time progress is said.
const PATIENCE_ASKED_FOR_US: u32 = 30_000_000;

/// Waits until every role answers, however long a role needs that is alive and at work; gives up on one that keeps ending.
pub async fn wait(state: &Arc<State>, paths: &Paths, began: Instant) -> Result<StatusReport> {
    let begun = state.wait_until(|state| state.hopeless().is_some() || state.all_started());
    begun.await;
    if state.hopeless().is_none() {
        banner::print_roles(&state.report(), paths);
    }
    tokio::select! {
        () = state.wait_until(|state| state.hopeless().is_some() || state.all_answer()) => {}
        never = say_what_goes_on(state, began) => match never {},
    }
    if let Some(failure) = hopeless(state, paths) {
        return Err(failure.into());
    }
    // What is still missing is usually the first word of another role, unless only somebody's decision is.
    let enough = state.wait_until(|state| state.report().ready || state.nobody_may_order());
    let _ = timeout(READY_PATIENCE, enough).await;
    Ok(state.report())
}

/// Says every two seconds what a start is doing, to people and to a service manager, whose patience would end otherwise.
pub async fn say_what_goes_on(state: &State, began: Instant) -> Infallible {
    let first = Instant::now().max(began + PROGRESS_EVERY).into();
    let mut progress = interval_at(first, PROGRESS_EVERY);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        progress.tick().await;
        let report = state.report();
        banner::print_progress(&report, began.elapsed());
        let more_time = NotifyState::ExtendTimeoutUsec(PATIENCE_ASKED_FOR_US);
        // Only a service manager listens, and only sometimes.
        let _ = sd_notify::notify(&[more_time, NotifyState::Status(&report.detail.join("; "))]);
    }
}

/// Why the start cannot succeed, if it cannot.
pub fn hopeless(state: &State, paths: &Paths) -> Option<Failure> {
    let (role, reason) = state.hopeless()?;
    let log = paths.log_file(role.name());
    Some(Failure::unknown(format!("{role} does not start: {reason}"), format!("its whole log is {}", log.display())))
}
