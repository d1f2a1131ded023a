//! What the role tells about itself, beside what every role tells.

use std::sync::{Arc, Weak};

use zizon_telemetry::{Metrics, Unit};

use crate::feed::Feed;
use crate::shelf::Shelf;

/// Defines every metric of this crate, so that the catalogue is complete before anything has happened.
pub fn register_metrics(metrics: &Metrics) {
    define(metrics, Weak::new(), None);
}

/// Exports figures of a running role.
pub(crate) fn observe(metrics: &Metrics, shelf: &Arc<Shelf>, feed: &Feed) {
    define(metrics, Arc::downgrade(shelf), Some(feed));
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn define(metrics: &Metrics, shelf: Weak<Shelf>, feed: Option<&Feed>) {
    metrics.observe_gauge(
        "zizon_catalog_products",
        "Products in the catalog, those not published included",
        Unit::None,
        move || shelf.upgrade().map_or(0.0, |shelf| shelf.len() as f64),
    );
    let readers = feed.cloned();
    metrics.observe_gauge("zizon_catalog_feed_subscribers", "Readers of the product feed", Unit::None, move || {
        readers.as_ref().map_or(0.0, |feed| feed.subscribers() as f64)
    });
    let slowest = feed.cloned();
    let dropped = feed.cloned();
    metrics.observe_gauge(
        "zizon_catalog_feed_lag",
        "Positions between the catalog's last change and the slowest reader of the feed",
        Unit::None,
        move || slowest.as_ref().map_or(0.0, |feed| feed.lag() as f64),
    );
    metrics.observe_counter(
        "zizon_catalog_feed_dropped_total",
        "Readers of the feed that were dropped because they did not keep up",
        Unit::None,
        move || dropped.as_ref().map_or(0.0, |feed| feed.dropped() as f64),
    );
}
