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
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions};
use tokio::sync::oneshot;

use crate::gather::Gather;
use crate::plan::{Counter, Order, SHARDS, counter_key};
use crate::{Engine, Failure};

/// Counters kept in memory after they are durable: as many as our table keeps decoded.
const HOT: usize = 65_536;
const MEMTABLE: usize = 64 << 20;
const BLOCK_CACHE: usize = 64 << 20;

/// With `FEED` it also keeps every plan under its number, in the same batch: what our table's journal is to whoever reads
/// its changes, and what a database that forgets its log once it is written out has to store besides.
pub struct Rocks<const FEED: bool> {
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
    /// Number of the next plan, when plans are kept.
    feed: Option<u64>,
}

struct Held {
    counter: Counter,
    batch: u64,
}

impl<const FEED: bool> Engine for Rocks<FEED> {
    fn open(directory: &Path, gather: Gather) -> Result<Self, Failure> {
        let db = DB::open(&options(), directory)?;
        let feed = if FEED { Some(next_of_feed(&db)?) } else { None };
        let state = State { gathering: 1, feed, ..State::default() };
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

impl<const FEED: bool> Rocks<FEED> {
    fn end(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.gathered.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

impl<const FEED: bool> Drop for Rocks<FEED> {
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
    let value = order.value();
    if let Some(number) = &mut state.feed {
        state.batch.put(feed_key(*number), change(&key, &value, &taken));
        *number += 1;
    }
    state.batch.put(&key, value);
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

/// What all keys of the feed begin with, and no other: it is behind all of them.
const FEED_PREFIX: u8 = 0xff;

fn feed_key(number: u64) -> [u8; 9] {
    let mut key = [FEED_PREFIX; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn next_of_feed(db: &DB) -> Result<u64, Failure> {
    let Some(last) = db.iterator(IteratorMode::End).next() else { return Ok(0) };
    let (key, _) = last?;
    Ok(match *key {
        [FEED_PREFIX, ref number @ ..] => u64::from_be_bytes(number.try_into()?) + 1,
        _ => 0,
    })
}

/// A plan as its reader sees it: every item with its new value, each with its length before it.
fn change(order: &[u8], value: &[u8], taken: &[(Vec<u8>, Counter)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    let mut put = |part: &[u8]| {
        bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    put(order);
    put(value);
    for (key, counter) in taken {
        put(key);
        put(&counter.to_bytes());
    }
    bytes
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
