//! Values every role speaks in: money, ids, time, problems, strict JSON. No I/O.
//!
//! Architecture invariant: nothing in this crate opens a file, a socket, a clock or a source of randomness.

pub mod base32;
pub mod config;
pub mod ids;
pub mod json;
pub mod language;
pub mod market;
pub mod money;
pub mod problem;
pub mod role;
pub mod spiffe;
pub mod time;
