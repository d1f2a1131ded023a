//! The engine on a simulated disk, beside the model that says what must be seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use zizon_journal::{Env, ManualClock, MemFs, SeededRng};

use super::plans::keys;
use crate::engine::{Engine, EngineOptions, InFlight, IndexStore, MemStore, OpenError, Submitted, Ticket};
use crate::{Applied, Change, Durability, Item, Key, MemTable, Op, Seq, ShardId, SkRange, Table, WriteError};

pub(super) type State = BTreeMap<Key, Item>;
type Effects = Vec<(Key, Option<Item>)>;

/// Options so small that segments roll and indexes are sealed within a test.
pub(super) fn small() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 2_000, hot_items: 4, ..EngineOptions::default() };
    options.journal.segment_bytes = 64 << 10;
    options.journal.max_frame_bytes = 32 << 10;
    options.journal.free_reserve_bytes = 0;
    options
}

pub(super) fn env(fs: &MemFs) -> Env {
    env_at(fs, &Arc::new(ManualClock::at(1_790_000_000_000)))
}

pub(super) fn env_at(fs: &MemFs, clock: &Arc<ManualClock>) -> Env {
    Env { clock: clock.clone(), rng: Arc::new(SeededRng::new(7)), fs: Arc::new(fs.clone()) }
}

pub(super) fn open(fs: &MemFs, store: &MemStore, options: &EngineOptions) -> Result<Engine, OpenError> {
    open_on(fs, Arc::new(store.clone()), options)
}

fn open_on(fs: &MemFs, store: Arc<dyn IndexStore>, options: &EngineOptions) -> Result<Engine, OpenError> {
    Engine::open(env(fs), Path::new("/t/journal"), store, options.clone(), &mut |_| {})
}

/// A plan whose caller has not been answered yet.
struct Waiting {
    ticket: Ticket,
    expected: Result<Applied, WriteError>,
    /// The newest plan this outcome rests on.
    rests_on: u64,
}

pub(super) struct World {
    pub fs: MemFs,
    store: Arc<dyn IndexStore>,
    options: EngineOptions,
    engine: Engine,
    in_flight: Option<InFlight>,
    model: MemTable,
    /// State after each plan, from the empty one on; the position is the sequence.
    states: Vec<State>,
    effects: Vec<Effects>,
    last_write: BTreeMap<Key, u64>,
    waiting: Vec<Waiting>,
    /// The newest plan that any answer rested on.
    told: u64,
}

/// What a world found wrong.
pub(super) type Verdict = Result<(), String>;

impl World {
    pub fn new(options: EngineOptions) -> Self {
        Self::on(Arc::new(MemStore::new()), options)
    }

    pub fn on(store: Arc<dyn IndexStore>, options: EngineOptions) -> Self {
        let fs = MemFs::new(64 << 20);
        let engine = open_on(&fs, store.clone(), &options).expect("an empty disk opens");
        Self {
            fs,
            store,
            options,
            engine,
            in_flight: None,
            model: MemTable::new(),
            states: vec![State::new()],
            effects: vec![Effects::new()],
            last_write: BTreeMap::new(),
            waiting: Vec::new(),
            told: 0,
        }
    }

    fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub fn submit(&mut self, ops: Vec<Op>) -> Verdict {
        let before: Vec<bool> =
            ops.iter().map(|op| self.states[self.states.len() - 1].contains_key(op.key())).collect();
        let expected = self.model.transact(ops.clone(), None).now_or_never().expect("the model answers at once");
        let looked_at = match &expected {
            Ok(_) => ops.len(),
            Err(WriteError::CondFailed { op, .. }) => op + 1,
            Err(_) => 0,
        };
        let seen = ops[..looked_at].iter().filter_map(|op| self.last_write.get(op.key())).copied().max();
        let changed = expected.is_ok() && self.note(&ops, &before);
        let rests_on = if changed { self.last() } else { seen.unwrap_or(0) };
        match self.engine.submit(ops, Durability::Durable, None) {
            Submitted::Done(answer) => self.answered(&answer, &expected, rests_on),
            Submitted::Waiting(ticket) => {
                self.waiting.push(Waiting { ticket, expected, rests_on });
                Ok(())
            }
        }
    }

    /// Notes what a plan that happened did; `false` when it changed nothing.
    fn note(&mut self, ops: &[Op], before: &[bool]) -> bool {
        let state: State = self.model.items().into_iter().map(|item| (item.key.clone(), item)).collect();
        let mut effects = Effects::new();
        for (op, existed) in ops.iter().zip(before) {
            let key = op.key();
            match op {
                Op::Check { .. } => {}
                Op::Delete { .. } if !existed => {}
                _ => effects.push((key.clone(), state.get(key).cloned())),
            }
        }
        if effects.is_empty() {
            return false;
        }
        let seq = self.states.len() as u64;
        for (key, _) in &effects {
            self.last_write.insert(key.clone(), seq);
        }
        self.states.push(state);
        self.effects.push(effects);
        true
    }

