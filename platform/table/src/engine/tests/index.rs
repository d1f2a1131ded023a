//! Faults of the index while the engine runs.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use zizon_journal::MemFs;

use super::world::{env, small};
use crate::engine::{EmbeddedTable, Engine, EngineStatus, IndexStore, MemStore, Submitted};
use crate::index::{Index, IndexError, IndexRange, IndexState, Keys};
use crate::{Cond, Durability, EngineOptions, Item, Key, Op, ReadError, Table, WriteError};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Full,
    Damaged,
    PanicOnApply,
    PanicOnMaintain,
}

/// A store whose index fails as it is told to.
#[derive(Clone)]
struct Troubled {
    inner: MemStore,
    trouble: Arc<Mutex<Trouble>>,
    marked: Arc<Mutex<u32>>,
}

struct TroubledIndex {
    inner: Arc<dyn Index>,
    trouble: Arc<Mutex<Trouble>>,
}

impl Troubled {
    fn new() -> Self {
        Self { inner: MemStore::new(), trouble: Arc::new(Mutex::new(Trouble::None)), marked: Arc::default() }
    }

    fn table(&self) -> Arc<EmbeddedTable> {
        let (path, env) = (Path::new("/t/journal"), env(&MemFs::new(64 << 20)));
        EmbeddedTable::open_on(path, Arc::new(self.clone()), small(), env, &mut |_| {}).expect("it opens")
    }

    fn engine(&self, options: EngineOptions) -> Engine {
        let path = Path::new("/t/journal");
        Engine::open(env(&MemFs::new(64 << 20)), path, Arc::new(self.clone()), options, &mut |_| {}).expect("it opens")
    }
}

impl IndexStore for Troubled {
    fn open(&self, journal: [u8; 16]) -> Result<Arc<dyn Index>, IndexError> {
        Ok(Arc::new(TroubledIndex { inner: self.inner.open(journal)?, trouble: self.trouble.clone() }))
    }

    fn reset(&self) -> Result<(), IndexError> {
        self.inner.reset()
    }

    fn mark_damaged(&self) {
        *self.marked.lock() += 1;
    }
}

