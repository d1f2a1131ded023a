//! RocksDB, written as our table writes: plans are evaluated in the caller's thread against the database and an overlay
//! of what is not yet durable, and their effects gathered into one `WriteBatch`; a second thread writes each batch with
//! `sync = true` while the next one gathers, then wakes its callers.
//!
//! One writer and one sync per group is the fastest way we found to drive it: its own group commit would need a thread
//! for each of the 256 callers.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Condvar, Mutex};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteBatch, WriteOptions};
use tokio::sync::oneshot;

use crate::gather::Gather;
use crate::plan::{Counter, Order, SHARDS, counter_key};
use crate::{Engine, Failure};

/// Counters kept in memory after they are durable: as many as our table keeps decoded.
const HOT: usize = 65_536;
const MEMTABLE: usize = 64 << 20;
const BLOCK_CACHE: usize = 64 << 20;

pub struct Rocks {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    db: DB,
    state: Mutex<State>,
    gathered: Condvar,
}

/// What has been evaluated and what of it is durable.
#[derive(Default)]
struct State {
    batch: WriteBatch,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    orders: Vec<Vec<u8>>,
    /// Orders that are not durable yet.
    pending: HashSet<Vec<u8>>,
    counters: HashMap<Vec<u8>, Held>,
    /// Number of the batch that gathers.
    gathering: u64,
    /// Number of the last durable batch.
    durable: u64,
    groups: u64,
    closed: bool,
}

struct Held {
    counter: Counter,
    batch: u64,
}

impl Engine for Rocks {
    fn open(directory: &Path, gather: Gather) -> Result<Self, Failure> {
        let state = State { gathering: 1, ..State::default() };
        let db = DB::open(&options(), directory)?;
        let shared = Arc::new(Shared { db, state: Mutex::new(state), gathered: Condvar::new() });
        let writing = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("writer".into()).spawn(move || write_groups(&writing, gather))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    async fn seed(&self, products: u64) -> Result<(), Failure> {
        let mut batch = WriteBatch::default();
        for product in 0..products {
            for shard in 0..SHARDS {
                batch.put(counter_key(product, shard), Counter::FULL.to_bytes());
            }
        }
        Ok(self.shared.db.write_opt(batch, &synced())?)
    }

    async fn place(&self, order: Order) -> Result<bool, Failure> {
        let durable = {
            let mut state = self.shared.state.lock();
            match evaluate(&self.shared.db, &mut state, order)? {
                None => return Ok(false),
                Some(durable) => durable,
            }
        };
        self.shared.gathered.notify_one();
        durable.await?.map_err(Failure::from)?;
        Ok(true)
    }

    fn groups(&self) -> u64 {
        self.shared.state.lock().groups
    }

    async fn has(&self, order: Order) -> Result<bool, Failure> {
        Ok(self.shared.db.get_pinned(order.key())?.is_some())
    }

    async fn available(&self, product: u64) -> Result<i64, Failure> {
        let mut sum = 0;
        for shard in 0..SHARDS {
            sum += stored(&self.shared.db, &counter_key(product, shard))?.map_or(0, |counter| counter.available);
        }
        Ok(sum)
    }

    async fn close(mut self) -> Result<(), Failure> {
        self.end();
        Ok(())
    }
}

impl Rocks {
    fn end(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.gathered.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

impl Drop for Rocks {
    fn drop(&mut self) {
        self.end();
    }
}

/// Decides a plan and adds its effects to the gathering batch; `None` when a condition does not hold.
fn evaluate(
    db: &DB,
    state: &mut State,
    order: Order,
) -> Result<Option<oneshot::Receiver<Result<(), String>>>, Failure> {
    let key = order.key();
    // A pinned get answers from the bloom filters for a key that is not there.
    if state.pending.contains(&key) || db.get_pinned(&key)?.is_some() {
        return Ok(None);
    }
    let mut taken = Vec::with_capacity(SHARDS as usize);
    for shard in 0..SHARDS {
        let key = counter_key(order.product, shard);
        let counter = match state.counters.get(&key) {
            Some(held) => Some(held.counter),
            None => stored(db, &key)?,
        };
        match counter.and_then(Counter::take) {
            Some(counter) => taken.push((key, counter)),
            None => return Ok(None),
        }
    }
    let batch = state.gathering;
    state.batch.put(&key, order.value());
    for (key, counter) in taken {
        state.batch.put(&key, counter.to_bytes());
        state.counters.insert(key, Held { counter, batch });
    }
    state.orders.push(key.clone());
    state.pending.insert(key);
    let (done, durable) = oneshot::channel();
    state.waiting.push(done);
    Ok(Some(durable))
}

/// Writes group after group until closed and nothing gathers.
fn write_groups(shared: &Shared, gather: Gather) {
    loop {
        let (batch, waiting, orders) = {
            let mut state = shared.state.lock();
            while state.waiting.is_empty() {
                if state.closed {
                    return;
                }
                shared.gathered.wait(&mut state);
            }
            state.gathering += 1;
            state.groups += 1;
            (std::mem::take(&mut state.batch), std::mem::take(&mut state.waiting), std::mem::take(&mut state.orders))
        };
        let (began, plans) = (Instant::now(), waiting.len());
        let written = shared.db.write_opt(batch, &synced()).map_err(|error| error.to_string());
        let wrote = began.elapsed();
        settle(&mut shared.state.lock(), &orders);
        for waiter in waiting {
            // A caller that has gone away needs no answer.
            let _ = waiter.send(written.clone());
        }
        gather.pause(wrote, plans);
    }
}

/// The last batch is in the database: gets find it there.
fn settle(state: &mut State, orders: &[Vec<u8>]) {
    state.durable += 1;
    let durable = state.durable;
    for key in orders {
        state.pending.remove(key);
    }
    if state.counters.len() > 2 * HOT {
        let mut kept = 0;
        state.counters.retain(|_, held| {
            kept += 1;
            held.batch > durable || kept <= HOT
        });
    }
}

fn stored(db: &DB, key: &[u8]) -> Result<Option<Counter>, Failure> {
    Ok(db.get_pinned(key)?.and_then(|bytes| Counter::from_bytes(&bytes)))
}

/// One `fdatasync` of the log before the write is answered (`use_fsync` stays off).
fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(MEMTABLE);
    options.set_max_write_buffer_number(4);
    options.set_max_background_jobs(2);
    // There is one writer: pipelining and unordered writes are for many.
    options.set_enable_pipelined_write(false);
    // A log file that was used before has its size already: fdatasync then has no inode to write.
    options.set_recycle_log_file_num(4);
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}
