//! One life of the shop's process: the table engine, the service over it, and its tasks.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use zizon_base::ids::Sku;
use zizon_journal::{Env, SeededRng, SyncOutcome};
use zizon_orders::execute::{ExecuteError, Settler, Sweeper};
use zizon_orders::service::ShopRules;
use zizon_orders::simulation::{Shop, ShopParts};
use zizon_table::{Engine, EngineStatus, InFlight, MemStore, OpenError};

use super::handle::Done;
use super::profile::{PRICE, Profile, skus};
use super::record::Recorder;
use super::table::{Flaky, SimTable};
use super::task::{At, Task, turn};
use crate::flaw::Flaw;

/// Where the journal is on the simulated disk.
pub(crate) const JOURNAL: &str = "/sim/journal";
/// How long stock is kept for payment, milliseconds.
pub(crate) const RESERVATION_MS: u64 = 300_000;

/// A batch on its way to the disk.
pub(crate) enum Batch {
    Taken(InFlight),
    Ran(SyncOutcome),
}

/// The process.
pub(crate) struct Process {
    pub engine: Arc<Engine>,
    pub shop: Arc<Shop>,
    pub tasks: Vec<Task<Done>>,
    pub batch: Option<Batch>,
}

/// What every life has in common.
pub(crate) struct Ground {
    pub env: Env,
    pub store: MemStore,
    pub recorder: Arc<Mutex<Recorder>>,
    pub flaky: Arc<Mutex<Flaky>>,
    pub rng: Arc<SeededRng>,
    /// Where the task that is being polled stands.
    pub at: Arc<Mutex<Option<At>>>,
    pub keyring: zizon_orders::keyring::Keyring,
    pub secret: [u8; 32],
}

impl Process {
    /// Opens the table and begins to serve; with `background`, everything that goes on beside requests.
    pub fn start(ground: &Ground, profile: &Profile, background: bool) -> Result<Self, OpenError> {
        let store = Arc::new(ground.store.clone());
        let engine = Engine::open(ground.env.clone(), Path::new(JOURNAL), store, profile.engine.clone(), &mut |_| {})?;
        let engine = Arc::new(engine);
        let table = Arc::new(SimTable {
            engine: Arc::clone(&engine),
            recorder: Arc::clone(&ground.recorder),
            flaky: Arc::clone(&ground.flaky),
            rng: Arc::clone(&ground.rng),
            at: Arc::clone(&ground.at),
        });
        let reservation = std::time::Duration::from_millis(RESERVATION_MS);
        let parts = ShopParts {
            table,
            env: ground.env.clone(),
            rules: ShopRules { mode: profile.mode, reservation, ..ShopRules::default() },
            protocol: profile.flaw.map(Flaw::protocol).unwrap_or_default(),
            plan_ops: profile.plan_ops,
            keyring: ground.keyring.clone(),
            secret: ground.secret,
        };
        let shop = Arc::new(Shop::new(parts, engine.visible()));
        for sku in skus() {
            shop.sell(&sku, PRICE);
        }
        let mut tasks = Vec::new();
        if background {
            tasks.push(Task::new(settle(Arc::clone(&shop), Arc::clone(&ground.rng))));
            tasks.push(Task::new(expire(Arc::clone(&shop), Arc::clone(&ground.rng))));
        }
        Ok(Self { engine, shop, tasks, batch: None })
    }

    /// Whether the role would end and be started again.
    pub fn has_failed(&self) -> bool {
        self.engine.status() != EngineStatus::Open || self.shop.service().has_failed()
    }
}

/// Turns a task leaves to the others: a pause.
async fn pause(rng: &SeededRng) {
    for _ in 0..=rng.below(4) {
        turn().await;
    }
}

/// Settles and sweeps as the role's own loop does, with turns for its pauses; ends when the table is closed.
async fn settle(shop: Arc<Shop>, rng: Arc<SeededRng>) -> Done {
    let mut settler = loop {
        match shop.settler().await {
            Ok(settler) => break settler,
            Err(ExecuteError::Closed) => return Done::Background,
            Err(_) => pause(&rng).await,
        }
    };
    let sweeper = shop.sweeper();
    loop {
        settler.wait().await;
        let mut failed = settler.step().await.err();
        if rng.below(3) == 0 {
            failed = failed.or(settler.save().await.err());
        }
        if rng.below(3) == 0 {
            failed = failed.or(sweep(&sweeper, &mut settler).await.err());
        }
        if failed == Some(ExecuteError::Closed) {
            return Done::Background;
        }
        pause(&rng).await;
    }
}

async fn sweep(sweeper: &Sweeper, settler: &mut Settler) -> Result<(), ExecuteError> {
    let mut open = 0;
    for sku in skus() {
        open += sweep_one(sweeper, &sku).await?;
    }
    settler.rest(open == 0).await.map(|_| ())
}

pub(crate) async fn sweep_one(sweeper: &Sweeper, sku: &Sku) -> Result<usize, ExecuteError> {
    sweeper.sweep(sku).await.map(|swept| swept.open)
}

/// Expires as the role's own loop does.
async fn expire(shop: Arc<Shop>, rng: Arc<SeededRng>) -> Done {
    let mut expiry = loop {
        match shop.expiry().await {
            Ok(expiry) => break expiry,
            Err(ExecuteError::Closed) => return Done::Background,
            Err(_) => pause(&rng).await,
        }
    };
    loop {
        let mut failed = expiry.step().await.err();
        if rng.below(3) == 0 {
            failed = failed.or(expiry.save().await.err());
        }
        if failed == Some(ExecuteError::Closed) {
            return Done::Background;
        }
        pause(&rng).await;
    }
}
