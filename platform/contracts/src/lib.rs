//! What roles say to each other: requests, responses, events, and where a local platform keeps its things.
//!
//! Architecture invariant: types and their encoding only. A role's behaviour, and any I/O, is elsewhere.

pub mod catalog;
pub mod fsck;
pub mod headers;
pub mod orders;
pub mod paths;
pub mod restored;
pub mod supervisor;
