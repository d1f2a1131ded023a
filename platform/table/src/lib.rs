//! The item-store port, its embedded engine over journal and LSM index, and the contract tests.
//!
//! Domain code is written once, against the port [`Table`]: strongly consistent reads of items, conditional
//! writes of one item, all-or-nothing plans over several where [`Caps::transact`] allows them, and a feed of
//! changes. [`MemTable`] is the model that says what each call means; [`EmbeddedTable`] keeps it on the disk
//! of this machine; [`contract`] holds every implementation to the same 160 cases.
//!
//! ```
//! use zizon_table::{Cond, EmbeddedTable, EngineOptions, Item, Key, Op, Patch, Path, Table, WriteError};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let table = EmbeddedTable::open(dir.path(), EngineOptions::default(), zizon_journal::Env::real())?;
//! let shelf = Key::new("S#PROD001", "S");
//! let stock = Item::new(shelf.clone()).with("q", 3);
//! table.transact(vec![Op::Put { item: stock, cond: Cond::NotExists }], None).await?;
//!
//! // An order and the stock it takes: both or neither.
//! let buy = |id: &'static str, n: i64| {
//!     let order = Item::new(Key::new("U#1", id)).with("units", n);
//!     let take = vec![Patch::AddInt(Path::attr("q"), -n)];
//!     vec![
//!         Op::Put { item: order, cond: Cond::NotExists },
//!         Op::Patch { key: shelf.clone(), patches: take, cond: Cond::AttrGe(Path::attr("q"), n) },
//!     ]
//! };
//! table.transact(buy("O#1", 2), None).await?;
//! match table.transact(buy("O#2", 2), None).await {
//!     Err(WriteError::CondFailed { op: 1, existing }) => assert_eq!(existing.and_then(|item| item.int("q")), Some(1)),
//!     other => panic!("two units are not there: {other:?}"),
//! }
//! table.close().await;
//! # Ok(()) }
//! ```
//!
//! # What the embedded engine promises
//! - An answer, a refusal included, is about durable state: nothing that was told is taken back by a crash.
//! - A plan is one frame of the journal; the journal is the truth. The index is a view: it is caught up after a
//!   crash, rebuilt when it is lost or damaged, and refused when it is ahead.
//! - Reads see durable state, all keys of a call at one sequence, and never wait for a write.
//! - Damage is reported, never served. A failed sync stops the engine; a full disk refuses writes before
//!   anything is written, and passes by itself.
//! - Everything is bounded: plans and bytes in flight, memory of the index, cache, pages.
//!
//! # Why journal and index
//! One log only. A store with a log of its own below ours would write every byte twice, and its log could
//! neither be followed nor verified on its own. Items above [`EngineOptions::inline_bytes`] are stored once, in
//! the journal, and the index names their place; smaller ones (counters, which change all the time) are in the
//! index itself, because their place would cost as much as they do and a look-up one more read.

pub mod codec;
pub mod contract;
mod engine;
mod fault;
mod fsck;
mod index;
mod model;
mod port;

pub use engine::{
    EmbeddedTable, Engine, EngineMetrics, EngineOptions, EngineStatus, Finished, Histogram, InFlight, IndexStore,
    LsmStore, MemStore, OpenError, OpenProgress, Submitted, Ticket, log_progress,
};
pub use fault::{Fault, FaultTable};
pub use fsck::{
    CheckState, Difference, FsckError, FsckHooks, FsckOptions, FsckProgress, FsckReport, FsckStep, OnlineChecks, Pace,
    fsck,
};
pub use index::{Index, IndexError, IndexRange, IndexState, LsmIndex, LsmOptions, MemDisk, MemIndex};
pub use model::cond::Cond;
pub use model::error::{ReadError, WriteError};
pub use model::eval::{self, Verdict};
pub use model::item::Item;
pub use model::key::Key;
pub use model::limits;
pub use model::op::{Op, Patch};
pub use model::path::{Name, Path};
pub use model::value::Value;
pub use port::mem::MemTable;
pub use port::{Applied, Caps, Change, Cursor, Durability, Feed, Page, Seq, ShardId, SkRange, Table, Token};
