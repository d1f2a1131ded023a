//! Stock, orders and their life.
//!
//! The role's story, as [`run`] tells it: take the secrets, open the table, load the copy of the catalog, put the
//! demonstration's stock in, build the service, start what goes on beside requests (the price feed, expiry, the
//! settler, the checker), serve. An order is decided from the caller's words ([`request`]) and the shop's own prices
//! ([`prices`]), and written with its stock by an executor ([`execute`]); what is stored of it ([`order`]) never
//! changes.
//!
//! Architecture invariants: an answer of 201 is about durable state; a count of stock has one owner, this process;
//! prices come from the copy of the catalog, never from the caller; the id of an order is a function of who asks and
//! of the key, so that a retry meets the order wherever it is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
pub mod background;
mod config;
mod error;
pub mod execute;
pub mod keyring;
mod keys;
mod metrics;
mod metrics_table;
pub mod order;
mod personal;
pub mod prices;
pub mod request;
mod routes;
mod secrets;
pub mod service;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod stock;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zizon_base::ids::IdKey;
use zizon_base::role::Role;
use zizon_journal::Env;
use zizon_service::{Check, RoleContext, Server, Upstream, UpstreamOptions};
use zizon_table::{EmbeddedTable, EngineOptions, EngineStatus, Table};

pub use config::{Config, ExecutorKind};
pub use error::RunError;
pub use metrics::register_metrics;
pub use personal::Personal;
pub use routes::{openapi, router};
pub use secrets::{IDS_KEY, PERSONAL_KEY};

use crate::background::expiry::Expiry;
use crate::background::fsck::StoreCheck;
use crate::background::{checker, expire, settle};
use crate::execute::{Settler, Sweeper};
use crate::keyring::Keyring;
use crate::metrics::OrderMetrics;
use crate::prices::PriceView;
use crate::prices::feed::Follower;
use crate::service::{OrdersService, Parts};

/// How long the first answer may wait for catalog to confirm prices.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// Runs the role until its context's shutdown token is cancelled.
///
/// # Errors
/// The configuration is not valid; a secret is missing; the table cannot be opened or read, or stops while running;
/// the listener cannot be used.
pub async fn run(ctx: RoleContext, config: Config) -> Result<(), RunError> {
    config.validate()?;
    let env = Env::real();
    // The table's lock keeps a second process away: before it is held, nothing else in the directory is touched.
    let embedded = open_table(&ctx, env.clone())?;
    let table: Arc<dyn Table> = embedded.clone();
    let (ids, keyring) = open_keys(&ctx.data_dir, &*table, embedded.engine().visible() > 0).await?;
    let prices = Arc::new(PriceView::default());
    let told = prices::store::load(&*table, &prices).await?;

    let rules = config.rules(ctx.demo);
    let parts = Parts { table: Arc::clone(&table), ids, keyring, prices: Arc::clone(&prices), env, rules };
    let service = Arc::new(OrdersService::new(parts, OrderMetrics::new(&ctx.metrics)));
    service.executor.note_seq(embedded.engine().visible());
    service.seed_stock(&config.demo_stock).await.map_err(RunError::Seed)?;
    service.learn_stock().await?;
    tracing::info!(products = prices.len(), position = embedded.engine().visible(), "orders loaded");

    let mut tasks = JoinSet::new();
    let quit = ctx.shutdown.child_token();
    let upstream = Upstream::for_role(&ctx, Role::Catalog, UpstreamOptions::default())?;
    let follower = Follower::new(Arc::clone(&prices), table, Arc::clone(&service.clock), upstream, told);
    tasks.spawn(follower.run(quit.clone()));
    let (executor, concurrency) = (Arc::clone(&service.executor), usize::from(config.expiry_concurrency));
    let expiry = Expiry::resume(executor, concurrency, rules.reservation).await?;
    let figures = expiry.figures();
    let executor = Arc::downgrade(&service.executor);
    let (table, view) = (Arc::downgrade(&embedded), Arc::downgrade(&prices));
    metrics::observe(&ctx.metrics, &table, view, Arc::downgrade(&figures), executor);
    tasks.spawn(expire(Arc::clone(&service), expiry, quit.clone()));
    let settler = Settler::resume((*service.executor).clone()).await?;
    let sweeper = Sweeper::new(Arc::clone(&service.executor));
    tasks.spawn(settle(Arc::clone(&service), settler, sweeper, quit.clone()));
    let every = Duration::from_secs(u64::from(config.check_interval_seconds));
    tasks.spawn(checker::check(Arc::clone(&service), every, quit.clone()));

    first_confirmation(&service, &ctx.shutdown).await;
    let (health, probed) = (Arc::clone(&service), Arc::clone(&embedded));
    let readiness = Arc::new(move || checks(&health, &probed));
    let server = Server::new(&ctx, router(Arc::clone(&service), StoreCheck::new(Arc::clone(&embedded))))
        .with_health(readiness)
        .run();
    let outcome = tokio::select! {
        served = server => served.map_err(RunError::from),
        () = service.failure.notified() => Err(RunError::StorageFailed),
    };
    // Requests are answered: what goes on beside them saves its positions, then the table is closed.
    quit.cancel();
    while tasks.join_next().await.is_some() {}
    embedded.close().await;
    outcome
}

