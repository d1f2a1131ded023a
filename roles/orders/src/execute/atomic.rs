//! One plan: the order and its stock together, or neither.

use zizon_table::{Op, WriteError};

use super::{ATTEMPTS, ExecuteError, Executor, OrderPlan, Placed, Standing, order_put, repeated};
use crate::order::document::Allocation;
use crate::request::Demand;
use crate::stock::allocate::{Available, Short, allocate};
use crate::stock::shard;

impl Executor {
    pub(super) async fn place_atomic(&self, mut plan: OrderPlan) -> Result<Placed, ExecuteError> {
        let mut standing = Standing::Nothing;
        plan.document.allocations = match self.first_choice(&plan).await? {
            Ok(allocations) => allocations,
            Err(short) => return Ok(Placed::Short(short)),
        };
        for _ in 0..ATTEMPTS {
            if plan.document.allocations.len() >= self.plan_ops {
                return self.place_stepwise(plan).await;
            }
            let failed = match self.table.transact(plan_ops(&plan, &standing), None).await {
                Ok(applied) => {
                    self.saw(applied);
                    return Ok(Placed::Created(plan.document));
                }
                Err(WriteError::CondFailed { op: 0, existing }) => {
                    standing = Standing::of(existing)?;
                    if let Standing::Placed(item) = &standing {
                        return repeated(&plan.digest, item);
                    }
                    continue;
                }
                Err(WriteError::CondFailed { .. }) => self.look_around(&plan).await?,
                Err(error) => return Err(error.into()),
            };
            match failed {
                Ok(allocations) => plan.document.allocations = allocations,
                Err(short) => return Ok(Placed::Short(short)),
            }
        }
        Err(ExecuteError::Overloaded)
    }

    /// Every product from its preferred shard, without looking what is there.
    pub(super) async fn first_choice(
        &self,
        plan: &OrderPlan,
    ) -> Result<Result<Vec<Allocation>, Vec<Short>>, ExecuteError> {
        let mut allocations = Vec::with_capacity(plan.demand.len());
        for wanted in &plan.demand {
            let sku = &plan.document.lines[wanted.line].sku;
            let layout = match self.directory.known(sku) {
                Some(layout) => Some(layout),
                None => self.directory.layout(sku).await?,
            };
            // A product without stock: the whole picture has to be seen.
            let Some(layout) = layout else { return self.look_around(plan).await };
            let line = u8::try_from(wanted.line).unwrap_or(u8::MAX);
            allocations.push(Allocation { line, shard: layout.preferred(&plan.id), units: wanted.units });
        }
        Ok(Ok(allocations))
    }

    /// Reads every shard of every product and chooses by what is there.
    pub(crate) async fn look_around(
        &self,
        plan: &OrderPlan,
    ) -> Result<Result<Vec<Allocation>, Vec<Short>>, ExecuteError> {
        let skus: Vec<_> = plan.demand.iter().map(|wanted| &plan.document.lines[wanted.line].sku).collect();
        let stock = self.directory.available(&skus, &plan.id).await?;
        let chosen = allocate(&plan.demand, &stock);
        Ok(if self.protocol.keep_the_last() { keep_the_last(chosen, &plan.demand, &stock) } else { chosen })
    }
}

/// Refuses a product of which all that is left is asked for. Only a broken protocol asks for it.
fn keep_the_last(
    chosen: Result<Vec<Allocation>, Vec<Short>>,
    demand: &[Demand],
    stock: &[Available],
) -> Result<Vec<Allocation>, Vec<Short>> {
    let left = |there: &Available| there.units.iter().filter(|&&units| units > 0).sum::<i64>();
    let all = demand.iter().zip(stock).find(|(wanted, there)| left(there) == i64::from(wanted.units));
    match (chosen, all) {
        (Ok(_), Some((wanted, there))) => {
            Err(vec![Short { line: wanted.line, requested: wanted.units, available: left(there) }])
        }
        (chosen, _) => chosen,
    }
}

fn plan_ops(plan: &OrderPlan, standing: &Standing) -> Vec<Op> {
    let mut ops = Vec::with_capacity(1 + plan.document.allocations.len());
    ops.push(order_put(plan, None, standing.cond()));
    for taken in &plan.document.allocations {
        let key = shard::key(plan.document.sku_of(taken), taken.shard);
        ops.push(shard::reserve(key, i64::from(taken.units)));
    }
    ops
}
