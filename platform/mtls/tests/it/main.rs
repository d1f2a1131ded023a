//! Real sockets, an authority in memory, peers that break one rule each.
#![allow(clippy::unwrap_used, missing_docs)]

mod admission;
mod authz;
mod authz_model;
mod client_side;
mod fake_issuer;
mod raw;
mod registry;
mod resumption;
mod rotation;
mod support;
mod workload_api;
