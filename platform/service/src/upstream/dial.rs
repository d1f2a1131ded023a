//! Whom a pool calls, and opening connections to it in the background.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use zizon_base::spiffe::SpiffeId;
use zizon_mtls::{ConnRegistry, Connector};

use super::link::{Age, Link};
use super::pool::Pool;
use crate::request::next_random;

/// Whom a pool calls.
pub(super) struct Target {
    pub(super) address: String,
    pub(super) expect: SpiffeId,
    pub(super) registry: Arc<ConnRegistry>,
}

impl Target {
    /// The ages of a connection opened at `now` that must begin to close after `life`: replaced at 65 to 80 %
    /// of it, so that connections opened together are not replaced together, and not used beyond 90 %, so
    /// that this side is through with it before the other side begins to close it.
    pub(super) fn age(&self, now: Instant, life: Duration) -> Age {
        let permille = 650 + u32::try_from(next_random() % 151).unwrap_or(0);
        Age {
            replace_at: now + life * permille / 1000,
            retire_at: now + life * 9 / 10,
            replacing: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }
}

/// Opens connections as the pool wants them, until it is dropped.
pub(super) async fn run(pool: Arc<Pool>, connector: Connector) {
    let mut dials = JoinSet::new();
    loop {
        let plan = pool.plan(Instant::now());
        drop(plan.stale);
        for wish in plan.dials {
            let (pool, connector) = (Arc::clone(&pool), connector.clone());
            dials.spawn(async move {
                let opened = Link::open(&connector, &pool.target).await;
                pool.dialled(wish, opened).await;
            });
        }
        tokio::select! {
            () = pool.changed.notified() => {}
            Some(_) = dials.join_next(), if !dials.is_empty() => {}
            () = sleep_until(plan.wake_at) => {}
        }
    }
}
