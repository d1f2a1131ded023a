//! What an operator can set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("catalog.{key} {problem}; {remedy}")]
pub struct ConfigError {
    /// The key within the role's section.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Config {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let out = |key, value: u32, remedy| Err(ConfigError { key, problem: format!("is {value}"), remedy });
        if !(1..=10_000_000).contains(&self.max_products) {
            return out("max_products", self.max_products, "set it between 1 and 10000000");
        }
        if !(1..=1_024).contains(&self.feed_subscribers_max) {
            return out("feed_subscribers_max", self.feed_subscribers_max.into(), "set it between 1 and 1024");
        }
        if !(100..=60_000).contains(&self.feed_slow_reader_ms) {
            return out("feed_slow_reader_ms", self.feed_slow_reader_ms, "set it between 100 and 60000");
        }
        Ok(())
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
