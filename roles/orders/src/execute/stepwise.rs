//! One item at a time: hold stock under the attempt's own name, put the order, acknowledge. Whatever stops in between
//! is put right by the sweeper; the order item decides.
//!
//! The order of steps carries the proof (reference: data, section 1.4). The generation of a void is read *before* the
//! first hold: a sweeper that gives holds back first makes sure that no put which read earlier can succeed.

use zizon_table::{Cond, Durability, Op, WriteError};

use super::{ATTEMPTS, ExecuteError, Executor, OrderPlan, Placed, Standing, order_put, repeated};
use crate::keys;
use crate::order::document::OrderDocument;
use crate::stock::shard;

/// How holding went.
enum Held {
    All,
    /// A shard had too little; everything this attempt held was given back.
    Refused,
}

impl Executor {
    pub(super) async fn place_stepwise(&self, mut plan: OrderPlan) -> Result<Placed, ExecuteError> {
        let _work = self.settling.begin(self).await?;
        for attempt in 0..ATTEMPTS {
            let standing = Standing::of(self.table.get(&keys::order(&plan.id)).await?)?;
            if let Standing::Placed(item) = &standing {
                return repeated(&plan.digest, item);
            }
            let chosen = if attempt == 0 { self.first_choice(&plan).await? } else { self.look_around(&plan).await? };
            plan.document.allocations = match chosen {
                Ok(allocations) => allocations,
                Err(short) => return Ok(Placed::Short(short)),
            };
            let nonce = if self.protocol.no_nonce() { "0".repeat(22) } else { self.nonce() };
            let name = shard::attempt_name(&plan.id, &nonce);
            match self.hold_all(&plan.document, &name).await? {
                Held::Refused => continue,
                Held::All => {}
            }
            let put = order_put(&plan, Some(&nonce), standing.cond());
            let durability = if self.protocol.early_acknowledge() { Durability::Ordered } else { Durability::Durable };
            match self.table.write(put, durability).await {
                Ok(applied) => {
                    self.saw(applied);
                    return Ok(Placed::Created(plan.document));
                }
                Err(WriteError::CondFailed { existing, .. }) => {
                    self.release(&plan.document, &name).await;
                    // Another attempt, or the sweeper, was first.
                    if let Standing::Placed(item) = Standing::of(existing)? {
                        return repeated(&plan.digest, &item);
                    }
                }
                // It may stand: its holds must stay for the settler or the sweeper.
                Err(WriteError::Unknown) => return Err(ExecuteError::Unknown),
                Err(error) => {
                    self.release(&plan.document, &name).await;
                    return Err(error.into());
                }
            }
        }
        Err(ExecuteError::Overloaded)
    }

    /// Holds everything in the order of shard keys, so that two orders over the same shards do not starve each other.
    async fn hold_all(&self, document: &OrderDocument, name: &str) -> Result<Held, ExecuteError> {
        let mut wanted: Vec<_> = document
            .allocations
            .iter()
            .map(|taken| (shard::key(document.sku_of(taken), taken.shard), i64::from(taken.units)))
            .collect();
        wanted.sort();
        for (key, units) in wanted {
            match self.table.write(shard::hold(key, name, units), Durability::Ordered).await {
                Ok(applied) => {
                    self.saw(applied);
                }
                Err(WriteError::CondFailed { .. }) => {
                    self.release(document, name).await;
                    return Ok(Held::Refused);
                }
                Err(WriteError::Unknown) => return Err(ExecuteError::Unknown),
                Err(error) => {
                    self.release(document, name).await;
                    return Err(error.into());
                }
            }
        }
        Ok(Held::All)
    }

    /// Gives back what the attempt holds, where it still holds it. Failures are the sweeper's to repair.
    async fn release(&self, document: &OrderDocument, name: &str) {
        for taken in &document.allocations {
            let key = shard::key(document.sku_of(taken), taken.shard);
            let mut give_back = shard::give_back(key, name, i64::from(taken.units));
            if self.protocol.blind_compensation() {
                give_back = unconditional(give_back);
            }
            match self.table.write(give_back, Durability::Ordered).await {
                Ok(applied) => {
                    self.saw(applied);
                }
                Err(WriteError::CondFailed { .. }) => {}
                Err(error) => tracing::warn!(%error, "a hold was left to the sweeper"),
            }
        }
    }
}

/// The same operation whatever stands there. Only a broken protocol asks for it.
fn unconditional(op: Op) -> Op {
    match op {
        Op::Patch { key, patches, .. } => Op::Patch { key, patches, cond: Cond::Always },
        other => other,
    }
}
