//! A table that fails on purpose, for tests of what stands on the port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::model::error::{ReadError, WriteError};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::op::Op;
use crate::port::{Applied, Caps, Change, Cursor, Durability, Page, Seq, ShardId, SkRange, Table, Token};

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write does not happen, and the caller does not learn so.
    UnknownBefore,
    /// The write happens, and the caller does not learn so.
    UnknownAfter,
    /// Refused: too many writes.
    Throttled,
    /// Refused: another write was in the way.
    Conflict,
    /// Refused: disk full.
    Full,
    /// The write happens after a while.
    Delay(Duration),
    /// The caller's process ends before the write: everything is refused until [`FaultTable::revive`].
    CrashBefore,
    /// The caller's process ends after the write, before it learns of it.
    CrashAfter,
}

/// Wraps a table and injects faults into chosen writes. Writes are counted from 1.
#[derive(Debug)]
pub struct FaultTable<T> {
    inner: Arc<T>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    calls: u64,
    planned: BTreeMap<u64, Fault>,
    every: Option<(u64, Fault)>,
    crash_on_call: Option<u64>,
    crashed: bool,
}

impl<T: Table> FaultTable<T> {
    /// A wrapper that injects nothing yet.
    #[must_use]
    pub fn new(inner: Arc<T>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The table inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<T> {
        &self.inner
    }

    /// Injects a fault into the `n`th write from the beginning.
    pub fn on_write(&self, n: u64, fault: Fault) {
        self.state.lock().planned.insert(n, fault);
    }

    /// Injects a fault into every `n`th write that has none of its own.
    pub fn on_every_write(&self, n: u64, fault: Fault) {
        self.state.lock().every = Some((n.max(1), fault));
    }

    /// Crashes before the `n`th call of any kind, reads included.
    pub fn crash_on_call(&self, n: u64) {
        self.state.lock().crash_on_call = Some(n);
    }

    /// Forgets planned faults and a crash, as a restarted process would; counting goes on.
    pub fn revive(&self) {
        let mut state = self.state.lock();
        *state = State { writes: state.writes, calls: state.calls, ..State::default() };
    }

    /// Writes so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// Calls of any kind so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Whether it has crashed.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    fn read(&self) -> Result<(), ReadError> {
        if self.state.lock().call() { Ok(()) } else { Err(ReadError::Closed) }
    }

    async fn faulty<F>(&self, write: F) -> Result<Applied, WriteError>
    where
        F: Future<Output = Result<Applied, WriteError>> + Send,
    {
        let Ok(fault) = self.state.lock().write() else { return Err(WriteError::Closed) };
        match fault {
            None => write.await,
            Some(Fault::UnknownBefore) => Err(WriteError::Unknown),
            Some(Fault::UnknownAfter) => {
                let _ = write.await;
                Err(WriteError::Unknown)
            }
            Some(Fault::Throttled) => Err(WriteError::Throttled),
            Some(Fault::Conflict) => Err(WriteError::Conflict),
            Some(Fault::Full) => Err(WriteError::Full),
            Some(Fault::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                write.await
            }
            Some(Fault::CrashBefore) => {
                self.state.lock().crashed = true;
                Err(WriteError::Unknown)
            }
            Some(Fault::CrashAfter) => {
                let _ = write.await;
                self.state.lock().crashed = true;
                Err(WriteError::Unknown)
            }
        }
    }
}

impl State {
    /// Counts a call; `false` when the process is dead, or dies with this call.
    fn call(&mut self) -> bool {
        self.calls += 1;
        self.crashed |= self.crash_on_call == Some(self.calls);
        !self.crashed
    }

    fn write(&mut self) -> Result<Option<Fault>, ()> {
        if !self.call() {
            return Err(());
        }
        self.writes += 1;
        let every = self.every.filter(|(n, _)| self.writes.is_multiple_of(*n)).map(|(_, fault)| fault);
        Ok(self.planned.remove(&self.writes).or(every))
    }
}

#[async_trait]
impl<T: Table> Table for FaultTable<T> {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        self.read()?;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        self.read()?;
        self.inner.get_many(keys).await
    }

    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        self.read()?;
        self.inner.query(pk, range, limit, reverse, cursor).await
    }

    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.faulty(self.inner.write(op, durability)).await
    }

    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError> {
        self.faulty(self.inner.transact(ops, token)).await
    }

    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        self.read()?;
        self.inner.changes(shard, from, limit).await
    }

    async fn wait_change(&self, after: Seq) {
        self.inner.wait_change(after).await;
    }
}
