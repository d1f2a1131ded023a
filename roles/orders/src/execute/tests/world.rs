//! A small shop under a schedule drawn from a seed: attempts that stop anywhere, duplicates, a sweeper, a settler,
//! cancellations, expiry, crashes of the process. Then rest, and the books.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use zeroize::Zeroizing;
use zizon_base::ids::{IdKey, OrderId, Sku};
use zizon_base::market::Market;
use zizon_base::time::Timestamp;
use zizon_journal::{Clock, Env, ManualClock, SeededRng};
use zizon_table::Table;

use super::sim::SimTable;
use crate::background::audit::audit_items;
use crate::background::expiry::Expiry;
use crate::execute::load::load;
use crate::execute::{ExecuteError, Executor, Mode, OrderPlan, Placed, Protocol, Settler, Sweeper};
use crate::order::document::{Line, OrderDocument};
use crate::order::fact::Actor;
use crate::order::state::{Event, Lifecycle};
use crate::request::{Demand, Digest};
use crate::stock::directory::Directory;
use crate::stock::operator::StockKeeper;
use crate::stock::shard::Shard;

const RESERVATION_MS: u64 = 300_000;

/// What a task came to.
enum Done {
    Placed(OrderId, Result<Placed, ExecuteError>),
    Cancelled(OrderId, bool),
    Settler,
    Other,
}

type Task = Pin<Box<dyn Future<Output = Done>>>;

/// Mode, protocol, and the most operations of a plan: with few, atomic orders over two products go stepwise.
pub(super) type Kind = (Mode, Protocol, usize);

pub(super) struct World {
    pub table: Arc<SimTable>,
    pub clock: Arc<ManualClock>,
    rng: Arc<SeededRng>,
    executor: Arc<Executor>,
    kind: Kind,
    tasks: Vec<Task>,
    settling: bool,
    acknowledged: BTreeMap<OrderId, Digest>,
    cancelled: Vec<OrderId>,
}

pub(super) fn skus() -> [Sku; 2] {
    ["A", "B"].map(|sku| sku.parse().unwrap())
}

/// Polls to the end; the tasks of this world are never woken, so a bound says when something hangs.
pub(super) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("a future never ends");
}

impl World {
    pub fn new(seed: u64, mode: Mode, protocol: Protocol) -> Self {
        Self::of_kind(seed, (mode, protocol, usize::MAX))
    }

    pub fn of_kind(seed: u64, kind: Kind) -> Self {
        let table = Arc::new(SimTable::default());
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let rng = Arc::new(SeededRng::new(seed));
        let executor = executor(&table, &clock, &rng, kind);
        let keeper = StockKeeper::new(Arc::clone(&table) as Arc<dyn Table>, executor.directory.clone());
        let [a, b] = skus();
        finish(keeper.set(&a, 1 + i64::try_from(rng.below(3)).unwrap())).unwrap();
        finish(keeper.set(&b, 2)).unwrap();
        finish(keeper.shard(&a, 51)).unwrap();
        let (tasks, acknowledged, cancelled) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { table, clock, rng, executor, kind, tasks, settling: false, acknowledged, cancelled }
    }

    /// The plan of one of a few orders: a key is used again and again with the same meaning.
    pub fn plan(&self, order: u64) -> OrderPlan {
        let user = format!("u{order}").parse().unwrap();
        let keys = IdKey::new(&Zeroizing::new([1; 32]));
        let id = keys.order_id("guest", &user, &"key".parse().unwrap());
        let created = Timestamp::from_millis(self.clock.wall_ms());
        let units = [[1, 0], [1, 1], [2, 0], [0, 1]][usize::try_from(order % 4).unwrap()];
        let (mut lines, mut demand) = (Vec::new(), Vec::new());
        for (sku, quantity) in skus().into_iter().zip(units) {
            if quantity > 0 {
                demand.push(Demand { line: lines.len(), units: quantity });
                lines.push(Line { sku, name: "n".into(), quantity, unit_price: 1, subtotal: quantity.into(), tax: 0 });
            }
        }
        let expires = created.plus_millis(RESERVATION_MS);
        let document = OrderDocument {
            user,
            market: Market::Kr,
            created,
            expires,
            guest: true,
            lines,
            allocations: vec![],
            sealed: None,
        };
        OrderPlan { id, digest: Digest([u8::try_from(order).unwrap(); 32]), document, demand }
    }

