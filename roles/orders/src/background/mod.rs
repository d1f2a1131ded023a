//! What goes on beside requests: expiry, settling, sweeping, checking. Each is a small machine with a step; the loops
//! that drive them are here.

pub mod audit;
pub mod checker;
pub mod expiry;
pub mod fsck;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::expiry::{Expiry, Progress};
use crate::execute::{ExecuteError, Settler, Sweeper};
use crate::service::OrdersService;

/// Pause after a failed step.
const PAUSE: Duration = Duration::from_millis(500);
/// How often positions are saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often holds are looked at while there may be any.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How long a settler that has caught up waits.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// Expires orders until `shutdown`.
pub(crate) async fn expire(service: Arc<OrdersService>, mut expiry: Expiry, shutdown: CancellationToken) {
    let mut last_save = Instant::now();
    loop {
        let pause = match expiry.step().await {
            Ok(Progress::More) => Duration::ZERO,
            Ok(Progress::Wait(ms)) => Duration::from_millis(ms),
            Err(error) => failed(&service, "expiry", &error),
        };
        if last_save.elapsed() >= SAVE_EVERY {
            if let Err(error) = expiry.save().await {
                failed(&service, "expiry", &error);
            }
            last_save = Instant::now();
        }
        if pause.is_zero() {
            // Requests of the same thread go first.
            tokio::task::yield_now().await;
        } else if asleep(pause, &shutdown).await {
            break;
        }
        if shutdown.is_cancelled() {
            break;
        }
    }
    if let Err(error) = expiry.save().await {
        failed(&service, "expiry", &error);
    }
}

/// Settles and sweeps until `shutdown`; sleeps while there is nothing to settle.
pub(crate) async fn settle(
    service: Arc<OrdersService>,
    mut settler: Settler,
    sweeper: Sweeper,
    shutdown: CancellationToken,
) {
    let mut last_sweep: Option<Instant> = None;
    let mut last_save = Instant::now();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = settler.wait() => {}
        }
        let pause = match settler.step().await {
            Ok(0) => SETTLE_PAUSE,
            Ok(_) => Duration::ZERO,
            Err(error) => failed(&service, "settler", &error),
        };
        if last_save.elapsed() >= SAVE_EVERY {
            if let Err(error) = settler.save().await {
                failed(&service, "settler", &error);
            }
            last_save = Instant::now();
        }
        if last_sweep.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            sweep(&service, &mut settler, &sweeper).await;
            last_sweep = Some(Instant::now());
        }
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else if asleep(pause, &shutdown).await {
            break;
        }
    }
    if let Err(error) = settler.save().await {
        failed(&service, "settler", &error);
    }
}

async fn sweep(service: &OrdersService, settler: &mut Settler, sweeper: &Sweeper) {
    let mut open = 0;
    for sku in service.directory.skus() {
        match sweeper.sweep(&sku).await {
            Ok(swept) => {
                open += swept.open;
                if swept.decided > 0 {
                    tracing::info!(sku = sku.as_str(), holds = swept.decided, "left-over holds were decided on");
                }
            }
            Err(error) => {
                failed(service, "sweeper", &error);
                return;
            }
        }
        tokio::task::yield_now().await;
    }
    if let Err(error) = settler.rest(open == 0).await {
        failed(service, "settler", &error);
    }
}

/// Notes a failed step and says how long to wait. A closed table ends the role.
fn failed(service: &OrdersService, what: &'static str, error: &ExecuteError) -> Duration {
    let _ = service.problem(error);
    if !service.has_failed() {
        tracing::warn!(%error, task = what, "a background step failed; it is tried again");
    }
    PAUSE
}

/// Sleeps; true when it was ended by `shutdown`.
async fn asleep(pause: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => true,
        () = tokio::time::sleep(pause) => false,
    }
}
