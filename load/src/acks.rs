//! The file of acknowledged orders.
//!
//! One JSON line per 201, replays included. A line that was fsynced is an acknowledgement the platform must keep;
//! [`Writer`] counts only those. The file is as sensitive as the orders in it: `token` reads the
//! order. It is created with mode 0600.

mod line;
mod reader;
mod writer;

pub use line::AckLine;
pub use reader::Reader;
pub use writer::{Ack, Writer};
