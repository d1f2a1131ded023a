//! Carrying out what was decided: an order with its stock, and what happens to it later.
//!
//! Two executors do the same over one port. *Atomic* writes the order and its stock in one plan; *stepwise* holds stock,
//! then puts the order, one item at a time, for tables without cheap plans (reference: data, sections 1.2 to 1.4).

mod atomic;
mod command;
pub(crate) mod load;
mod settle;
mod stepwise;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use zizon_base::ids::OrderId;
use zizon_journal::{Clock, Env, Rng};
use zizon_table::{Applied, Change, Cond, Item, Op, Path, ReadError, Seq, ShardId, Table, WriteError};

use crate::keys;
use crate::order::Damaged;
use crate::order::document::OrderDocument;
use crate::request::{Demand, Digest};
use crate::stock::allocate::Short;
use crate::stock::directory::Directory;

pub use command::{CommandError, Transitioned};
pub use load::LoadedOrder;
#[cfg(feature = "simulation")]
pub(crate) use settle::ACTIVE;
pub use settle::Settler;
pub use sweep::Sweeper;

/// Times an order looks for other shards before it asks the caller to come back.
const ATTEMPTS: usize = 8;
/// A fact whose effect cannot be: a fault of ours, or of the disk.
const MISMATCH: &str = "stock does not hold what the order reserved";

/// How orders are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Order and stock in one plan.
    Atomic,
    /// Hold, then put.
    Stepwise,
}

/// The protocol, and the ways to break it that tests and the simulation must catch. A program that carries the simulation, as
/// `zizon prove --self-test` does, has them all; no start of a role can choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// As it is meant.
    #[default]
    Sound,
    /// Holds are keyed by the order alone.
    #[cfg(any(test, feature = "simulation"))]
    NoNonce,
    /// The sweeper gives back without fencing the order.
    #[cfg(any(test, feature = "simulation"))]
    NoFence,
    /// The sweeper gives back under an old void without raising its generation.
    #[cfg(any(test, feature = "simulation"))]
    NoGenerationBump,
    /// Acknowledged before the order is durable.
    #[cfg(any(test, feature = "simulation"))]
    EarlyAcknowledge,
    /// A failed attempt gives units back without looking whether it still holds them.
    #[cfg(any(test, feature = "simulation"))]
    BlindCompensation,
    /// The settler brings a fact's effect without noting its position.
    #[cfg(any(test, feature = "simulation"))]
    NoPosition,
    /// Who asks for all that is left is refused.
    #[cfg(any(test, feature = "simulation"))]
    KeepTheLast,
}

macro_rules! broken {
    ($name:ident, $variant:ident) => {
        const fn $name(self) -> bool {
            #[cfg(any(test, feature = "simulation"))]
            return matches!(self, Self::$variant);
            #[cfg(not(any(test, feature = "simulation")))]
            return false;
        }
    };
}

impl Protocol {
    broken!(no_nonce, NoNonce);
    broken!(no_fence, NoFence);
    broken!(no_generation_bump, NoGenerationBump);
    broken!(early_acknowledge, EarlyAcknowledge);
    broken!(blind_compensation, BlindCompensation);
    broken!(no_position, NoPosition);
    broken!(keep_the_last, KeepTheLast);
}

/// An order that was decided on and has no stock yet.
#[derive(Debug, Clone)]
pub struct OrderPlan {
    /// Its id.
    pub id: OrderId,
    /// What the request means.
    pub digest: Digest,
    /// The document, without allocations.
    pub document: OrderDocument,
    /// Units per product; `line` points into the document.
    pub demand: Vec<Demand>,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The order stands and is durable.
    Created(OrderDocument),
    /// It stood already.
    Replayed(OrderDocument),
    /// Another order has this key.
    KeyReused,
    /// There is not enough; nothing was taken.
    Short(Vec<Short>),
}

/// Why it is not known, or not decided, what becomes of an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// It may have been written.
    #[error("the outcome of the write is not known")]
    Unknown,
    /// Refused for the moment; nothing was written.
    #[error("too much at once")]
    Overloaded,
    /// No space on the disk; nothing was written.
    #[error("the disk is full")]
    Full,
    /// The table is closed for good.
    #[error("the table is closed")]
    Closed,
    /// What is stored cannot be used.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The table refused the shape of the write, or could not be read: a mistake of ours.
    #[error("table: {0}")]
    Table(String),
}

impl From<WriteError> for ExecuteError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unknown => Self::Unknown,
            WriteError::Throttled | WriteError::Conflict => Self::Overloaded,
            WriteError::Full => Self::Full,
            WriteError::Closed | WriteError::Fenced { .. } => Self::Closed,
            error @ (WriteError::CondFailed { .. } | WriteError::TooLarge | WriteError::Invalid(_)) => {
                Self::Table(error.to_string())
            }
        }
    }
}

impl From<ReadError> for ExecuteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Throttled | ReadError::Unavailable(_) => Self::Overloaded,
            ReadError::Closed => Self::Closed,
            error @ (ReadError::Invalid(_) | ReadError::Corrupt(_) | ReadError::Trimmed { .. }) => {
                Self::Table(error.to_string())
            }
        }
    }
}

/// Writes orders and what happens to them.
#[derive(Clone)]
pub struct Executor {
    pub(crate) table: Arc<dyn Table>,
    pub(crate) directory: Directory,
    pub(crate) mode: Mode,
    pub(crate) protocol: Protocol,
    pub(crate) clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    /// Most operations of one plan.
    plan_ops: usize,
    last: Arc<AtomicU64>,
    pub(crate) settling: Arc<settle::Settling>,
    /// Effects of facts that a shard could not take.
    mismatches: Arc<AtomicU64>,
}

