//! Prices: this role's own copy of the catalog, and what an order costs by it.

pub mod feed;
pub mod pricing;
pub mod store;
mod told;
pub mod view;

pub use view::PriceView;
