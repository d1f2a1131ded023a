//! What the role tells about itself, beside what every role tells.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use zizon_base::ids::Sku;
use zizon_base::problem::Code;
use zizon_contracts::orders::StockView;
use zizon_table::EmbeddedTable;
use zizon_telemetry::{Counter, CounterFamily, Metrics, Unit};

use crate::background::expiry::ExpiryFigures;
use crate::execute::Executor;
use crate::prices::PriceView;

/// Products whose stock is exported.
const MAX_PRODUCTS: usize = 21;
/// The product of every demonstration and load test.
const ALWAYS: &str = "PROD001";

/// What the checker checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// I1: a product's shards hold together what was put in, and no count is negative.
    Stock,
    /// I3: the total is the sum of the lines.
    Totals,
    /// I5: states follow from each other by the table of transitions.
    Transitions,
}

/// Counters of the order path, looked up once.
pub struct OrderMetrics {
    created: Counter,
    replayed: Counter,
    refused: CounterFamily<1>,
    checks: [[Counter; 2]; 3],
    stock: Arc<Mutex<BTreeMap<String, StockView>>>,
}

impl OrderMetrics {
    /// Defines every metric of requests.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let outcomes = metrics.counter_family(
            "zizon_orders_total",
            "Requests to order, by outcome: `created`, `replayed` or the code of the problem",
            Unit::None,
            ["outcome"],
        );
        let checks = metrics.counter_family(
            "zizon_invariant_checks_total",
            "Checks of invariants on samples; any `violated` is a fault to be reported",
            Unit::None,
            ["invariant", "result"],
        );
        let pair = |name| [checks.with([name, "violated"]), checks.with([name, "holds"])];
        let stock: Arc<Mutex<BTreeMap<String, StockView>>> = Arc::default();
        let shown = Arc::clone(&stock);
        metrics.observe_gauge_family(
            "zizon_stock_units",
            "Units of the products that sell most, as of the last check",
            Unit::None,
            ["sku", "state"],
            move || {
                let stock = shown.lock();
                let states =
                    |view: &StockView| [("available", view.available), ("held", view.held), ("sold", view.sold)];
                let series = stock.values().flat_map(|view| {
                    states(view).map(|(state, units)| ([view.sku.clone(), state.to_owned()], float(units)))
                });
                series.collect()
            },
        );
        Self {
            created: outcomes.with(["created"]),
            replayed: outcomes.with(["replayed"]),
            refused: outcomes,
            checks: [pair("stock"), pair("totals"), pair("transitions")],
            stock,
        }
    }

    pub(crate) fn placed(&self, replayed: bool) {
        if replayed {
            self.replayed.inc()
        } else {
            self.created.inc()
        };
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refused.with([code.slug()]).inc();
    }

    pub(crate) fn checked(&self, invariant: Invariant, holds: bool) {
        let of = match invariant {
            Invariant::Stock => 0,
            Invariant::Totals => 1,
            Invariant::Transitions => 2,
        };
        self.checks[of][usize::from(holds)].inc();
    }

    /// Keeps the stock of the products that sell most, and of the one everybody looks at.
    pub(crate) fn stock(&self, sku: &Sku, view: &StockView) {
        let mut stock = self.stock.lock();
        stock.insert(sku.as_str().to_owned(), view.clone());
        if stock.len() > MAX_PRODUCTS {
            let least = stock.values().filter(|view| view.sku != ALWAYS).min_by_key(|view| view.held + view.sold);
            let least = least.map(|view| view.sku.clone());
            least.and_then(|sku| stock.remove(&sku));
        }
    }
}

/// Defines every metric of this crate, so that the catalogue is complete before anything has happened.
pub fn register_metrics(metrics: &Metrics) {
    let _ = OrderMetrics::new(metrics);
    observe(metrics, &Weak::new(), Weak::new(), Weak::new(), Weak::new());
}

/// Exports the figures of a running role.
pub(crate) fn observe(
    metrics: &Metrics,
    table: &Weak<EmbeddedTable>,
    prices: Weak<PriceView>,
    expiry: Weak<ExpiryFigures>,
    executor: Weak<Executor>,
) {
    let (figures, aside) = (expiry.clone(), expiry.clone());
    metrics.observe_gauge(
        "zizon_expiry_parked_orders",
        "Orders made while the clock was far ahead, waiting for their time",
        Unit::None,
        move || aside.upgrade().map_or(0.0, |f| float(f.parked.load(Ordering::Relaxed))),
    );
    metrics.observe_counter(
        "zizon_stock_mismatches_total",
        "Effects on stock that did not hold what the order had reserved; any is a fault to be reported",
        Unit::None,
        move || executor.upgrade().map_or(0.0, |executor| float(executor.mismatches())),
    );
    metrics.observe_gauge(
        "zizon_expiry_lag_seconds",
        "How long the oldest order that should be expired has been waiting",
        Unit::Seconds,
        move || figures.upgrade().map_or(0.0, |f| float(f.lag_ms.load(Ordering::Relaxed)) / 1000.0),
    );
    metrics.observe_counter("zizon_orders_expired_total", "Orders that were not paid in time", Unit::None, move || {
        expiry.upgrade().map_or(0.0, |f| float(f.expired.load(Ordering::Relaxed)))
    });
    metrics.observe_gauge(
        "zizon_price_view_products",
        "Products in this role's copy of the catalog",
        Unit::None,
        move || prices.upgrade().map_or(0.0, |view| float(u32::try_from(view.len()).unwrap_or(u32::MAX))),
    );
    crate::metrics_table::observe_table(metrics, table);
}

/// Numbers of a scrape: beyond 2^53 they would lose their last digits, which no reader of a graph sees.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(value: impl TryInto<i64>) -> f64 {
    value.try_into().map_or(f64::MAX, |value| value as f64)
}
