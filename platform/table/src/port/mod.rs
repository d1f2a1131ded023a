//! The port: what domain code may ask of an item store.

pub(crate) mod bounds;
pub(crate) mod check;
pub mod mem;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::error::{ReadError, WriteError};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::op::Op;

/// Position in the feed. A plan has one position, so several changes may share it. Grows, with gaps; the
/// first one is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of the feed that is ordered in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShardId(pub u32);

impl ShardId {
    /// The only shard of a table whose feed is totally ordered.
    pub const ONLY: Self = Self(0);
}

/// Name of a plan, so that a backend that remembers names does it once. At most 36 bytes.
///
/// A help, not a promise: the embedded engine ignores it, DynamoDB forgets it after ten minutes. What must
/// happen once says so in its conditions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(pub String);

/// Where a query goes on. Opaque; good for the same query only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub Bytes);

/// How the feed is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// One order over everything; one shard.
    Total,
    /// Ordered per item only.
    PerItem,
}

/// What a backend can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// Most operations of a plan that [`Table::transact`] does cheaply; `None`: it has none.
    pub transact: Option<u32>,
    /// Order of the feed.
    pub feed: Feed,
    /// Largest item, bytes.
    pub max_item: usize,
    /// Whether [`Durability::Ordered`] answers before the write is durable and a later durable write covers it.
    pub durable_barrier: bool,
    /// Whether items can expire by themselves.
    pub ttl: bool,
    /// Whether other regions write the same table.
    pub global: bool,
}

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// May be answered once every later durable write of this table implies it. A crash may lose it.
    Ordered,
    /// Answered once it survives a crash.
    #[default]
    Durable,
}

/// A write that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Its position in the feed; for a plan that changed nothing, a position the feed had reached.
    pub seq: Seq,
}

/// Which sort keys a query covers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SkRange {
    /// All of the partition.
    #[default]
    All,
    /// Those that begin with these bytes.
    Prefix(Bytes),
    /// Those from `from` (included) up to `to` (not included; `None`: to the end).
    Range {
        /// First sort key.
        from: Bytes,
        /// Sort key after the last one.
        to: Option<Bytes>,
    },
}

/// A page of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The items, in order.
    pub items: Vec<Item>,
    /// Where to go on; `None` when the range is exhausted.
    pub next: Option<Cursor>,
}

/// One item's change, as the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Position of the plan that made it.
    pub seq: Seq,
    /// When the plan was taken, milliseconds since 1970 by the writer's clock.
    pub at_ms: u64,
    /// Which item.
    pub key: Key,
    /// The item as it is after the plan; `None` when it was deleted.
    pub new: Option<Item>,
}

/// An item store.
///
/// Every answer, a failed condition included, is about durable state: nothing a caller has been told is taken
/// back by a crash. A write whose future is dropped may or may not happen.
#[async_trait]
pub trait Table: Send + Sync + 'static {
    /// What this backend can do.
    fn caps(&self) -> Caps;

    /// The item, strongly consistent.
    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError>;

    /// The items, in the order of the keys, all from one moment where [`Caps::transact`] is given.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError>;

    /// A page of items of one partition, ordered by sort key, at most `limit` (and the bounds of
    /// [`crate::limits`]); all from one moment.
    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError>;

    /// Does one operation if its condition holds.
    async fn write(&self, op: Op, durability: Durability) -> Result<Applied, WriteError>;

    /// Does all operations if all conditions hold, otherwise none. Their keys are distinct.
    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError>;

    /// Changes of the shard at positions from `from` on, in order: about `limit` of them, a plan never split
    /// (so the next call starts at the last position + 1). Empty: nothing newer is durable.
    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError>;

    /// Waits until something at a position after `after` is durable, or the table is closed.
    async fn wait_change(&self, after: Seq);
}
