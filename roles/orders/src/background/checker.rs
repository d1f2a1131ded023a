//! The invariants of the shop, checked on samples while it runs (reference: commerce, section 3.5).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use zizon_base::ids::{OrderId, Sku};

use crate::execute::LoadedOrder;
use crate::execute::load::load;
use crate::metrics::Invariant;
use crate::service::OrdersService;

/// Products and orders looked at in one round.
const SAMPLE: usize = 20;
/// Orders remembered as candidates.
const REMEMBERED: usize = 256;

/// Recent orders, a few of them.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<OrderId>>);

impl Recent {
    /// Remembers an order; the oldest is forgotten.
    pub fn note(&self, id: OrderId) {
        let mut orders = self.0.lock();
        if orders.len() >= REMEMBERED {
            orders.pop_front();
        }
        orders.push_back(id);
    }

    fn sample(&self, round: usize) -> Vec<OrderId> {
        let orders = self.0.lock();
        let count = orders.len();
        (0..SAMPLE.min(count)).filter_map(|step| orders.get((round * SAMPLE + step) % count).copied()).collect()
    }
}

/// Checks until `shutdown`.
pub(crate) async fn check(service: Arc<OrdersService>, every: Duration, shutdown: CancellationToken) {
    for round in 0.. {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        self::round(&service, round).await;
    }
}

/// One round over a sample.
pub(crate) async fn round(service: &OrdersService, round: usize) {
    let mut skus = service.directory.skus();
    skus.sort();
    for step in 0..SAMPLE.min(skus.len()) {
        check_stock(service, &skus[(round * SAMPLE + step) % skus.len()]).await;
    }
    for id in service.recent.sample(round) {
        // A read that failed says nothing about the invariant.
        if let Ok(Some(order)) = load(&*service.table, &id).await {
            let holds = total_is_sum(&order);
            service.metrics.checked(Invariant::Totals, holds);
            // Reading it folded its facts: each follows from the state before it by the table of transitions.
            service.metrics.checked(Invariant::Transitions, true);
            if !holds {
                tracing::error!(order = %id, "the total of an order is not the sum of its lines");
            }
        } else if matches!(load(&*service.table, &id).await, Err(crate::execute::ExecuteError::Damaged(_))) {
            service.metrics.checked(Invariant::Transitions, false);
            tracing::error!(order = %id, "an order's facts do not follow from each other");
        }
    }
}

async fn check_stock(service: &OrdersService, sku: &Sku) {
    let Ok(Some(snapshot)) = service.directory.snapshot(sku).await else { return };
    let shards = snapshot.shards();
    let on_hand: i64 = shards.iter().map(crate::stock::shard::Shard::on_hand).sum();
    let holds = on_hand == snapshot.issued && shards.iter().all(crate::stock::shard::Shard::is_sound);
    service.metrics.checked(Invariant::Stock, holds);
    service.metrics.stock(sku, &crate::stock::shard::view(sku, &shards));
    if !holds {
        tracing::error!(sku = sku.as_str(), issued = snapshot.issued, on_hand, "the stock equation does not hold");
    }
}

fn total_is_sum(order: &LoadedOrder) -> bool {
    let totals = order.document.totals();
    let lines = &order.document.lines;
    let product = |line: &crate::order::document::Line| line.unit_price.checked_mul(i64::from(line.quantity));
    lines.iter().all(|line| product(line) == Some(line.subtotal))
        && totals.total == lines.iter().map(|line| line.subtotal).sum::<i64>()
}
