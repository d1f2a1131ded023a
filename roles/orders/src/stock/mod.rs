//! Stock: how much there is of a product, split over counters that have one owner each.

pub mod allocate;
pub mod directory;
pub mod operator;
pub mod shard;
