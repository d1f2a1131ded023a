//! The journal as its users see it, on the real file system and on one with faults.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod backup;
mod basics;
mod codec;
mod compression;
mod crash;
mod disk_full;
mod faults;
mod flips;
mod ownership;
mod support;
mod torn;
mod upgrade;
mod zeroing;
