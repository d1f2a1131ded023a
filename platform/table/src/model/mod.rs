//! The values of the port: keys, items, conditions, operations, and what they mean.

pub mod cond;
pub mod error;
pub mod eval;
pub mod item;
pub mod key;
pub mod limits;
pub mod op;
pub mod path;
pub mod value;
