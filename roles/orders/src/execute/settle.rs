//! The settler: reads the feed and brings to the stock what stepwise orders and facts left to be done.
//!
//! An order's hold turns into its reservation; a fact's effect is applied once, because each shard remembers the last
//! feed position it has taken. In the feed an order stands before its facts, so settling precedes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::Notify;
use zizon_table::{Applied, Change, Cond, Durability, Item, Key, Op, Seq, WriteError};

use super::{ExecuteError, Executor, MISMATCH, Mode, Standing};
use crate::keys::{self, Named};
use crate::order::Damaged;
use crate::order::document::OrderDocument;
use crate::order::fact::{Fact, StockEffect};
use crate::stock::shard;

const READER: &str = "settle";
const NEXT: &str = "seq";
pub(crate) const ACTIVE: &str = "on";
/// Changes taken from the feed at once.
const BATCH: u32 = 512;
/// Batches that may come while the settler goes to rest; with more it goes on.
const BATCHES_BEHIND: u32 = 8;

/// Whether there may be something to settle. In atomic mode that is rare (an order with more products than a plan has
/// room for), and the feed is read only while it is so; the note is durable before the work it is about.
#[derive(Debug)]
pub(crate) struct Settling {
    always: bool,
    state: Mutex<Activity>,
    entry: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Activity {
    active: bool,
    under_way: usize,
    /// Pieces of work ever announced.
    begun: u64,
}

/// While it lives, something to settle may be written.
#[derive(Debug)]
pub(crate) struct Work(Arc<Settling>);

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
    }
}

impl Settling {
    pub(super) fn new(mode: Mode) -> Self {
        let always = mode == Mode::Stepwise;
        let state = Activity { active: always, ..Activity::default() };
        Self { always, state: Mutex::new(state), entry: tokio::sync::Mutex::default(), wake: Notify::new() }
    }

    /// Announces work for the settler, durably if it was idle.
    pub(super) async fn begin(self: &Arc<Self>, executor: &Executor) -> Result<Work, WriteError> {
        let work = {
            let mut state = self.state.lock();
            state.under_way += 1;
            state.begun += 1;
            Work(Arc::clone(self))
        };
        if self.state.lock().active {
            return Ok(work);
        }
        let _one = self.entry.lock().await;
        if !self.state.lock().active {
            // A note that an earlier process left says from where on: it must not be moved forward.
            let left = executor.table.get(&keys::cursor(READER)).await.map_err(|_| WriteError::Throttled)?;
            if !left.as_ref().is_some_and(is_active) {
                let note = note(executor.last_seq() + 1, true);
                executor.saw(executor.table.write(note, Durability::Durable).await?);
            }
            self.state.lock().active = true;
            self.wake.notify_one();
        }
        Ok(work)
    }
}

fn note(next: u64, active: bool) -> Op {
    let next = i64::try_from(next).unwrap_or(i64::MAX);
    let item = Item::new(keys::cursor(READER)).with(NEXT, next).with(ACTIVE, active);
    Op::Put { item, cond: Cond::Always }
}

fn is_active(note: &Item) -> bool {
    note.bool(ACTIVE).unwrap_or(false)
}

/// Reads the feed for the executor it belongs to. One per process.
pub struct Settler {
    executor: Executor,
    next: u64,
    saved: u64,
    quiet: Quiet,
}

/// Since when no work was announced.
#[derive(Debug, Clone, Copy, Default)]
struct Quiet {
    begun: u64,
    since_ns: u64,
}

