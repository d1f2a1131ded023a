//! This role's copy of the catalog: what is sold, where, for how much. Filled by catalog's feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use zizon_base::ids::Sku;
use zizon_base::market::Market;
use zizon_base::money::MAX_AMOUNT;
use zizon_contracts::catalog::FeedProduct;

const MARKETS: usize = Market::ALL.len();

/// A product as an order needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductView {
    names: [Box<str>; MARKETS],
    prices: [Option<i64>; MARKETS],
    published: bool,
}

const fn index(market: Market) -> usize {
    match market {
        Market::Kr => 0,
        Market::Jp => 1,
        Market::Us => 2,
    }
}

impl ProductView {
    /// What the feed said. A price that is no amount of money is no price.
    #[must_use]
    pub fn from_feed(product: &FeedProduct) -> Self {
        let name = |market: Market| {
            let names = &product.name;
            let found = names.get(market.locale()).or_else(|| names.get("en")).or_else(|| names.values().next());
            found.map_or(product.sku.as_str(), String::as_str).into()
        };
        let price =
            |market: Market| product.prices.get(&market).copied().filter(|price| (0..=MAX_AMOUNT).contains(price));
        Self { names: Market::ALL.map(name), prices: Market::ALL.map(price), published: product.published }
    }

    /// Its name in the market's language.
    #[must_use]
    pub fn name(&self, market: Market) -> &str {
        &self.names[index(market)]
    }

    /// Its price in minor units; `None` where it is not sold.
    #[must_use]
    pub const fn price(&self, market: Market) -> Option<i64> {
        if self.published { self.prices[index(market)] } else { None }
    }
}

/// All products, with the moment at which catalog last said that this is all.
#[derive(Debug, Default)]
pub struct PriceView {
    products: RwLock<HashMap<Sku, Arc<ProductView>>>,
    /// Monotonic nanoseconds plus one; 0: never.
    confirmed: AtomicU64,
}

impl PriceView {
    /// Sets or replaces a product.
    pub fn put(&self, product: &FeedProduct) {
        self.products.write().insert(product.sku.clone(), Arc::new(ProductView::from_feed(product)));
    }

    /// Removes a product.
    pub fn remove(&self, sku: &Sku) {
        self.products.write().remove(sku);
    }

    /// The product, if there is one.
    #[must_use]
    pub fn get(&self, sku: &Sku) -> Option<Arc<ProductView>> {
        self.products.read().get(sku).cloned()
    }

    /// Every product's SKU.
    #[must_use]
    pub fn skus(&self) -> Vec<Sku> {
        self.products.read().keys().cloned().collect()
    }

    /// Products there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.products.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Catalog has said at `now_ns` that everything is in.
    pub fn confirm(&self, now_ns: u64) {
        self.confirmed.store(now_ns.saturating_add(1), Ordering::Relaxed);
    }

    /// Nanoseconds since the last confirmation; `None`: never in this process.
    #[must_use]
    pub fn age_ns(&self, now_ns: u64) -> Option<u64> {
        match self.confirmed.load(Ordering::Relaxed) {
            0 => None,
            at => Some(now_ns.saturating_sub(at - 1)),
        }
    }
}
