//! What an operator can set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zizon_base::config::{ConfigError, within};

/// Configuration of the catalog role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most products kept. All of them are held in memory, rendered: about 2 KB each.
    pub max_products: u32,
    /// The most readers of the feed at a time. Each instance of orders is one.
    pub feed_subscribers_max: u16,
    /// How long a reader of the feed may leave its buffer full before it is dropped, in ms. It resumes where it was.
    pub feed_slow_reader_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_products: 1_000_000, feed_subscribers_max: 16, feed_slow_reader_ms: 5_000 }
    }
}

impl Config {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within(
            "catalog",
            &[
                ("max_products", self.max_products.into(), 1, 10_000_000),
                ("feed_subscribers_max", self.feed_subscribers_max.into(), 1, 1_024),
                ("feed_slow_reader_ms", self.feed_slow_reader_ms.into(), 100, 60_000),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_zero_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let error = Config { max_products: 0, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "catalog.max_products is 0; set it between 1 and 10000000");
    }
}
