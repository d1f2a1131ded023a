//! Taking a plan: conditions, effects, frame. Everything here happens under the engine's lock and ends in a
//! buffer in memory.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::task::{Poll, Waker};

use zizon_journal::AppendError;

use super::core::{Core, Effect, Outcome, Seen, Stop, Submitted, Ticket};
use super::metrics::{add, count};
use super::state::Engine;
use crate::codec::PlanWriter;
use crate::index::{IndexError, index_key};
use crate::model::error::{ReadError, WriteError};
use crate::model::eval::{self, Verdict, invalid};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::MAX_PLAN_BYTES;
use crate::model::op::Op;
use crate::port::{Applied, Durability, Seq};

/// A decision about a plan, before it is known when it may be told.
struct Decision {
    outcome: Outcome,
    /// It rests on states up to this sequence.
    rests_on: u64,
}

impl Engine {
    /// Takes a plan: all or nothing, by its conditions. `waker` is woken when the outcome is certain.
    pub fn submit(&self, ops: Vec<Op>, durability: Durability, waker: Option<&Waker>) -> Submitted {
        if let Err(error) = eval::validate(&ops) {
            return Submitted::Done(Err(error));
        }
        let mut core = self.core.lock();
        if let Err(error) = self.admit(&core) {
            return Submitted::Done(Err(error));
        }
        let decision = match self.decide(&mut core, ops) {
            Ok(decision) => decision,
            Err(error) => {
                drop(core);
                return Submitted::Done(Err(self.refuse(error)));
            }
        };
        self.answer(core, decision, durability, waker)
    }

    /// The outcome of a ticket, if it is certain; otherwise `waker` is woken when it is.
    pub fn poll(&self, ticket: &mut Ticket, waker: Option<&Waker>) -> Poll<Result<Applied, WriteError>> {
        if self.visible() >= ticket.seq {
            return Poll::Ready(self.tell(&ticket.outcome));
        }
        let mut core = self.core.lock();
        // Read again: the lock orders this after whatever made it visible or stopped the engine.
        if self.visible() >= ticket.seq {
            drop(core);
            return Poll::Ready(self.tell(&ticket.outcome));
        }
        if matches!(core.stop, Some(Stop::JournalFailed | Stop::IndexDamaged)) {
            count(&self.counters.unknown);
            return Poll::Ready(Err(WriteError::Unknown));
        }
        if let Some(waker) = waker {
            ticket.waiter = Some(core.waiters.renew(ticket.waiter, ticket.seq, waker));
        }
        Poll::Pending
    }

    fn admit(&self, core: &Core) -> Result<(), WriteError> {
        if core.stop.is_some() {
            count(&self.counters.refused_closed);
            return Err(WriteError::Closed);
        }
        let in_flight = core.pending_plans.len().max(core.waiters.len());
        if in_flight >= self.options.max_in_flight || core.pending_bytes >= self.options.max_pending_bytes {
            count(&self.counters.throttled);
            return Err(WriteError::Throttled);
        }
        if self.stalled.load(Relaxed) {
            let full = self.index_full.load(Relaxed);
            count(if full { &self.counters.refused_full } else { &self.counters.throttled });
            return Err(if full { WriteError::Full } else { WriteError::Throttled });
        }
        Ok(())
    }

    fn decide(&self, core: &mut Core, ops: Vec<Op>) -> Result<Decision, PlanError> {
        let visible = self.visible();
        let mut rests_on = 0;
        let mut current: Vec<Current> = Vec::with_capacity(ops.len());
        for (at, op) in ops.iter().enumerate() {
            let (seen, seq) = self.look_up(core, op.key(), visible)?;
            rests_on = rests_on.max(seq);
            let exists = !matches!(seen, Seen::Absent);
            let decode = exists && (op.cond().needs_attrs() || matches!(op, Op::Patch { .. }));
            if decode {
                let item = self.decode(op.key(), &seen)?;
                if !op.cond().holds(item.as_deref()) {
                    let seen = item.map_or(Seen::Absent, Seen::Item);
                    return Ok(Decision::failed(at, op.key(), seen, rests_on));
                }
                current.push(item.map_or(Current::Absent, Current::Read));
            } else {
                if !holds_undecoded(op, &seen) {
                    return Ok(Decision::failed(at, op.key(), seen, rests_on));
                }
                current.push(if exists { Current::Unread } else { Current::Absent });
            }
        }
        match effects(ops, &current) {
            Ok(effects) if effects.is_empty() => {
                let seq = rests_on.max(visible);
                Ok(Decision { outcome: Outcome::Applied(Applied { seq: Seq(seq) }), rests_on })
            }
            Ok(effects) => self.commit(core, effects),
            Err(error) => Ok(Decision { outcome: Outcome::Refused(error), rests_on }),
        }
    }