impl Executor {
    /// An executor over `table`. Atomic falls back to stepwise for an order with more products than a plan has room for.
    #[must_use]
    pub fn new(table: Arc<dyn Table>, directory: Directory, mode: Mode, env: &Env) -> Self {
        let plan_ops = table.caps().transact.map_or(0, |ops| ops as usize);
        Self {
            table,
            directory,
            mode,
            protocol: Protocol::Sound,
            clock: Arc::clone(&env.clock),
            rng: Arc::clone(&env.rng),
            plan_ops,
            last: Arc::default(),
            settling: Arc::new(settle::Settling::new(mode)),
            mismatches: Arc::default(),
        }
    }

    /// The same with a protocol of the simulation's choice, and room for so many operations in a plan.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub(crate) fn broken(self, protocol: Protocol, plan_ops: usize) -> Self {
        Self { protocol, plan_ops: self.plan_ops.min(plan_ops), ..self }
    }

    /// Places an order: with stock and durable, or not at all.
    ///
    /// # Errors
    /// See [`ExecuteError`]; only after `Unknown` may the order stand.
    pub async fn place(&self, plan: OrderPlan) -> Result<Placed, ExecuteError> {
        match self.mode {
            Mode::Atomic => self.place_atomic(plan).await,
            Mode::Stepwise => self.place_stepwise(plan).await,
        }
    }

    /// The last feed position this executor has seen.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// How often stock did not hold what an order had reserved. Any is a fault.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// Notes the position the feed had when the table was opened.
    pub fn note_seq(&self, seq: u64) {
        self.last.fetch_max(seq, Ordering::Relaxed);
    }

    /// Notes a position in the feed.
    pub(crate) fn saw(&self, applied: Applied) -> u64 {
        self.last.fetch_max(applied.seq.0, Ordering::Relaxed);
        applied.seq.0
    }

    /// Changes of the feed from `next` on. Where the feed no longer reaches back that far, from its first one: what was
    /// trimmed was given up by an operator's explicit command.
    pub(crate) async fn changes(&self, next: u64, limit: u32) -> Result<Vec<Change>, ReadError> {
        match self.table.changes(ShardId::ONLY, Seq(next), limit).await {
            Err(ReadError::Trimmed { first }) if first > next => {
                tracing::warn!(next, first, "the feed was trimmed; reading on from its first position");
                self.table.changes(ShardId::ONLY, Seq(first), limit).await
            }
            read => read,
        }
    }

    /// A name no other attempt has: time in milliseconds, then 60 random bits, in base32.
    fn nonce(&self) -> String {
        let mut random = [0; 8];
        self.rng.fill(&mut random);
        let mut nonce = zizon_base::base32::encode_u64(self.clock.wall_ms(), NONCE_TIME_DIGITS);
        nonce.push_str(&zizon_base::base32::encode_u64(u64::from_le_bytes(random), 12));
        nonce
    }
}

const NONCE_TIME_DIGITS: usize = 10;

/// When an attempt began, milliseconds.
pub(crate) fn nonce_time(nonce: &str) -> Option<u64> {
    let digits = nonce.get(..NONCE_TIME_DIGITS)?;
    digits
        .bytes()
        .try_fold(0u64, |time, byte| zizon_base::base32::digit(byte).map(|digit| time << 5 | u64::from(digit)))
}

/// What stands under an order's key.
pub(crate) enum Standing {
    Placed(Item),
    Void(i64),
    Nothing,
}

impl Standing {
    pub(crate) fn of(item: Option<Item>) -> Result<Self, Damaged> {
        let Some(item) = item else { return Ok(Self::Nothing) };
        match item.str(keys::STATUS) {
            Some(keys::PLACED) => Ok(Self::Placed(item)),
            Some(keys::VOID) => item.int(keys::GENERATION).map(Self::Void).ok_or(Damaged("void")),
            _ => Err(Damaged("order")),
        }
    }

    /// The condition under which a put replaces exactly this.
    pub(crate) fn cond(&self) -> Cond {
        match self {
            Self::Void(generation) => void_of(*generation),
            // A placed order is never written over: this never holds of one.
            Self::Placed(_) | Self::Nothing => Cond::NotExists,
        }
    }
}

/// Holds of a void of this generation.
pub(crate) fn void_of(generation: i64) -> Cond {
    Cond::All(vec![
        Cond::AttrEq(Path::attr(keys::STATUS), keys::VOID.into()),
        Cond::AttrEq(Path::attr(keys::GENERATION), generation.into()),
    ])
}

/// The order item of a plan whose allocations are in.
pub(crate) fn order_put(plan: &OrderPlan, nonce: Option<&str>, cond: Cond) -> Op {
    let expires = i64::try_from(plan.document.expires.millis()).unwrap_or(i64::MAX);
    let mut item = Item::new(keys::order(&plan.id))
        .with(keys::DOCUMENT, Bytes::from(plan.document.encode()))
        .with(keys::DIGEST, Bytes::copy_from_slice(&plan.digest.0))
        .with(keys::EXPIRES, expires)
        .with(keys::STATUS, keys::PLACED);
    if let Some(nonce) = nonce {
        item.set(keys::NONCE, nonce);
    }
    Op::Put { item, cond }
}

/// The answer to a plan whose key has an order already.
pub(crate) fn repeated(digest: &Digest, item: &Item) -> Result<Placed, ExecuteError> {
    let damaged = Damaged("order");
    let stored = item.bytes(keys::DIGEST).ok_or(damaged)?;
    if stored.as_ref() != digest.0 {
        return Ok(Placed::KeyReused);
    }
    let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(damaged)?)?;
    Ok(Placed::Replayed(document))
}
