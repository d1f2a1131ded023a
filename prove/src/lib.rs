//! Proofs anyone can run: no unit is sold twice, one key has one answer, nothing acknowledged is lost.
//!
//! Each proof has three parts. It *does* something to a platform of real processes (`oversell`, `replay`, `durability`), notes what was
//! seen, and puts the observations before pure functions ([`check`]) that say what they show. The [`control`]s break the evidence on
//! purpose, in real processes and in observations, and must be caught: a check that cannot fail shows nothing.
//!
//! A platform of the proof's own ([`platform`]) lives in a temporary directory and is ended and removed on every path.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_precision_loss))]

mod buyer;
pub mod check;
pub mod control;
pub mod durability;
mod error;
mod fsck;
pub mod oversell;
pub mod platform;
pub mod proof;
pub mod random;
pub mod replay;
pub mod report;
pub mod session;
pub mod timeline;

pub use error::ProveError;

/// Environment variable that names the proof's process to the platform it starts, so that an orphan stops.
pub const PROVER_PID_ENV: &str = "ZIZON_PROVER_PID";
