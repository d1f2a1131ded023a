//! Behaviour of the whole platform, one story per test.

mod backup;
mod backup_ended;
mod cli;
mod configuration;
mod descriptors;
mod durability;
mod framing;
mod frozen;
mod identity;
mod lifecycle;
mod limits;
mod load;
mod operator;
mod order_api;
mod prove;
mod races;
mod restored_catalog;
mod start;
mod storage;
mod telemetry;