    /// The newest state of an item and the plan it comes from (0: durable).
    fn look_up(&self, core: &mut Core, key: &Key, visible: u64) -> Result<(Seen, u64), PlanError> {
        if let Some(head) = core.heads.get(key) {
            count(&self.counters.hot_hits);
            let seq = if head.seq > visible { head.seq } else { 0 };
            return Ok((head.item.clone().map_or(Seen::Absent, Seen::Item), seq));
        }
        count(&self.counters.index_reads);
        index_key(key, &mut core.scratch);
        let slot = self.index.get(&core.scratch, visible).map_err(PlanError::Index)?;
        Ok((slot.map_or(Seen::Absent, Seen::Slot), 0))
    }

    fn decode(&self, key: &Key, seen: &Seen) -> Result<Option<Arc<Item>>, PlanError> {
        match seen {
            Seen::Absent => Ok(None),
            Seen::Item(item) => Ok(Some(item.clone())),
            Seen::Slot(slot) => {
                self.item_of_slot(key, slot).map(|item| Some(Arc::new(item))).map_err(PlanError::Stored)
            }
        }
    }

    fn commit(&self, core: &mut Core, effects: Vec<Planned>) -> Result<Decision, PlanError> {
        let mut images = Vec::with_capacity(effects.len());
        let mut plan = PlanWriter::begin(&mut core.scratch, effects.len());
        for effect in &effects {
            images.push(match &effect.item {
                Some(item) => Some(plan.put(item)),
                None => {
                    plan.delete(&effect.key);
                    None
                }
            });
        }
        if plan.effect_bytes() > MAX_PLAN_BYTES {
            return Err(PlanError::Refused(WriteError::TooLarge));
        }
        let journal = core.journal.as_mut().ok_or(PlanError::Refused(WriteError::Closed))?;
        let appended = journal.append(&core.scratch).map_err(PlanError::Append)?;
        let (seq, bytes) = (appended.seq.0, core.scratch.len());
        self.journal_full.store(false, Relaxed);
        count(&self.counters.plans);
        add(&self.counters.effects, effects.len());
        add(&self.counters.plan_bytes, bytes);
        for (effect, image) in effects.into_iter().zip(images) {
            let image_bytes = image.map_or(0, |(_, len)| len);
            let located = image
                .filter(|(_, len)| *len > self.options.inline_bytes)
                .and_then(|(start, len)| appended.location.slice(u32::try_from(start).ok()?, u32::try_from(len).ok()?));
            let hot = effect.patched && image_bytes <= self.options.hot_item_bytes;
            core.heads.set(&effect.key, seq, effect.item.clone(), hot);
            core.pending.push_back(Effect { seq, key: effect.key, item: effect.item, located });
        }
        core.last = seq;
        core.pending_plans.push_back((seq, bytes));
        core.pending_bytes += bytes as u64;
        self.counters.pending_plans.store(core.pending_plans.len(), Relaxed);
        Ok(Decision { outcome: Outcome::Applied(Applied { seq: Seq(seq) }), rests_on: seq })
    }

    fn answer(
        &self,
        mut core: parking_lot::MutexGuard<'_, Core>,
        decision: Decision,
        durability: Durability,
        waker: Option<&Waker>,
    ) -> Submitted {
        if matches!(decision.outcome, Outcome::CondFailed { .. }) {
            count(&self.counters.conditions_failed);
        }
        let written = matches!(decision.outcome, Outcome::Applied(_));
        let early = if written { self.answers_early(durability) } else { self.refuses_early() };
        let at_once = decision.rests_on <= self.visible() || early;
        let waiter = match waker {
            Some(waker) if !at_once => Some(core.waiters.add(decision.rests_on, waker.clone())),
            _ => None,
        };
        self.counters.waiting.store(core.waiters.len(), Relaxed);
        let wake_sync = !core.pending_plans.is_empty();
        drop(core);
        if wake_sync {
            self.work.notify_one();
        }
        if at_once {
            return Submitted::Done(self.tell(&decision.outcome));
        }
        Submitted::Waiting(Ticket { seq: decision.rests_on, outcome: decision.outcome, waiter })
    }

    #[cfg(not(any(test, feature = "simulation")))]
    fn answers_early(&self, durability: Durability) -> bool {
        durability == Durability::Ordered
    }