    /// Runs `steps` random actions.
    pub fn run(&mut self, steps: usize) -> Result<(), String> {
        if self.rng.below(3) == 0 {
            self.table.set_unknown_every(3 + self.rng.below(20));
        }
        for _ in 0..steps {
            self.act();
            self.check_counts()?;
        }
        Ok(())
    }

    fn act(&mut self) {
        match self.rng.below(100) {
            0..12 if self.tasks.len() < 6 => {
                let plan = self.plan(self.rng.below(5));
                self.start_attempt(plan);
            }
            12..15 => self.start_cancel(),
            15..17 => self.start_expiry(),
            17..24 => self.start_settler(),
            24..30 => self.sweep(),
            30..35 => self.clock.advance_ms(61_000),
            35..38 => self.table.sync(),
            38..42 => self.drop_one(),
            42 => self.crash(),
            _ => self.poll_one(),
        }
    }

    pub fn start_attempt(&mut self, plan: OrderPlan) {
        let executor = Arc::clone(&self.executor);
        self.tasks.push(Box::pin(async move {
            let id = plan.id;
            Done::Placed(id, executor.place(plan).await)
        }));
    }

    fn start_cancel(&mut self) {
        let executor = Arc::clone(&self.executor);
        let id = self.plan(self.rng.below(5)).id;
        self.tasks.push(Box::pin(async move {
            let done = executor.transition(&id, Event::CancelledByShopper, Actor::Shopper).await;
            Done::Cancelled(id, done.is_ok())
        }));
    }

    fn start_expiry(&mut self) {
        let executor = Arc::clone(&self.executor);
        self.tasks.push(Box::pin(async move {
            if let Ok(mut expiry) = Expiry::resume(executor, 1, Duration::from_millis(RESERVATION_MS)).await {
                let _ = expiry.step().await;
                let _ = expiry.save().await;
            }
            Done::Other
        }));
    }

    fn start_settler(&mut self) {
        // One per process.
        if std::mem::replace(&mut self.settling, true) {
            return;
        }
        let executor = (*self.executor).clone();
        self.tasks.push(Box::pin(async move {
            if let Ok(mut settler) = Settler::resume(executor).await
                && settler.is_active()
                && settler.step().await.is_ok()
            {
                let _ = settler.save().await;
            }
            Done::Settler
        }));
    }