    fn answered(
        &mut self,
        answer: &Result<Applied, WriteError>,
        expected: &Result<Applied, WriteError>,
        rests_on: u64,
    ) -> Verdict {
        let same = match (answer, expected) {
            (Ok(_), Ok(_)) => true,
            (Err(answer), Err(expected)) => answer == expected,
            _ => false,
        };
        if !same {
            return Err(format!("answered {answer:?}, the model says {expected:?}"));
        }
        self.told = self.told.max(rests_on);
        Ok(())
    }

    pub fn begin(&mut self) {
        if self.in_flight.is_none() {
            self.in_flight = self.engine.begin_sync();
        }
    }

    pub fn finish(&mut self) -> Verdict {
        if let Some(mut batch) = self.in_flight.take() {
            let outcome = batch.run();
            self.engine.finish(outcome);
        }
        self.poll()?;
        self.check_reads()
    }

    pub fn sync(&mut self) -> Verdict {
        self.finish()?;
        self.begin();
        self.finish()
    }

    pub fn maintain(&mut self) -> Verdict {
        while self.engine.maintain().map_err(|error| error.to_string())? {}
        self.check_reads()
    }

    pub fn seal(&mut self) {
        self.engine.seal();
    }

    fn poll(&mut self) -> Verdict {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.engine.poll(&mut waiting.ticket, None) {
                Poll::Ready(answer) => self.answered(&answer, &waiting.expected, waiting.rests_on)?,
                Poll::Pending => self.waiting.push(waiting),
            }
        }
        Ok(())
    }

    /// What readers see is the state at the visible sequence, whole.
    pub fn check_reads(&self) -> Verdict {
        let visible = self.engine.visible();
        let state =
            self.states.get(usize::try_from(visible).unwrap_or(0)).ok_or("visible lies ahead of what was written")?;
        let keys = keys();
        let read = self.engine.get_many(&keys).map_err(|error| error.to_string())?;
        for (key, item) in keys.iter().zip(&read) {
            if state.get(key) != item.as_ref() {
                return Err(format!("at {visible}, {key} reads {item:?}, should be {:?}", state.get(key)));
            }
        }
        for pk in 0..3_u8 {
            let pk = vec![b'p', pk];
            let page = self.engine.query(&pk, SkRange::All, 100, false, None).map_err(|error| error.to_string())?;
            let should: Vec<&Item> = state.values().filter(|item| item.key.pk == pk).collect();
            if page.items.iter().collect::<Vec<_>>() != should {
                return Err(format!("at {visible}, partition {pk:?} reads {:?}", page.items));
            }
        }
        Ok(())
    }

    /// The feed tells all plans up to the visible one.
    pub fn check_feed(&self) -> Verdict {
        let visible = self.engine.visible();
        let (mut seen, mut from) = (0, Seq(0));
        loop {
            let changes = self.engine.changes(ShardId::ONLY, from, 7).map_err(|error| error.to_string())?;
            let Some(last) = changes.last() else { break };
            from = last.seq.next();
            for plan in changes.chunk_by(|a, b| a.seq == b.seq) {
                seen += 1;
                let told = |change: &Change| (change.key.clone(), change.new.clone());
                let told: Effects = plan.iter().map(told).collect();
                if plan[0].seq != Seq(seen) || told != self.effects[usize::try_from(seen).unwrap_or(0)] {
                    return Err(format!("plan {seen} is told as {told:?} at {}", plan[0].seq));
                }
            }
        }
        if seen == visible { Ok(()) } else { Err(format!("the feed ends at {seen} instead of {visible}")) }
    }

    /// Closes and opens again: nothing may be lost.
    pub fn restart(&mut self) -> Verdict {
        self.finish()?;
        self.engine.close();
        self.poll()?;
        let last = self.last();
        self.reopen()?;
        if self.engine.visible() != last {
            return Err(format!("a restart came back at {} instead of {last}", self.engine.visible()));
        }
        self.check_reads()?;
        self.check_feed()
    }

    /// Loses power and opens again: what was told must be there, in the order it was written.
    pub fn crash(&mut self, seed: u64) -> Verdict {
        self.poll()?;
        self.fs = self.fs.crash(&SeededRng::new(seed));
        self.in_flight = None;
        self.waiting.clear();
        self.reopen()?;
        let visible = self.engine.visible();
        if visible < self.told {
            return Err(format!("plan {} was told, after the crash the table is at {visible}", self.told));
        }
        self.check_reads()?;
        self.rewind(visible);
        self.check_feed()
    }

    fn reopen(&mut self) -> Verdict {
        self.engine =
            open_on(&self.fs, self.store.clone(), &self.options).map_err(|error| format!("does not open: {error}"))?;
        Ok(())
    }

    /// The model goes on from the state the crash left.
    fn rewind(&mut self, visible: u64) {
        let keep = usize::try_from(visible).unwrap_or(0) + 1;
        self.states.truncate(keep);
        self.effects.truncate(keep);
        self.last_write.retain(|_, seq| *seq <= visible);
        // Deletes and overwritten keys whose last write was lost rest on an older plan than is known here;
        // leaving them out only makes the check weaker.
        self.model = MemTable::new();
        for item in self.states[keep - 1].values() {
            let put = Op::Put { item: item.clone(), cond: crate::Cond::Always };
            let put = self.model.write(put, Durability::Durable).now_or_never();
            put.expect("the model answers at once").expect("a put of an item that was there");
        }
    }
}
