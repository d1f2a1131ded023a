//! The embedded engine: a synchronous state machine over a journal and an index.
//!
//! ```text
//! submit      conditions against index + heads -> effects -> journal buffer   (caller's thread, one short lock)
//! begin_sync  takes everything buffered                                       (lock)
//! run         write + one fdatasync                                           (no lock; the next batch fills)
//! finish      apply to the index                                              (no lock)
//!             make visible, wake who waits                                    (lock)
//! ```
//! The journal is the truth; the index is a view that lags by at most the batches in flight. Readers see what
//! is durable and applied, at one sequence. [`Engine`] has no threads: [`crate::EmbeddedTable`] adds two, a
//! simulation calls the steps itself.

mod core;
mod feed;
mod heads;
mod metrics;
mod open;
mod options;
mod plan;
mod progress;
mod read;
mod state;
mod store;
mod sync;
mod table;
mod threads;

#[cfg(test)]
mod tests;

pub use self::core::{Submitted, Ticket};
pub use metrics::{EngineMetrics, EngineStatus, Histogram};
pub use open::{OpenError, OpenProgress};
pub(crate) use open::{apply_frame, flush};
pub use options::EngineOptions;
pub use progress::log_progress;
pub use state::Engine;
pub use store::{IndexStore, LsmStore, MemStore};
pub use sync::{Finished, InFlight};
pub use table::EmbeddedTable;
