//! A shop on any table, with prices and a clock that the test sets. Only with feature `testing`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;
use zizon_base::ids::{IdKey, Sku};
use zizon_base::market::Market;
use zizon_contracts::catalog::FeedProduct;
use zizon_contracts::orders::StockView;
use zizon_journal::{Clock, Env, ManualClock, SeededRng};
use zizon_table::Table;
use zizon_telemetry::Metrics;

use crate::background::expiry::Expiry;
use crate::execute::{Settler, Sweeper};
use crate::keyring::Keyring;
use crate::metrics::OrderMetrics;
use crate::prices::PriceView;
use crate::service::{OrdersService, Parts, ShopRules};
use crate::stock::shard;

/// Where test clocks begin: 2026-11-22T04:05:06.789Z.
pub const START_MS: u64 = 1_795_320_306_789;

/// A shop without a listener.
pub struct TestShop {
    /// The shop.
    pub service: Arc<OrdersService>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its prices.
    pub prices: Arc<PriceView>,
}

impl TestShop {
    /// A shop on `table` whose users' keys are in `dir`. Ids are the same for every shop.
    ///
    /// # Panics
    /// When `dir` cannot be used.
    #[must_use]
    pub fn new(table: Arc<dyn Table>, dir: &Path, rules: ShopRules) -> Self {
        let shop = Self::unconfirmed(table, dir, rules);
        shop.confirm_prices();
        shop
    }

    /// As [`TestShop::new`], before catalog has confirmed any price.
    ///
    /// # Panics
    /// When `dir` cannot be used.
    #[must_use]
    pub fn unconfirmed(table: Arc<dyn Table>, dir: &Path, rules: ShopRules) -> Self {
        let clock = Arc::new(ManualClock::at(START_MS));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, rng: Arc::new(SeededRng::new(1)), ..Env::real() };
        let keyring =
            Keyring::open(&dir.join("users.keys"), &Zeroizing::new([9; 32])).expect("the directory is usable");
        let prices = Arc::new(PriceView::default());
        let ids = IdKey::new(&Zeroizing::new([7; 32]));
        let parts = Parts { table, ids, keyring, prices: Arc::clone(&prices), env, rules };
        let service = Arc::new(OrdersService::new(parts, OrderMetrics::new(&Metrics::new())));
        Self { service, clock, prices }
    }

    /// Catalog confirms its prices.
    pub fn confirm_prices(&self) {
        self.prices.confirm(self.clock.mono_ns());
    }

    /// Sells a product at a price in Korea.
    pub fn sell(&self, sku: &str, krw: i64) {
        self.prices.put(&product(sku, &[(Market::Kr, krw)], true));
    }

    /// Puts stock in.
    ///
    /// # Panics
    /// When the table does not take it.
    pub async fn stock(&self, sku: &str, units: i64) {
        self.service.stock.set(&sku_of(sku), units).await.expect("stock is set");
    }

    /// Splits stock for a peak.
    ///
    /// # Panics
    /// When the table does not take it.
    pub async fn shard(&self, sku: &str, per_second: u32) {
        self.service.stock.shard(&sku_of(sku), per_second).await.expect("stock is split");
    }

    /// The stock at this moment.
    ///
    /// # Panics
    /// When there is none.
    pub async fn stock_of(&self, sku: &str) -> StockView {
        let sku = sku_of(sku);
        let snapshot = self.service.directory.snapshot(&sku).await.expect("readable").expect("there is stock");
        shard::view(&sku, &snapshot.shards())
    }

    /// The cursor that expires orders.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub async fn expiry(&self) -> Expiry {
        let service = &self.service;
        Expiry::resume(Arc::clone(&service.executor), 8, service.rules.reservation).await.expect("readable")
    }

    /// The same with room for only so many orders from a clock that was ahead.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub async fn expiry_with_room(&self, room: usize) -> Expiry {
        let service = &self.service;
        Expiry::with_room(Arc::clone(&service.executor), 8, service.rules.reservation, room).await.expect("readable")
    }

    /// The reader that settles.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub async fn settler(&self) -> Settler {
        Settler::resume((*self.service.executor).clone()).await.expect("readable")
    }

    /// The sweeper.
    #[must_use]
    pub fn sweeper(&self) -> Sweeper {
        Sweeper::new(Arc::clone(&self.service.executor))
    }

    /// Reads the feed to its end.
    ///
    /// # Panics
    /// When the table fails.
    pub async fn settle(&self) {
        let mut settler = self.settler().await;
        while settler.step().await.expect("the table works") > 0 {}
        settler.save().await.expect("the table works");
    }

    /// Users' keys.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.service.keyring
    }

    /// The secret behind ids.
    #[must_use]
    pub fn ids(&self) -> &IdKey {
        &self.service.ids
    }
}

/// A product as catalog's feed tells it.
///
/// # Panics
/// When `sku` is none.
#[must_use]
pub fn product(sku: &str, prices: &[(Market, i64)], published: bool) -> FeedProduct {
    let name = BTreeMap::from([("ko".to_owned(), format!("제품 {sku}")), ("en".to_owned(), format!("Product {sku}"))]);
    FeedProduct { sku: sku_of(sku), name, prices: prices.iter().copied().collect(), published }
}

/// A SKU.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn sku_of(sku: &str) -> Sku {
    sku.parse().expect("a valid SKU")
}
