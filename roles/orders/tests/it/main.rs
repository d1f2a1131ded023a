//! Orders and stock as their users see them, in one binary: each would be optimised and linked with everything below.
#![allow(clippy::unwrap_used)]

mod crash;
mod expiry;
mod faults;
mod life;
mod place;
mod role;
mod shop;
