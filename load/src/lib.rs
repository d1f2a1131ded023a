//! Open-loop order generator and the verifier of acknowledged orders.
//!
//! [`run`] sends orders on a schedule fixed before the first of them ([`schedule`]): a request that
//! finds no free connection waits in line, and its latency counts from the time it was meant to start.
//! A server that stalls therefore shows its stall, which a generator that politely waits would hide
//! (coordinated omission). [`Rate::Max`] is the other question, asked as a closed loop: how many can
//! it take with one request in flight per connection?
//!
//! With an acknowledgement file ([`acks`]) every 201 leaves one fsynced line, and [`verify`] later
//! asks the platform for each of them: there, equal, once.
//!
//! Both block the calling thread and drive one single-threaded runtime of their own, because the
//! generator shares the machine with what it measures: its cost per request is in the report.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod acks;
pub mod client;
mod connection;
mod cpu;
mod digest;
mod engine;
mod error;
mod keys;
mod options;
mod pacer;
mod patience;
mod product;
mod report;
mod schedule;
mod tally;
mod target;
mod template;
mod unsettled;
mod verify;
mod worker;

pub use digest::order_digest;
pub use engine::run;
pub use error::{LoadError, VerifyError};
pub use options::{DEFAULT_PRICE, DEFAULT_PRODUCT, Keys, OrdersLoad, Rate};
pub use product::Offer;
pub use report::{Progress, Report};
pub use schedule::Schedule;
pub use unsettled::Unsettled;
pub use verify::{Verify, VerifyProgress, VerifyReport, verify};
