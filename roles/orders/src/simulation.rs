//! The shop as the simulation runs it: the real service, executors and background machines, on a table, a clock and
//! prices that it is given, with a protocol that may be broken on purpose. Only with feature `simulation`.

mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;
use zizon_base::ids::{IdKey, OrderId, Sku};
use zizon_base::market::Market;
use zizon_contracts::catalog::FeedProduct;
use zizon_contracts::fsck::StockReport;
use zizon_journal::Env;
use zizon_table::{Item, Key, Table};
use zizon_telemetry::Metrics;

use crate::background::audit::audit_items;
use crate::background::expiry::Expiry;
use crate::execute::{ExecuteError, Executor, Protocol, Settler, Sweeper};
use crate::keyring::Keyring;
use crate::keys::{self, Named};
use crate::metrics::OrderMetrics;
use crate::order::document::OrderDocument;
use crate::order::fact::Fact;
use crate::order::render::render;
use crate::order::state::State;
use crate::prices::PriceView;
use crate::service::{OrdersService, Parts, ShopRules};
use crate::stock::operator::StockError;
use crate::stock::shard::Shard;

pub use self::step::Step;

/// What a process of the shop is made of.
pub struct ShopParts {
    /// Orders and stock.
    pub table: Arc<dyn Table>,
    /// Clock and randomness.
    pub env: Env,
    /// What is allowed, and how orders are written.
    pub rules: ShopRules,
    /// Sound, or broken in one way.
    pub protocol: Protocol,
    /// Most operations of a plan: with few, atomic orders over several products go stepwise.
    pub plan_ops: usize,
    /// Never used: simulated orders have no personal fields.
    pub keyring: Keyring,
    /// The secret behind ids.
    pub secret: [u8; 32],
}

/// One process of the shop.
pub struct Shop {
    service: Arc<OrdersService>,
    prices: Arc<PriceView>,
}

impl Shop {
    /// A process that has just started; `position` is where the table's feed was when it was opened.
    #[must_use]
    pub fn new(parts: ShopParts, position: u64) -> Self {
        let ShopParts { table, env, rules, protocol, plan_ops, keyring, secret } = parts;
        let prices = Arc::new(PriceView::default());
        let ids = IdKey::new(&Zeroizing::new(secret));
        let parts = Parts { table, ids, keyring, prices: Arc::clone(&prices), env, rules };
        let mut service = OrdersService::new(parts, OrderMetrics::new(&Metrics::new()));
        service.executor = Arc::new((*service.executor).clone().broken(protocol, plan_ops));
        service.executor.note_seq(position);
        Self { service: Arc::new(service), prices }
    }

    /// What answers requests.
    #[must_use]
    pub const fn service(&self) -> &Arc<OrdersService> {
        &self.service
    }

    /// What writes orders.
    #[must_use]
    pub fn executor(&self) -> &Arc<Executor> {
        &self.service.executor
    }

    /// The secret behind ids.
    #[must_use]
    pub fn ids(&self) -> &IdKey {
        &self.service.ids
    }

    /// The body of the 201 of an order, as it is answered at any time.
    #[must_use]
    pub fn first_answer(&self, id: &OrderId, document: &OrderDocument) -> Vec<u8> {
        render(id, document, State::CREATED, &self.service.ids)
    }

    /// Sells a product at a price in Korea.
    pub fn sell(&self, sku: &Sku, krw: i64) {
        let name = BTreeMap::from([("en".to_owned(), sku.as_str().to_owned())]);
        let prices = std::iter::once((Market::Kr, krw)).collect();
        self.prices.put(&FeedProduct { sku: sku.clone(), name, prices, published: true });
    }

    /// Catalog confirms its prices at this moment.
    pub fn confirm_prices(&self) {
        self.prices.confirm(self.service.clock.mono_ns());
    }

    /// Makes exactly `units` available.
    ///
    /// # Errors
    /// See [`StockError`].
    pub async fn set_stock(&self, sku: &Sku, units: i64) -> Result<(), StockError> {
        self.service.stock.set(sku, units).await
    }

    /// Splits a product's stock for a peak.
    ///
    /// # Errors
    /// See [`StockError`].
    pub async fn split_stock(&self, sku: &Sku, per_second: u32) -> Result<(), StockError> {
        self.service.stock.shard(sku, per_second).await.map(|_| ())
    }

    /// The cursor that expires orders.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn expiry(&self) -> Result<Expiry, ExecuteError> {
        Expiry::resume(Arc::clone(self.executor()), 4, self.service.rules.reservation).await
    }

    /// The reader that settles.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn settler(&self) -> Result<Settler, ExecuteError> {
        Settler::resume((**self.executor()).clone()).await
    }

    /// The sweeper.
    #[must_use]
    pub fn sweeper(&self) -> Sweeper {
        Sweeper::new(Arc::clone(self.executor()))
    }
}

/// What a change of the feed is about, as a follower reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An order was placed.
    Placed(OrderId, OrderDocument),
    /// A void was put or raised where no order is.
    Void(OrderId),
    /// A fact of an order, by its version.
    Fact(OrderId, Fact),
    /// Stock, a cursor, a list.
    Other,
}

/// Reads an item of a user's partition.
///
/// # Errors
/// It is none that this program writes.
pub fn told(key: &Key, item: &Item) -> Result<Told, ExecuteError> {
    use crate::execute::Standing;
    use crate::order::Damaged;
    match keys::named(key) {
        Some(Named::Order(id)) => match Standing::of(Some(item.clone()))? {
            Standing::Placed(item) => {
                let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(Damaged("order"))?)?;
                Ok(Told::Placed(id, document))
            }
            Standing::Void(_) => Ok(Told::Void(id)),
            Standing::Nothing => Err(Damaged("order").into()),
        },
        Some(Named::Fact(id, version)) => Ok(Told::Fact(id, Fact::read(version, item)?)),
        None => Ok(Told::Other),
    }
}

/// Key of an order's item.
#[must_use]
pub fn order_key(id: &OrderId) -> Key {
    keys::order(id)
}

/// Keys of a product's stock: the directory, then its shards `0..shards`.
#[must_use]
pub fn stock_keys(sku: &Sku, shards: u16) -> Vec<Key> {
    let mut wanted = vec![keys::directory(sku)];
    wanted.extend((0..shards).map(|number| keys::shard(sku, number)));
    wanted
}

/// Whether the key names a shard of stock.
#[must_use]
pub fn is_shard(key: &Key) -> bool {
    keys::shard_named(key).is_some()
}

/// A product's stock by its items, in the order of [`stock_keys`]: units put in, and what each shard holds.
#[must_use]
pub fn stock_of(items: &[Option<Item>]) -> Option<(i64, Vec<Shard>)> {
    let (directory, shards) = items.split_first()?;
    let issued = directory.as_ref()?.int(crate::stock::directory::ISSUED).unwrap_or(0);
    Some((issued, shards.iter().map(|item| Shard::read(item.as_ref())).collect()))
}

/// The books, from every item of a table in the order of keys.
///
/// # Errors
/// An order cannot be read.
pub fn audit(items: impl IntoIterator<Item = Item>) -> Result<StockReport, ExecuteError> {
    audit_items(items)
}