    #[cfg(any(test, feature = "simulation"))]
    fn answers_early(&self, durability: Durability) -> bool {
        durability == Durability::Ordered || self.options.known_bad_acknowledge_early
    }

    #[cfg(not(any(test, feature = "simulation")))]
    const fn refuses_early(&self) -> bool {
        false
    }

    #[cfg(any(test, feature = "simulation"))]
    const fn refuses_early(&self) -> bool {
        self.options.known_bad_refuse_early
    }

    fn tell(&self, outcome: &Outcome) -> Result<Applied, WriteError> {
        match outcome {
            Outcome::Applied(applied) => Ok(*applied),
            Outcome::Refused(error) => Err(error.clone()),
            Outcome::CondFailed { op, key, seen } => match self.decode(key, seen) {
                Ok(item) => Err(WriteError::CondFailed { op: *op, existing: item.map(Arc::unwrap_or_clone) }),
                Err(error) => Err(self.refuse(error)),
            },
        }
    }

    fn refuse(&self, error: PlanError) -> WriteError {
        match error {
            PlanError::Refused(error) => error,
            PlanError::Append(AppendError::Full) => {
                self.journal_full.store(true, Relaxed);
                count(&self.counters.refused_full);
                WriteError::Full
            }
            PlanError::Append(AppendError::BatchFull) => {
                count(&self.counters.throttled);
                WriteError::Throttled
            }
            PlanError::Append(AppendError::TooLarge { .. }) => WriteError::TooLarge,
            PlanError::Append(AppendError::Poisoned(_)) => {
                count(&self.counters.refused_closed);
                WriteError::Closed
            }
            PlanError::Index(error @ (IndexError::Damaged(_) | IndexError::Foreign(_))) => {
                self.index_failed(&error);
                count(&self.counters.refused_closed);
                WriteError::Closed
            }
            // A plan looks at the newest there is, under the lock that moves it: it never falls behind.
            PlanError::Index(error) => {
                self.index_failed(&error);
                count(&self.counters.throttled);
                WriteError::Throttled
            }
            // The disk did not answer; what is stored may be whole.
            PlanError::Stored(error @ ReadError::Unavailable(_)) => {
                tracing::warn!(error = %error, "a stored item could not be read, the write that needs it is refused");
                count(&self.counters.throttled);
                WriteError::Throttled
            }
            PlanError::Stored(error) => {
                tracing::error!(error = %error, "a stored item cannot be read, the write that needs it is refused");
                invalid(format!("stored item cannot be read: {error}"))
            }
        }
    }
}

impl Decision {
    fn failed(op: usize, key: &Key, seen: Seen, rests_on: u64) -> Self {
        Self { outcome: Outcome::CondFailed { op, key: key.clone(), seen }, rests_on }
    }
}

/// Why no decision was reached.
enum PlanError {
    Refused(WriteError),
    Append(AppendError),
    Index(IndexError),
    Stored(ReadError),
}

/// An effect before it has a sequence.
struct Planned {
    key: Key,
    item: Option<Arc<Item>>,
    patched: bool,
}

/// Whether the condition holds, for one that does not look into the item.
fn holds_undecoded(op: &Op, seen: &Seen) -> bool {
    match seen {
        Seen::Absent => op.cond().holds(None),
        Seen::Item(item) => op.cond().holds(Some(item)),
        Seen::Slot(_) => op.cond().holds(Some(&UNREAD)),
    }
}

/// What a key holds before an operation. Decoding is the dear part, so an item is read only where its attributes matter.
enum Current {
    Absent,
    Unread,
    Read(Arc<Item>),
}

impl Current {
    fn item(&self) -> Option<&Item> {
        match self {
            Self::Absent => None,
            Self::Unread => Some(&UNREAD),
            Self::Read(item) => Some(item),
        }
    }
}

/// Any item, for questions that only ask whether there is one.
static UNREAD: LazyLock<Item> = LazyLock::new(|| Item::new(Key::new("", "")));

fn effects(ops: Vec<Op>, current: &[Current]) -> Result<Vec<Planned>, WriteError> {
    let mut effects = Vec::with_capacity(ops.len());
    for (op, current) in ops.into_iter().zip(current) {
        let patched = matches!(op, Op::Patch { .. });
        let key = op.key().clone();
        match eval::apply(op, current.item())? {
            Verdict::Nothing => {}
            Verdict::Put(item) => effects.push(Planned { key, item: Some(Arc::new(item)), patched }),
            Verdict::Delete => effects.push(Planned { key, item: None, patched: false }),
        }
    }
    Ok(effects)
}
