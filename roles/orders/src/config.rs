//! What an operator can set.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zizon_base::config::{ConfigError, within};
use zizon_base::ids::Sku;

use crate::execute::Mode;
use crate::request::Rules;
use crate::service::ShopRules;

/// Shortest key of a guest outside a demonstration: 22 base64 characters are 128 bits.
const GUEST_KEY_CHARS: usize = 22;

/// How orders are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    /// Order and stock in one plan: for tables with cheap plans, as the embedded one.
    Atomic,
    /// Hold, then put, one item at a time: for tables without.
    Stepwise,
}

/// Configuration of the orders role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether orders without an account are taken. `zizon up --demo` turns it on.
    pub guest_checkout: bool,
    /// How orders are written: `atomic` or `stepwise`.
    pub executor: ExecutorKind,
    /// How long stock is kept for payment, in seconds. Orders that exist keep the time they were made with.
    pub reservation_ttl_seconds: u32,
    /// How old catalog's last confirmation of prices may be, in seconds. Beyond it orders answer 503 `prices-stale`.
    pub price_view_max_age_seconds: u32,
    /// The most units of one product in one order, all lines together.
    pub max_units_per_product: u32,
    /// The most expired orders released at the same time.
    pub expiry_concurrency: u16,
    /// Pause between two rounds of the invariant checker, in seconds.
    pub check_interval_seconds: u32,
    /// Stock of a demonstration, put in where a product has none. Not a key of the file.
    #[serde(skip)]
    pub demo_stock: Vec<(Sku, u64)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guest_checkout: false,
            executor: ExecutorKind::Atomic,
            reservation_ttl_seconds: 900,
            price_view_max_age_seconds: 30,
            max_units_per_product: 99,
            expiry_concurrency: 32,
            check_interval_seconds: 10,
            demo_stock: Vec::new(),
        }
    }
}

impl Config {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within(
            "orders",
            &[
                ("reservation_ttl_seconds", self.reservation_ttl_seconds.into(), 1, 2_592_000),
                ("price_view_max_age_seconds", self.price_view_max_age_seconds.into(), 2, 3_600),
                ("max_units_per_product", self.max_units_per_product.into(), 1, 10_000),
                ("expiry_concurrency", self.expiry_concurrency.into(), 1, 1_024),
                ("check_interval_seconds", self.check_interval_seconds.into(), 1, 3_600),
            ],
        )
    }

    /// The rules of the shop; a demonstration takes guests with any key.
    #[must_use]
    pub fn rules(&self, demo: bool) -> ShopRules {
        let min_key_chars = if demo { 1 } else { GUEST_KEY_CHARS };
        ShopRules {
            request: Rules { max_units: self.max_units_per_product, min_key_chars },
            guest_checkout: self.guest_checkout || demo,
            reservation: Duration::from_secs(u64::from(self.reservation_ttl_seconds)),
            price_view_max_age: Duration::from_secs(u64::from(self.price_view_max_age_seconds)),
            mode: match self.executor {
                ExecutorKind::Atomic => Mode::Atomic,
                ExecutorKind::Stepwise => Mode::Stepwise,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_value_out_of_range_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let error = Config { reservation_ttl_seconds: 0, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "orders.reservation_ttl_seconds is 0; set it between 1 and 2592000");
    }

    #[test]
    fn guests_need_long_keys_outside_a_demonstration() {
        let config = Config { guest_checkout: true, ..Config::default() };
        assert_eq!(config.rules(false).request.min_key_chars, 22);
        assert_eq!(config.rules(true).request.min_key_chars, 1);
        assert!(!Config::default().rules(false).guest_checkout);
    }
}
