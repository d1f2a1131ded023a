//! The contract of the port, run against the model and the embedded engine.

use std::sync::Arc;

use tempfile::TempDir;
use zizon_journal::Env;
use zizon_table::contract::{self, Summary};
use zizon_table::{EmbeddedTable, EngineOptions, FaultTable, MemTable, Table};

fn assert_all_held(summary: &Summary) {
    assert!(summary.failed.is_empty(), "{} cases failed: {:#?}", summary.failed.len(), summary.failed);
    assert_eq!(summary.skipped, Vec::<&str>::new());
    assert!(summary.passed.len() >= 120, "{} cases ran", summary.passed.len());
}

#[tokio::test]
async fn the_model_keeps_the_contract() {
    let summary = contract::run(|| async { Arc::new(MemTable::new()) as Arc<dyn Table> }).await;
    assert_all_held(&summary);
}

#[tokio::test]
async fn a_fault_table_that_injects_nothing_keeps_the_contract() {
    let make = || async { Arc::new(FaultTable::new(Arc::new(MemTable::new()))) as Arc<dyn Table> };
    assert_all_held(&contract::run(make).await);
}

#[tokio::test]
async fn the_embedded_engine_keeps_the_contract_on_a_table_of_its_own_per_case() {
    let root = TempDir::new().expect("a temporary directory");
    let number = std::sync::atomic::AtomicUsize::new(0);
    let summary = contract::run(|| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = root.path().join(number.to_string());
        async move { EmbeddedTable::open(dir, small(), Env::real()).expect("the table opens") as Arc<dyn Table> }
    })
    .await;
    assert_all_held(&summary);
}

#[tokio::test]
async fn the_embedded_engine_keeps_the_contract_on_one_shared_table() {
    let root = TempDir::new().expect("a temporary directory");
    let table = EmbeddedTable::open(root.path(), small(), Env::real()).expect("the table opens");
    let summary = contract::run(|| {
        let table = table.clone();
        async move { table as Arc<dyn Table> }
    })
    .await;
    assert_all_held(&summary);
    assert!(table.metrics().seals > 0, "the index was sealed on the way");
}

/// Segments and memory so small that rolling, sealing, flushing and compacting happen all the time.
fn small() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 64 << 10, ..EngineOptions::default() };
    options.journal.segment_bytes = 8 << 20;
    options.index.table_bytes = 64 << 10;
    options
}