    /// Half of the time step by step among everything else, half of the time at one go.
    fn sweep(&mut self) {
        let sweeper = Sweeper::new(Arc::clone(&self.executor));
        let whole = self.rng.below(2) == 0;
        let pass = async move {
            for sku in skus() {
                let _ = sweeper.sweep(&sku).await;
            }
            Done::Other
        };
        if whole {
            finish(pass);
        } else {
            self.tasks.push(Box::pin(pass));
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn cancelled(&self) -> usize {
        self.cancelled.len()
    }

    pub fn voids(&self) -> usize {
        self.table.items().iter().filter(|item| item.str(crate::keys::STATUS) == Some(crate::keys::VOID)).count()
    }

    pub fn executor_for_tests(&self) -> &Executor {
        &self.executor
    }

    fn pick(&self) -> Option<usize> {
        let count = self.tasks.len() as u64;
        (count > 0).then(|| usize::try_from(self.rng.below(count)).unwrap())
    }

    /// Polls a task; true when it has ended.
    pub fn poll(&mut self, task: usize) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(done) = self.tasks[task].as_mut().poll(&mut context) else { return false };
        drop(self.tasks.swap_remove(task));
        self.note(&done);
        true
    }

    fn poll_one(&mut self) {
        if let Some(task) = self.pick() {
            // Several steps at once now and then, so that some tasks overtake others by far.
            for _ in 0..=self.rng.below(4) {
                if self.poll(task) {
                    return;
                }
            }
        }
    }

    /// A caller goes away in the middle; the settler belongs to the process and does not.
    fn drop_one(&mut self) {
        if let Some(task) = self.pick().filter(|_| !self.settling) {
            drop(self.tasks.swap_remove(task));
        }
    }

    /// The process dies and starts again.
    pub fn crash(&mut self) {
        self.tasks.clear();
        self.settling = false;
        self.table.crash();
        self.executor = executor(&self.table, &self.clock, &self.rng, self.kind);
    }

    fn note(&mut self, done: &Done) {
        match done {
            Done::Placed(id, Ok(Placed::Created(_) | Placed::Replayed(_))) => {
                let digest = (0..5).map(|order| self.plan(order)).find(|plan| plan.id == *id).unwrap().digest;
                self.acknowledged.insert(*id, digest);
            }
            Done::Cancelled(id, true) => self.cancelled.push(*id),
            Done::Settler => self.settling = false,
            Done::Placed(..) | Done::Cancelled(..) | Done::Other => {}
        }
    }

    fn check_counts(&self) -> Result<(), String> {
        for item in self.table.items() {
            let shard = Shard::read(Some(&item));
            if !shard.is_sound() {
                return Err(format!("a count is negative at {}: {shard:?}", item.key));
            }
        }
        Ok(())
    }

    /// Everybody stops; a crash, then long enough for everything to be decided; then the books must close.
    pub fn rest_and_check(&mut self) -> Result<(), String> {
        self.table.set_unknown_every(0);
        self.crash();
        self.clock.advance_ms(61_000);
        let sweeper = Sweeper::new(Arc::clone(&self.executor));
        for _ in 0..4 {
            let mut settler = finish(Settler::resume((*self.executor).clone())).map_err(|e| e.to_string())?;
            if settler.is_active() {
                while finish(settler.step()).map_err(|e| e.to_string())? > 0 {}
                finish(settler.save()).map_err(|e| e.to_string())?;
            }
            for sku in skus() {
                finish(sweeper.sweep(&sku)).map_err(|e| e.to_string())?;
            }
            self.table.sync();
        }
        self.check_counts()?;
        for (id, digest) in &self.acknowledged {
            let order = finish(load(&*self.table, id)).map_err(|e| e.to_string())?;
            match order {
                Some(order) if order.digest.as_ref() == digest.0 => {}
                _ => return Err(format!("{id} was acknowledged and is not there")),
            }
        }
        for id in &self.cancelled {
            let order = finish(load(&*self.table, id)).map_err(|e| e.to_string())?;
            if order.is_none_or(|order| order.state.lifecycle != Lifecycle::Cancelled) {
                return Err(format!("{id} was called off and is not"));
            }
        }
        let report = audit_items(self.table.items()).map_err(|e| e.to_string())?;
        if report.ok && report.unsettled == 0 { Ok(()) } else { Err(format!("{report:?}")) }
    }
}

fn executor(
    table: &Arc<SimTable>,
    clock: &Arc<ManualClock>,
    rng: &Arc<SeededRng>,
    (mode, protocol, plan_ops): Kind,
) -> Arc<Executor> {
    let env = Env { clock: Arc::clone(clock) as Arc<dyn Clock>, rng: rng.clone(), ..Env::real() };
    let seq = table.durable_seq();
    let table = Arc::clone(table) as Arc<dyn Table>;
    let directory = Directory::new(Arc::clone(&table));
    let fresh = Executor::new(Arc::clone(&table), directory, mode, &env);
    let plan_ops = fresh.plan_ops.min(plan_ops);
    let executor = Executor { protocol, plan_ops, ..fresh };
    executor.note_seq(seq);
    Arc::new(executor)
}
