//! The port over the engine without threads. Every call is a place where the schedule may do something else, and may
//! answer "unknown" although the process lives, as a table behind a network does.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use parking_lot::Mutex;
use zizon_journal::SeededRng;
use zizon_orders::simulation::Step;
use zizon_table::{
    Applied, Caps, Change, Cursor, Durability, Engine, Feed, Item, Key, Op, Page, ReadError, Seq, ShardId, SkRange,
    Submitted, Table, Ticket, Token, WriteError, limits,
};

use super::record::Recorder;
use super::task::{At, turn};

/// How often the way to the table fails; 0: never, n: about once in n calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flaky {
    pub unknown: u64,
    pub refused: u64,
}

/// The port of one process.
pub(crate) struct SimTable {
    pub engine: Arc<Engine>,
    pub recorder: Arc<Mutex<Recorder>>,
    pub flaky: Arc<Mutex<Flaky>>,
    pub rng: Arc<SeededRng>,
    /// Where the task that is being polled stands.
    pub at: Arc<Mutex<Option<At>>>,
}

impl SimTable {
    fn hits(&self, one_in: u64) -> bool {
        one_in > 0 && self.rng.below(one_in) == 0
    }

    async fn run(&self, ops: Vec<Op>, durability: Durability) -> Result<Applied, WriteError> {
        self.stands(Step::of(&ops), false);
        turn().await;
        let flaky = *self.flaky.lock();
        if self.hits(flaky.refused) {
            self.recorder.lock().refused += 1;
            return Err(WriteError::Throttled);
        }
        let unknown = self.hits(flaky.unknown);
        self.recorder.lock().unknown += u64::from(unknown);
        if unknown && self.rng.below(2) == 0 {
            return Err(WriteError::Unknown);
        }
        let call = self.recorder.lock().write_begins(&ops);
        let answer = self.submit(ops, durability).await;
        self.recorder.lock().write_ends(call, &answer, durability, self.engine.visible());
        if unknown { Err(WriteError::Unknown) } else { answer }
    }

    fn stands(&self, step: Step, waits: bool) {
        *self.at.lock() = Some(At { step, waits });
    }

    async fn submit(&self, ops: Vec<Op>, durability: Durability) -> Result<Applied, WriteError> {
        let step = Step::of(&ops);
        let mut ops = Some(ops);
        let mut ticket: Option<Ticket> = None;
        poll_fn(|cx| {
            if let Some(ticket) = &mut ticket {
                return self.engine.poll(ticket, Some(cx.waker()));
            }
            match self.engine.submit(ops.take().unwrap_or_default(), durability, Some(cx.waker())) {
                Submitted::Done(answer) => Poll::Ready(answer),
                Submitted::Waiting(waiting) => {
                    ticket = Some(waiting);
                    self.stands(step, true);
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn read<T>(&self, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.stands(Step::Read, false);
        turn().await;
        if self.hits(self.flaky.lock().refused) {
            self.recorder.lock().refused += 1;
            return Err(ReadError::Unavailable("simulated".to_owned()));
        }
        read()
    }
}

#[async_trait]
impl Table for SimTable {
    fn caps(&self) -> Caps {
        Caps {
            transact: Some(u32::try_from(limits::MAX_PLAN_OPS).unwrap_or(u32::MAX)),
            feed: Feed::Total,
            max_item: limits::MAX_ITEM_BYTES,
            durable_barrier: true,
            ttl: false,
            global: false,
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        self.read(|| self.engine.get(key)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        let read = self.read(|| self.engine.get_many(keys)).await;
        if let Ok(items) = &read {
            self.recorder.lock().was_read(keys, items);
        }
        read
    }

    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        self.read(|| self.engine.query(pk, range, limit, reverse, cursor)).await
    }

    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError> {
        self.run(vec![op], durability).await
    }

    async fn transact(&self, ops: Vec<Op>, _: Option<Token>) -> Result<Applied, WriteError> {
        self.run(ops, Durability::Durable).await
    }

    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        self.read(|| self.engine.changes(shard, from, limit)).await
    }

    async fn wait_change(&self, _: Seq) {
        turn().await;
    }
}
