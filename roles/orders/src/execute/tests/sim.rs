//! A table whose every operation is a step that a schedule can stop before, and whose process can crash: what was not
//! synced is lost then.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use parking_lot::Mutex;
use zizon_table::{
    Applied, Caps, Change, Cursor, Durability, Feed, Item, Key, Op, Page, ReadError, Seq, ShardId, SkRange, Table,
    Token, Verdict, WriteError, eval,
};

#[derive(Default)]
struct State {
    latest: BTreeMap<Key, Item>,
    durable: BTreeMap<Key, Item>,
    feed: Vec<Change>,
    durable_feed: usize,
    seq: u64,
    /// Answers `Unknown` to every so manieth write, done or not by turns; 0: never.
    unknown_every: u64,
    writes: u64,
}

impl State {
    fn sync(&mut self) {
        self.durable = self.latest.clone();
        self.durable_feed = self.feed.len();
    }

    fn run(&mut self, ops: Vec<Op>) -> Result<Applied, WriteError> {
        eval::validate(&ops)?;
        let current: Vec<Option<Item>> = ops.iter().map(|op| self.latest.get(op.key()).cloned()).collect();
        let seen: Vec<Option<&Item>> = current.iter().map(Option::as_ref).collect();
        if let Some(op) = eval::first_failed(&ops, &seen) {
            // A negative answer is about durable state.
            self.sync();
            return Err(WriteError::CondFailed { op, existing: current[op].clone() });
        }
        let mut effects = Vec::new();
        for (op, item) in ops.into_iter().zip(&current) {
            let key = op.key().clone();
            match eval::apply(op, item.as_ref())? {
                Verdict::Nothing => {}
                Verdict::Put(item) => effects.push((key, Some(item))),
                Verdict::Delete => effects.push((key, None)),
            }
        }
        self.seq += 1;
        for (key, new) in effects {
            match &new {
                Some(item) => self.latest.insert(key.clone(), item.clone()),
                None => self.latest.remove(&key),
            };
            self.feed.push(Change { seq: Seq(self.seq), at_ms: 0, key, new });
        }
        Ok(Applied { seq: Seq(self.seq) })
    }
}

/// The table.
#[derive(Default)]
pub(super) struct SimTable(Mutex<State>);

impl SimTable {
    pub fn set_unknown_every(&self, every: u64) {
        self.0.lock().unknown_every = every;
    }

    /// Everything written so far survives a crash from here on.
    pub fn sync(&self) {
        self.0.lock().sync();
    }

    /// The process dies: what was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.0.lock();
        state.latest = state.durable.clone();
        let kept = state.durable_feed;
        state.feed.truncate(kept);
    }

    /// Position of the newest change that survives a crash.
    pub fn durable_seq(&self) -> u64 {
        let state = self.0.lock();
        state.feed[..state.durable_feed].last().map_or(0, |change| change.seq.0)
    }

    pub fn items(&self) -> Vec<Item> {
        self.0.lock().latest.values().cloned().collect()
    }

    async fn apply(&self, ops: Vec<Op>, durability: Durability) -> Result<Applied, WriteError> {
        Step::default().await;
        let unknown = {
            let mut state = self.0.lock();
            state.writes += 1;
            let unknown = state.unknown_every > 0 && state.writes.is_multiple_of(state.unknown_every);
            if unknown && state.writes.is_multiple_of(state.unknown_every * 2) {
                return Err(WriteError::Unknown);
            }
            unknown
        };
        let applied = self.0.lock().run(ops)?;
        if unknown {
            return Err(WriteError::Unknown);
        }
        if durability == Durability::Durable {
            // Written and not yet synced: a crash here loses it.
            Step::default().await;
            self.0.lock().sync();
        }
        Ok(applied)
    }
}

/// Pending once.
#[derive(Default)]
struct Step(bool);

impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Table for SimTable {
    fn caps(&self) -> Caps {
        Caps {
            transact: Some(100),
            feed: Feed::Total,
            max_item: 400 * 1024,
            durable_barrier: true,
            ttl: false,
            global: false,
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        Step::default().await;
        Ok(self.0.lock().durable.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        Step::default().await;
        let state = self.0.lock();
        Ok(keys.iter().map(|key| state.durable.get(key).cloned()).collect())
    }

    async fn query(&self, pk: &[u8], range: SkRange, _: u32, _: bool, _: Option<Cursor>) -> Result<Page, ReadError> {
        Step::default().await;
        let SkRange::Prefix(prefix) = range else { return Err(ReadError::Invalid("only prefixes here".into())) };
        let state = self.0.lock();
        let items = state.durable.values().filter(|item| item.key.pk == pk && item.key.sk.starts_with(&prefix));
        Ok(Page { items: items.cloned().collect(), next: None })
    }

    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.apply(vec![op], durability).await
    }

    async fn transact(&self, ops: Vec<Op>, _: Option<Token>) -> Result<Applied, WriteError> {
        self.apply(ops, Durability::Durable).await
    }

    async fn changes(&self, _: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        Step::default().await;
        let state = self.0.lock();
        let durable = &state.feed[..state.durable_feed];
        let start = durable.partition_point(|change| change.seq < from);
        let rest = &durable[start..];
        let Some(last) = rest.get((limit as usize).min(rest.len()).saturating_sub(1)) else { return Ok(Vec::new()) };
        let end = rest.partition_point(|change| change.seq <= last.seq);
        Ok(rest[..end].to_vec())
    }

    async fn wait_change(&self, _: Seq) {
        Step::default().await;
    }
}
