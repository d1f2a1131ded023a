//! Starting the real binary and talking to it as a stranger would.
//!
//! Every test has a platform of its own: a temporary directory, free ports, its own keys.

pub mod client;
pub mod load;
pub mod platform;
pub mod wait;

pub use client::{Answer, Client};
pub use load::{Load, Stock};
pub use platform::Platform;
pub use wait::{eventually, eventually_within};
