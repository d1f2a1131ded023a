//! Products, prices, markets and their feed.
//!
//! The role's story, as [`run`] tells it: open the table, in a demo fill it when nothing was ever written to
//! it, put every product on the shelf (the view in memory that answers shoppers with rendered bytes), then
//! serve. One task follows the table's changes and is the only writer of the shelf; an operator's `PUT` writes
//! the table and waits until the shelf has it. Other roles follow the same changes through the feed.
//!
//! Architecture invariant: stock is no business of this role. The demo's initial stock lies beside the demo's
//! products and is handed to orders by the binary ([`demo::stock`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod cursor;
pub mod demo;
mod draft;
mod error;
mod feed;
mod fsck;
mod metrics;
mod record;
mod routes;
mod seed;
mod shelf;

use std::path::Path;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use zizon_contracts::catalog::History;
use zizon_contracts::paths::Paths;
use zizon_contracts::restored::Restored;
use zizon_journal::Env;
use zizon_service::{Check, RoleContext, Server};
use zizon_table::{EmbeddedTable, EngineOptions, EngineStatus, Table};

pub use config::Config;
pub use error::RunError;
pub use fsck::finding;
pub use metrics::register_metrics;
pub use routes::openapi;

use crate::feed::Feed;
use crate::fsck::StoreCheck;
use crate::routes::Catalog;
use crate::shelf::Shelf;

/// Runs the role until its context's shutdown token is cancelled.
///
/// # Errors
/// The configuration is not valid; the table cannot be opened or read, or stops while running; the listener
/// cannot be used.
pub async fn run(ctx: RoleContext, config: Config) -> Result<(), RunError> {
    config.validate()?;
    let embedded = open_table(&ctx)?;
    let table: Arc<dyn Table> = embedded.clone();
    if ctx.demo && embedded.engine().visible() == 0 {
        seed::begin(&*table).await?;
    }
    seed::go_on(&*table).await?;
    let shelf = Arc::new(Shelf::load(&*table, embedded.engine().visible()).await?);
    tracing::info!(products = shelf.len(), position = shelf.position(), "catalog loaded");

    let history = history(&Paths::new(&ctx.data_dir, &ctx.data_dir).restored_file(), embedded.engine().uuid())?;
    let feed = Feed::new(table.clone(), history, shelf.clone(), &config);
    metrics::observe(&ctx.metrics, &shelf, &feed);
    let follower = AbortOnDropHandle::new(tokio::spawn(shelf::follow(table.clone(), shelf.clone())));
    let check = StoreCheck::new(embedded.clone());
    let catalog = Catalog { table, shelf: shelf.clone(), feed, check, max_products: config.max_products };
    let probed = embedded.clone();
    let health = Arc::new(move || vec![table_check(&probed), Check::new("products", true, format!("{}", shelf.len()))]);
    let server = Server::new(&ctx, routes::router(catalog)).with_health(health).run();

    let outcome = tokio::select! {
        served = server => served.map_err(RunError::from),
        stopped = follower => Err(stopped.map_or(RunError::Follower, RunError::Read)),
    };
    embedded.close().await;
    outcome
}

fn open_table(ctx: &RoleContext) -> Result<Arc<EmbeddedTable>, RunError> {
    let dir = ctx.data_dir.join(ctx.role.name());
    Ok(EmbeddedTable::open_with(&dir, EngineOptions::default(), Env::real(), &mut zizon_table::log_progress())?)
}

/// The history of the journal `uuid`. One that was restored has another than the original: it may grow past a position that a
/// reader has of the original, and the same number would stand for another state.
fn history(restored: &Path, uuid: [u8; 16]) -> Result<History, RunError> {
    let damaged = |reason: String| RunError::Restored { file: restored.to_owned(), reason };
    let history = History::of_journal(uuid);
    match std::fs::read(restored) {
        Ok(text) => serde_json::from_slice::<Restored>(&text)
            .map(|found| history.restored(found.history))
            .map_err(|error| damaged(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(history),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// A full disk stops changes, not sales: shoppers and the feed are served from what is there.
fn table_check(table: &EmbeddedTable) -> Check {
    match table.engine().status() {
        EngineStatus::Open if table.full() => Check::new("table", true, "disk full: reads go on, changes are refused"),
        EngineStatus::Open => Check::ok("table"),
        EngineStatus::Closed => Check::failed("table", "closed"),
        EngineStatus::Failed => Check::failed("table", "writing the journal failed; restart the role"),
        EngineStatus::Damaged => Check::failed("table", "the index is damaged; restart the role to rebuild it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_restore_begins_a_history_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("restored.json");
        let original = history(&file, [7; 16]).unwrap();
        assert_eq!(original, History::of_journal([7; 16]));
        let mut seen = vec![original];
        for restore in [[1; 16], [2; 16]] {
            let marker = Restored { history: History::of_journal(restore), backup: "b".to_owned(), restored_at_ms: 1 };
            std::fs::write(&file, serde_json::to_vec(&marker).unwrap()).unwrap();
            let restored = history(&file, [7; 16]).unwrap();
            assert!(!seen.contains(&restored));
            assert_eq!(history(&file, [7; 16]).unwrap(), restored, "it stays over restarts");
            seen.push(restored);
        }
        std::fs::write(&file, "{").unwrap();
        let refused = history(&file, [7; 16]).unwrap_err().to_string();
        assert!(refused.contains("restored.json"), "{refused}");
    }
}
