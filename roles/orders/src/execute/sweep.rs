//! The sweeper: finds holds whose attempt is long over and decides what becomes of them. The order item decides.

use std::sync::Arc;

use zizon_base::ids::{OrderId, Sku};
use zizon_table::{Cond, Durability, Item, Key, Op, Patch, Path, WriteError};

use super::{ExecuteError, Executor, Standing, nonce_time, void_of};
use crate::keys;
use crate::order::Damaged;
use crate::order::document::OrderDocument;
use crate::stock::shard;

/// Age after which an attempt is over: its caller has given up long ago (routes answer within seconds).
pub const ATTEMPT_LIFE_MS: u64 = 60_000;

/// Looks after the open holds of an executor's shards.
pub struct Sweeper {
    executor: Arc<Executor>,
}

/// What a look at the holds found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Holds there were.
    pub open: usize,
    /// Holds that were decided on.
    pub decided: usize,
}

impl Sweeper {
    /// Sweeps the shards of `executor`.
    #[must_use]
    pub const fn new(executor: Arc<Executor>) -> Self {
        Self { executor }
    }

    /// Looks at every hold of one product.
    ///
    /// # Errors
    /// The table failed; what was decided until then is complete.
    pub async fn sweep(&self, sku: &Sku) -> Result<Swept, ExecuteError> {
        let mut swept = Swept::default();
        let Some(snapshot) = self.executor.directory.snapshot(sku).await? else { return Ok(swept) };
        let over = self.executor.clock.wall_ms().saturating_sub(ATTEMPT_LIFE_MS);
        for item in snapshot.items.into_iter().flatten() {
            for (name, units) in shard::holds(&item) {
                swept.open += 1;
                let (order, nonce) = shard::attempt_of(name).ok_or(Damaged("hold"))?;
                if nonce_time(nonce).ok_or(Damaged("hold"))? <= over {
                    self.decide(&item.key, &order, name, nonce, units).await?;
                    swept.decided += 1;
                }
            }
        }
        Ok(swept)
    }

    async fn decide(
        &self,
        shard_key: &Key,
        order: &OrderId,
        name: &str,
        nonce: &str,
        units: i64,
    ) -> Result<(), ExecuteError> {
        let executor = &*self.executor;
        let key = keys::order(order);
        match Standing::of(executor.table.get(&key).await?)? {
            Standing::Placed(item) if item.str(keys::NONCE) == Some(nonce) => {
                let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(Damaged("order"))?)?;
                return executor.settle_order(&document, name).await;
            }
            // Another attempt made the order: this one never can.
            Standing::Placed(_) => {}
            Standing::Nothing => {
                if !executor.protocol.no_fence() && !self.fence(&key).await? {
                    return Ok(());
                }
            }
            Standing::Void(generation) => {
                if !executor.protocol.no_generation_bump() && !self.raise(&key, generation).await? {
                    return Ok(());
                }
            }
        }
        executor.once(shard::give_back(shard_key.clone(), name, units)).await
    }

    /// Puts a void where no order is, so that an attempt which saw nothing here can put nothing. False when something
    /// came in between: look again next time.
    async fn fence(&self, key: &Key) -> Result<bool, ExecuteError> {
        let item = Item::new(key.clone()).with(keys::STATUS, keys::VOID).with(keys::GENERATION, 1i64);
        self.won(Op::Put { item, cond: Cond::NotExists }).await
    }

    /// Raises a void's generation, so that an attempt which read it before its hold can put nothing.
    async fn raise(&self, key: &Key, generation: i64) -> Result<bool, ExecuteError> {
        let next = Patch::Set(Path::attr(keys::GENERATION), (generation + 1).into());
        self.won(Op::Patch { key: key.clone(), patches: vec![next], cond: void_of(generation) }).await
    }

    async fn won(&self, op: Op) -> Result<bool, ExecuteError> {
        match self.executor.table.write(op, Durability::Durable).await {
            Ok(applied) => {
                self.executor.saw(applied);
                Ok(true)
            }
            Err(WriteError::CondFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
