//! The issuer from outside: real sockets, real processes, real time.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod callers;
mod certificates;
mod common;
mod role;
mod scale;
mod workload_api;