impl Index for TroubledIndex {
    fn get(&self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, IndexError> {
        match *self.trouble.lock() {
            Trouble::Damaged => Err(IndexError::Damaged("block checksum".to_owned())),
            _ => self.inner.get(key, at),
        }
    }

    fn range(&self, keys: Keys<'_>, at: u64) -> Result<IndexRange, IndexError> {
        self.inner.range(keys, at)
    }

    fn apply(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        let trouble = *self.trouble.lock();
        assert!(trouble != Trouble::PanicOnApply, "injected");
        self.inner.apply(key, value, seq);
    }

    fn persisted(&self) -> u64 {
        self.inner.persisted()
    }

    fn seal(&self) {
        self.inner.seal();
    }

    fn maintain(&self, floor: u64) -> Result<bool, IndexError> {
        match *self.trouble.lock() {
            Trouble::Full => Err(IndexError::Full),
            Trouble::PanicOnMaintain => panic!("injected"),
            _ => self.inner.maintain(floor),
        }
    }

    fn state(&self) -> IndexState {
        self.inner.state()
    }
}

fn put(n: i64) -> Vec<Op> {
    vec![Op::Put { item: Item::new(Key::new("p", format!("{n:04}"))).with("b", vec![1; 100]), cond: Cond::Always }]
}

fn written(engine: &Engine, n: i64) -> bool {
    match engine.submit(put(n), Durability::Durable, None) {
        Submitted::Waiting(mut ticket) => {
            assert!(engine.sync_once());
            matches!(engine.poll(&mut ticket, None), Poll::Ready(Ok(_)))
        }
        Submitted::Done(_) => false,
    }
}

fn refused(engine: &Engine, n: i64) -> WriteError {
    match engine.submit(put(n), Durability::Durable, None) {
        Submitted::Done(Err(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Writes until the index lags as far as it may.
fn fill_until_stalled(engine: &Engine) -> i64 {
    (0..1_000).find(|n| !written(engine, *n)).expect("it stalls")
}

#[test]
fn an_index_that_is_not_flushed_throttles_writers_instead_of_growing() {
    let store = Troubled::new();
    let engine = store.engine(EngineOptions { max_sealed: 1, ..small() });
    let stalled_at = fill_until_stalled(&engine);
    assert_eq!(refused(&engine, stalled_at), WriteError::Throttled);
    assert!(engine.metrics().index.memtable_bytes < 8_000, "{:?}", engine.metrics().index);
    assert!(engine.get(&Key::new("p", "0000")).expect("reads go on").is_some());
    engine.maintain().expect("it flushes");
    assert!(written(&engine, stalled_at), "writers go on");
}

#[test]
fn a_disk_that_is_full_for_the_index_refuses_writes_as_full_and_recovers_by_itself() {
    let store = Troubled::new();
    let engine = store.engine(EngineOptions { max_sealed: 1, ..small() });
    *store.trouble.lock() = Trouble::Full;
    assert!(matches!(engine.maintain(), Err(IndexError::Full)));
    assert!(!engine.full(), "there is memory left to write to");
    let stalled_at = fill_until_stalled(&engine);
    assert_eq!(refused(&engine, stalled_at), WriteError::Full);
    assert!(engine.full());
    assert!(engine.get(&Key::new("p", "0000")).expect("reads go on").is_some());
    *store.trouble.lock() = Trouble::None;
    while engine.maintain().expect("it flushes") {}
    assert!(!engine.full());
    assert!(written(&engine, stalled_at));
}

#[test]
fn a_damaged_index_stops_writes_serves_nothing_damaged_and_is_marked_for_rebuilding() {
    let store = Troubled::new();
    let engine = store.engine(small());
    assert!(written(&engine, 1));
    let Submitted::Waiting(mut waiting) = engine.submit(put(2), Durability::Durable, None) else { panic!("accepted") };
    *store.trouble.lock() = Trouble::Damaged;
    assert!(matches!(engine.get(&Key::new("p", "0001")), Err(ReadError::Corrupt(_))));
    assert_eq!(engine.status(), EngineStatus::Damaged);
    assert_eq!(*store.marked.lock(), 1);
    assert_eq!(refused(&engine, 3), WriteError::Closed);
    assert_eq!(engine.poll(&mut waiting, None), Poll::Ready(Err(WriteError::Unknown)));
    *store.trouble.lock() = Trouble::None;
    assert!(engine.get(&Key::new("p", "0001")).expect("what is whole is served").is_some());
}

#[test]
fn a_write_that_meets_a_damaged_index_is_refused_and_stops_the_engine() {
    let store = Troubled::new();
    let engine = store.engine(small());
    *store.trouble.lock() = Trouble::Damaged;
    assert_eq!(refused(&engine, 1), WriteError::Closed);
    assert_eq!(engine.status(), EngineStatus::Damaged);
}

async fn write(table: &EmbeddedTable, n: i64) -> Result<(), WriteError> {
    let answer = tokio::time::timeout(Duration::from_secs(30), table.transact(put(n), None));
    answer.await.expect("nobody waits for ever").map(|_| ())
}

#[tokio::test]
async fn a_sync_thread_that_panics_leaves_nobody_waiting() {
    let store = Troubled::new();
    let table = store.table();
    assert_eq!(write(&table, 1).await, Ok(()));
    *store.trouble.lock() = Trouble::PanicOnApply;
    assert_eq!(write(&table, 2).await, Err(WriteError::Unknown));
    assert_eq!(write(&table, 3).await, Err(WriteError::Closed));
    assert_eq!(table.metrics().status, EngineStatus::Failed);
}

#[tokio::test]
async fn background_work_that_panics_stops_the_table_and_has_the_index_rebuilt() {
    let store = Troubled::new();
    let table = store.table();
    *store.trouble.lock() = Trouble::PanicOnMaintain;
    let mut n = 0;
    // Each write may be the one after which the index is flushed.
    let stopped = loop {
        match write(&table, n).await {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 100_000, "it never stops");
    };
    assert!(matches!(stopped, WriteError::Closed | WriteError::Unknown), "{stopped}");
    assert_eq!((table.metrics().status, *store.marked.lock()), (EngineStatus::Damaged, 1));
}
