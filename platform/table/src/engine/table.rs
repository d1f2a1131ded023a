//! The port over the engine, with threads.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use parking_lot::Mutex;
use zizon_journal::Env;

use super::core::{Submitted, Ticket};
use super::metrics::EngineMetrics;
use super::open::{OpenError, OpenProgress};
use super::options::EngineOptions;
use super::state::Engine;
use super::store::{IndexStore, LsmStore};
use super::threads::Threads;
use crate::fsck::{FsckError, FsckHooks, FsckOptions, FsckReport};
use crate::index::IndexError;
use crate::model::error::{ReadError, WriteError};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{MAX_ITEM_BYTES, MAX_PLAN_OPS};
use crate::model::op::Op;
use crate::port::check::check_token;
use crate::port::{Applied, Caps, Change, Cursor, Durability, Feed, Page, Seq, ShardId, SkRange, Table, Token};

/// A table in a directory of this machine: `journal/` and `index/`.
///
/// Dropping it ends its threads after the batch under way; [`EmbeddedTable::close`] also writes the index to
/// disk, so that the next opening has nothing to catch up with.
#[derive(Debug)]
pub struct EmbeddedTable {
    engine: Arc<Engine>,
    dir: PathBuf,
    threads: Mutex<Option<Threads>>,
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Threads")
    }
}

impl EmbeddedTable {
    /// Opens the table in `dir`, making it if it does not exist. A missing or damaged index is rebuilt.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(dir: impl AsRef<Path>, options: EngineOptions, env: Env) -> Result<Arc<Self>, OpenError> {
        Self::open_with(dir, options, env, &mut |_| {})
    }

    /// Opens the table and tells how far catching up is.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open_with(
        dir: impl AsRef<Path>,
        options: EngineOptions,
        env: Env,
        progress: &mut dyn FnMut(OpenProgress),
    ) -> Result<Arc<Self>, OpenError> {
        let dir = dir.as_ref();
        let store = LsmStore::new(&dir.join("index"), options.index.clone());
        Self::open_on(&dir.join("journal"), Arc::new(store), options, env, progress)
    }

    /// Opens a table over any index store.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open_on(
        journal: &Path,
        store: Arc<dyn IndexStore>,
        options: EngineOptions,
        env: Env,
        progress: &mut dyn FnMut(OpenProgress),
    ) -> Result<Arc<Self>, OpenError> {
        let engine = Arc::new(Engine::open(env, journal, store, options, progress)?);
        let threads = Threads::start(&engine, "table").map_err(|error| OpenError::Index(IndexError::Io(error)))?;
        let dir = journal.parent().unwrap_or(journal).to_owned();
        // A check ends with its process.
        crate::fsck::remove_leftovers(&dir);
        Ok(Arc::new(Self { engine, dir, threads: Mutex::new(Some(threads)) }))
    }

    /// The engine's counters.
    #[must_use]
    pub fn metrics(&self) -> EngineMetrics {
        self.engine.metrics()
    }

    /// Whether writes are refused for want of disk space. Turns false by itself when space returns.
    #[must_use]
    pub fn full(&self) -> bool {
        self.engine.full()
    }

    /// The engine behind the table.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Checks what is durable at this moment against the journal while writes go on. Blocks for long.
    ///
    /// # Errors
    /// When the check could not be made. What it finds is in the report.
    pub fn check_online(&self, options: &FsckOptions, hooks: &mut FsckHooks<'_>) -> Result<FsckReport, FsckError> {
        self.engine.check_online(&self.dir, options, hooks)
    }

    /// Ends the table: refuses writes, syncs what is buffered, writes the index to disk. Blocks.
    pub fn shutdown(&self) {
        let threads = self.threads.lock().take();
        if let Some(threads) = threads {
            threads.stop(&self.engine);
            self.engine.close();
        }
    }

    /// As [`EmbeddedTable::shutdown`], without blocking the caller's thread.
    pub async fn close(self: &Arc<Self>) {
        let table = self.clone();
        // Fails only if the runtime is going away, and then dropping the table ends it.
        let _ = tokio::task::spawn_blocking(move || table.shutdown()).await;
    }

    async fn run(&self, ops: Vec<Op>, durability: Durability) -> Result<Applied, WriteError> {
        let mut ops = Some(ops);
        let mut ticket: Option<Ticket> = None;
        poll_fn(|cx| {
            if let Some(ticket) = &mut ticket {
                return self.engine.poll(ticket, Some(cx.waker()));
            }
            let ops = ops.take().unwrap_or_default();
            match self.engine.submit(ops, durability, Some(cx.waker())) {
                Submitted::Done(answer) => Poll::Ready(answer),
                Submitted::Waiting(waiting) => {
                    ticket = Some(waiting);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for EmbeddedTable {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.get_mut().take() {
            threads.stop(&self.engine);
            self.engine.release();
        }
    }
}

#[async_trait]
impl Table for EmbeddedTable {
    fn caps(&self) -> Caps {
        Caps {
            transact: Some(u32::try_from(MAX_PLAN_OPS).unwrap_or(u32::MAX)),
            feed: Feed::Total,
            max_item: MAX_ITEM_BYTES,
            durable_barrier: true,
            ttl: false,
            global: false,
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        self.engine.get(key)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        self.engine.get_many(keys)
    }

    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        self.engine.query(pk, range, limit, reverse, cursor)
    }

    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.run(vec![op], durability).await
    }

    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError> {
        check_token(token.as_ref())?;
        self.run(ops, Durability::Durable).await
    }

    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        self.engine.changes(shard, from, limit)
    }

    async fn wait_change(&self, after: Seq) {
        self.engine.wait_change(after).await;
    }
}
