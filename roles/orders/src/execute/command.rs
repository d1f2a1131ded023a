//! What happens to an order after it was made: one fact, with its effect on stock, once.

use std::sync::atomic::Ordering;

use zizon_base::ids::OrderId;
use zizon_base::time::Timestamp;
use zizon_table::{Cond, Durability, Item, Op, WriteError};

use super::load::{LoadedOrder, load};
use super::{ATTEMPTS, ExecuteError, Executor, MISMATCH, Mode};
use crate::keys;
use crate::order::fact::{Actor, Fact, StockEffect};
use crate::order::state::{Event, Lifecycle, TransitionError, apply};
use crate::stock::shard;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transitioned {
    /// The order after it.
    pub order: LoadedOrder,
    /// Whether this command changed it; otherwise it stood there already.
    pub changed: bool,
}

/// Why a command did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such order.
    #[error("no such order")]
    NotFound,
    /// The order is past that point.
    #[error(transparent)]
    Refused(#[from] TransitionError),
    /// The table did not take it.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// The lifecycle a repeated command finds; asking twice is no mistake.
const fn goal(event: Event) -> Option<Lifecycle> {
    match event {
        Event::CancelledByShopper | Event::CancelledByStaff => Some(Lifecycle::Cancelled),
        Event::Expired => Some(Lifecycle::Expired),
        Event::PaymentCovered => Some(Lifecycle::Confirmed),
        _ => None,
    }
}

impl Executor {
    /// Brings `event` about, once. Of two commands at the same moment one wins; the other sees the result.
    ///
    /// # Errors
    /// See [`CommandError`]; only after `Unknown` may it have happened.
    pub async fn transition(&self, id: &OrderId, event: Event, actor: Actor) -> Result<Transitioned, CommandError> {
        for _ in 0..ATTEMPTS {
            let order = load(&*self.table, id).await?.ok_or(CommandError::NotFound)?;
            if Some(order.state.lifecycle) == goal(event) {
                return Ok(Transitioned { order, changed: false });
            }
            let state = apply(order.state, event)?;
            let fact = Fact {
                version: order.next_version(),
                event,
                at: Timestamp::from_millis(self.clock.wall_ms()),
                actor,
                effect: StockEffect::of(order.state, event),
                deferred: self.defers(&order),
            };
            match self.write_fact(&order, &fact).await {
                Ok(()) => {
                    let mut order = order;
                    order.facts.push(fact);
                    order.state = state;
                    return Ok(Transitioned { order, changed: true });
                }
                // Another fact took this place: look again.
                Err(WriteError::CondFailed { op: 0, .. }) => {}
                Err(WriteError::CondFailed { op, .. }) => {
                    tracing::error!(order = %id, op, MISMATCH);
                    self.mismatches.fetch_add(1, Ordering::Relaxed);
                    return Err(ExecuteError::Table(MISMATCH.to_owned()).into());
                }
                Err(error) => return Err(ExecuteError::from(error).into()),
            }
        }
        Err(ExecuteError::Overloaded.into())
    }

    /// Whether the settler has to bring the effect: the order's units may still be in its attempt's hold, or the plan
    /// would be too large.
    fn defers(&self, order: &LoadedOrder) -> bool {
        self.mode == Mode::Stepwise || order.nonce.is_some() || order.document.allocations.len() >= self.plan_ops
    }

    async fn write_fact(&self, order: &LoadedOrder, fact: &Fact) -> Result<(), WriteError> {
        let item = fact.write(Item::new(keys::fact(&order.id, fact.version)));
        let put = Op::Put { item, cond: Cond::NotExists };
        if fact.deferred {
            let _work = self.settling.begin(self).await?;
            self.saw(self.table.write(put, Durability::Durable).await?);
            return Ok(());
        }
        let mut ops = vec![put];
        if fact.effect != StockEffect::None {
            for taken in &order.document.allocations {
                let key = shard::key(order.document.sku_of(taken), taken.shard);
                ops.push(shard::effect(key, fact.effect, i64::from(taken.units), None));
            }
        }
        self.saw(self.table.transact(ops, None).await?);
        Ok(())
    }
}