/// Waits for catalog to confirm prices. Connections made meanwhile wait in the kernel's queue, so that a restart of this
/// role alone refuses nothing; without catalog the role answers all the same, and says why it takes no orders.
async fn first_confirmation(service: &OrdersService, shutdown: &CancellationToken) {
    let confirmed = async {
        while !service.prices_confirmed().0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = tokio::time::timeout(CONFIRMED_WITHIN, confirmed) => {}
    }
}

/// `written`: whether the table has ever held anything; an empty journal depends on no secret.
async fn open_keys(data_dir: &Path, table: &dyn Table, written: bool) -> Result<(IdKey, Keyring), RunError> {
    let keys = data_dir.join("keys");
    let own = data_dir.join(Role::Orders.name());
    let (journal, users) = (own.join("journal"), own.join("users.keys"));
    let depends: &[&Path] = if written { &[&journal, &users] } else { &[&users] };
    let ids = secrets::secret(&keys, IDS_KEY, depends)?;
    let personal = secrets::secret(&keys, PERSONAL_KEY, depends)?;
    secrets::check::confirm(table, &keys, &[(IDS_KEY, &*ids), (PERSONAL_KEY, &*personal)]).await?;
    std::fs::create_dir_all(&own).map_err(|source| RunError::KeyFile { file: users.clone(), source })?;
    Ok((IdKey::new(&ids), Keyring::open(&users, &personal)?))
}

/// Whether the secrets and the users' keys in `data_dir` are the ones that its `table` of orders was written with. For a
/// restore, before anybody relies on it.
///
/// # Errors
/// A key is missing, is not a key, or is another one; the table cannot be used.
pub async fn confirm_keys(data_dir: &Path, table: &EmbeddedTable) -> Result<(), RunError> {
    open_keys(data_dir, table, table.engine().visible() > 0).await.map(drop)
}

fn open_table(ctx: &RoleContext, env: Env) -> Result<Arc<EmbeddedTable>, RunError> {
    let dir = ctx.data_dir.join(ctx.role.name());
    Ok(EmbeddedTable::open_with(&dir, EngineOptions::default(), env, &mut zizon_table::log_progress())?)
}

/// Ready only if an order would be accepted.
fn checks(service: &OrdersService, table: &EmbeddedTable) -> Vec<Check> {
    let storage = match table.engine().status() {
        EngineStatus::Open if table.full() => Check::failed("table", "disk full; orders resume when there is space"),
        EngineStatus::Open => Check::ok("table"),
        EngineStatus::Closed => Check::failed("table", "closed"),
        EngineStatus::Failed => Check::failed("table", "writing the journal failed; the role restarts"),
        EngineStatus::Damaged => Check::failed("table", "the index is damaged; it is rebuilt at the next start"),
    };
    let prices = match service.prices_confirmed() {
        (true, _) => Check::ok("prices"),
        (false, None) => Check::failed("prices", "catalog has not confirmed them yet"),
        (false, Some(age)) => Check::failed("prices", format!("last confirmed by catalog {age} s ago")),
    };
    let ordering = if service.rules.guest_checkout {
        Check::ok("ordering")
    } else {
        Check::failed(
            "ordering",
            "nobody can order yet: set guest_checkout = true under [orders] in --config FILE, or start with --demo",
        )
    };
    vec![storage, prices, ordering]
}
