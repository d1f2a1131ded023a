//! An order: what is stored of it, how it is shown, and what may happen to it. Pure.

pub mod document;
pub mod fact;
pub mod render;
pub mod state;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use wire::Damaged;