impl Settler {
    /// Goes on where the last one was.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn resume(executor: Executor) -> Result<Self, ExecuteError> {
        let item = executor.table.get(&keys::cursor(READER)).await?;
        let next = item.as_ref().and_then(|item| item.int(NEXT)).and_then(|n| u64::try_from(n).ok()).unwrap_or(1);
        if item.as_ref().is_some_and(is_active) {
            executor.settling.state.lock().active = true;
        }
        Ok(Self { executor, next, saved: next, quiet: Quiet::default() })
    }

    /// Whether there may be work.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.executor.settling.state.lock().active
    }

    /// Waits until there may be work.
    pub async fn wait(&mut self) {
        while !self.is_active() {
            self.executor.settling.wake.notified().await;
            // Work is announced with the position it begins after; everything before needs no settling.
            if let Ok(resumed) = Self::resume(self.executor.clone()).await {
                self.next = self.next.max(resumed.next);
            }
        }
    }

    /// Takes one batch of the feed; the number of changes taken, 0 when it has caught up.
    ///
    /// # Errors
    /// The table failed; the same batch is taken again next time.
    pub async fn step(&mut self) -> Result<usize, ExecuteError> {
        let changes = self.executor.changes(self.next, BATCH).await?;
        for change in &changes {
            self.take(change).await?;
        }
        if let Some(last) = changes.last() {
            self.next = last.seq.0 + 1;
        }
        Ok(changes.len())
    }

    /// Saves the position, so that a restart goes on from here. All effects up to it are durable with it.
    ///
    /// # Errors
    /// The table failed.
    pub async fn save(&mut self) -> Result<(), ExecuteError> {
        if self.saved != self.next {
            // Not while work is being announced: its note must not be written over.
            let settling = Arc::clone(&self.executor.settling);
            let _one = settling.entry.lock().await;
            let active = self.is_active();
            self.executor.saw(self.executor.table.write(note(self.next, active), Durability::Durable).await?);
            self.saved = self.next;
        }
        Ok(())
    }

    /// Stops reading the feed if nothing can be left to do: atomic mode, the feed read, no open hold, and no work
    /// announced for as long as an attempt lives (a write whose caller went away may still land for a moment).
    ///
    /// # Errors
    /// The table failed.
    pub async fn rest(&mut self, no_holds: bool) -> Result<bool, ExecuteError> {
        let settling = Arc::clone(&self.executor.settling);
        if settling.always || !no_holds || !self.is_quiet() {
            return Ok(false);
        }
        let _one = settling.entry.lock().await;
        {
            let mut state = settling.state.lock();
            if state.under_way > 0 {
                return Ok(false);
            }
            // From here on work waits at the entry and writes a note of its own.
            state.active = false;
        }
        match self.note_idle().await {
            Ok(applied) => {
                self.executor.saw(applied);
                self.saved = self.next;
                Ok(true)
            }
            Err(ExecuteError::Overloaded) => {
                settling.state.lock().active = true;
                Ok(false)
            }
            Err(error) => {
                settling.state.lock().active = true;
                Err(error)
            }
        }
    }

    /// Notes that nothing is left to do. Nobody announces work meanwhile, but a write of somebody who has gone may be on its
    /// way to the disk, and a slow disk may take longer over it than an attempt lives. A write of our own comes after it:
    /// once that is durable and the feed is read up to it, nothing can come any more.
    async fn note_idle(&mut self) -> Result<Applied, ExecuteError> {
        if self.step().await? > 0 {
            return Err(ExecuteError::Overloaded);
        }
        let table = Arc::clone(&self.executor.table);
        let before = table.write(note(self.next, true), Durability::Durable).await?;
        self.executor.saw(before);
        for _ in 0..BATCHES_BEHIND {
            if self.next > before.seq.0 {
                return Ok(table.write(note(self.next, false), Durability::Durable).await?);
            }
            self.step().await?;
        }
        Err(ExecuteError::Overloaded)
    }

    fn is_quiet(&mut self) -> bool {
        let begun = self.executor.settling.state.lock().begun;
        let now = self.executor.clock.mono_ns();
        if begun != self.quiet.begun || self.quiet.since_ns == 0 {
            self.quiet = Quiet { begun, since_ns: now.max(1) };
        }
        now.saturating_sub(self.quiet.since_ns) >= super::sweep::ATTEMPT_LIFE_MS * 1_000_000
    }

    async fn take(&self, change: &Change) -> Result<(), ExecuteError> {
        let Some(item) = &change.new else { return Ok(()) };
        match keys::named(&change.key) {
            Some(Named::Order(id)) => {
                let Standing::Placed(item) = Standing::of(Some(item.clone()))? else { return Ok(()) };
                let Some(nonce) = item.str(keys::NONCE) else { return Ok(()) };
                let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(Damaged("order"))?)?;
                self.executor.settle_order(&document, &shard::attempt_name(&id, nonce)).await
            }
            Some(Named::Fact(id, version)) => {
                let fact = Fact::read(version, item)?;
                if !fact.deferred || fact.effect == StockEffect::None {
                    return Ok(());
                }
                self.executor.settle_fact(&keys::order(&id), &fact, change.seq).await
            }
            None => Ok(()),
        }
    }
}

impl Executor {
    /// Turns the holds of an attempt that became an order into its reservation.
    pub(super) async fn settle_order(&self, document: &OrderDocument, name: &str) -> Result<(), ExecuteError> {
        for taken in &document.allocations {
            let key = shard::key(document.sku_of(taken), taken.shard);
            self.once(shard::settle(key, name, i64::from(taken.units))).await?;
        }
        Ok(())
    }

    async fn settle_fact(&self, order: &Key, fact: &Fact, at: Seq) -> Result<(), ExecuteError> {
        let item = self.table.get(order).await?;
        let Standing::Placed(item) = Standing::of(item)? else { return Err(Damaged("order").into()) };
        let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(Damaged("order"))?)?;
        let seq = i64::try_from(at.0).unwrap_or(i64::MAX);
        for taken in &document.allocations {
            let key = shard::key(document.sku_of(taken), taken.shard);
            let once = (!self.protocol.no_position()).then_some(seq);
            let effect = shard::effect(key.clone(), fact.effect, i64::from(taken.units), once);
            match self.table.write(effect, Durability::Ordered).await {
                Ok(applied) => {
                    self.saw(applied);
                }
                Err(WriteError::CondFailed { existing, .. }) if shard::has_taken(existing.as_ref(), seq) => {}
                // Trying again would find the same for ever, and every later fact would wait for it.
                Err(WriteError::CondFailed { existing, .. }) => {
                    let shard = shard::Shard::read(existing.as_ref());
                    tracing::error!(key = %key, fact = %at, effect = ?fact.effect, units = taken.units, ?shard, MISMATCH);
                    self.mismatches.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes what may have been written already: an operation on a hold, whose only condition is that it is there.
    pub(super) async fn once(&self, op: Op) -> Result<(), ExecuteError> {
        match self.table.write(op, Durability::Ordered).await {
            Ok(applied) => {
                self.saw(applied);
                Ok(())
            }
            Err(WriteError::CondFailed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
