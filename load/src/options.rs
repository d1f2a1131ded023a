//! What a run of the generator is asked to do.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::{LoadError, Unsettled};

/// The product every demo sells.
pub const DEFAULT_PRODUCT: &str = "PROD001";
/// Price of [`DEFAULT_PRODUCT`] in KRW, as the demo data sell it.
pub const DEFAULT_PRICE: i64 = 2_690_000;

/// The most products one run orders.
const PRODUCTS_MAX: usize = 1_000_000;
/// The most connections one run opens.
const CONNECTIONS_MAX: usize = 10_000;
/// The highest scheduled rate, per second.
const RATE_MAX: f64 = 1_000_000.0;
/// The longest run.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Users are written as eight digits.
const USERS_MAX: u32 = 99_999_999;

/// How fast requests start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Open loop: this many starts per second, evenly spaced, whatever the answers do.
    PerSecond(f64),
    /// Closed loop: each connection sends its next request when the last one is answered.
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(Self::PerSecond(rate)),
            _ => Err(format!("expected `max` or a rate per second above 0 and up to {RATE_MAX}, got `{text}`")),
        }
    }
}

/// Which idempotency keys requests carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// A key never used before, in this run or another: every answer creates an order.
    Fresh,
    /// One key and one user for the whole run: one order is made, all other answers are replays of it.
    Fixed,
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fresh" => Ok(Self::Fresh),
            "fixed" => Ok(Self::Fixed),
            _ => Err(format!("expected `fresh` or `fixed`, got `{text}`")),
        }
    }
}

/// A run of the order generator.
#[derive(Debug, Clone)]
pub struct OrdersLoad {
    /// Base address of the platform, `https://HOST[:PORT]`.
    pub url: String,
    /// PEM file of the authority that signed the platform's certificate.
    pub ca_file: PathBuf,
    /// How fast requests start.
    pub rate: Rate,
    /// How long requests are started.
    pub duration: Duration,
    /// Which idempotency keys requests carry.
    pub keys: Keys,
    /// Product to order; its price is asked of the catalog first. `None` is [`DEFAULT_PRODUCT`] at [`DEFAULT_PRICE`].
    pub product: Option<String>,
    /// More products than one: each order takes one of them at random, at the price the catalog gave before the run.
    /// Empty: [`OrdersLoad::product`] alone.
    pub products: Vec<String>,
    /// Units per order.
    pub quantity: u32,
    /// Users to draw from at random; with [`Keys::Fixed`] there is one.
    pub users: u32,
    /// Connections, each with at most one request in flight.
    pub connections: usize,
    /// File to append one fsynced line per 201 to, replays included. As sensitive as the orders: it
    /// holds their access tokens. Created with mode 0600.
    pub acks: Option<PathBuf>,
    /// Where to keep the requests whose outcome stayed unknown, if they are to be asked again.
    pub unsettled: Option<Arc<Unsettled>>,
    /// How long an answer may take before the outcome is unknown (error kind `timeout`).
    pub request_timeout: Duration,
    /// Set to end the run early; what was sent is still reported.
    pub stop: Arc<AtomicBool>,
}

impl OrdersLoad {
    /// A run against `url` with the defaults of `zizon load orders`.
    #[must_use]
    pub fn to(url: impl Into<String>, ca_file: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            ca_file: ca_file.into(),
            rate: Rate::PerSecond(1_000.0),
            duration: Duration::from_secs(30),
            keys: Keys::Fresh,
            product: None,
            products: Vec::new(),
            quantity: 1,
            users: 100_000,
            connections: 64,
            acks: None,
            unsettled: None,
            request_timeout: Duration::from_secs(10),
            stop: Arc::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let bad = |what, rule: String| Err(LoadError::Option { what, rule });
        if let Rate::PerSecond(rate) = self.rate
            && !(rate > 0.0 && rate <= RATE_MAX)
        {
            return bad("rate", format!("must be above 0 and at most {RATE_MAX} per second"));
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            return bad("duration", "must be above 0 and at most 24 hours".into());
        }
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return bad("connections", format!("must be between 1 and {CONNECTIONS_MAX}"));
        }
        if self.products.len() > PRODUCTS_MAX {
            return bad("products", format!("must be at most {PRODUCTS_MAX}"));
        }
        if self.keys == Keys::Fixed && self.products.len() > 1 {
            return bad("products", "must be one with a fixed key: a key stands for one order".into());
        }
        if self.quantity == 0 {
            return bad("quantity", "must be at least 1".into());
        }
        if self.users == 0 || self.users > USERS_MAX {
            return bad("users", format!("must be between 1 and {USERS_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_keys_parse_as_the_command_line_writes_them() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1500.5".parse(), Ok(Rate::PerSecond(1500.5)));
        assert!("0".parse::<Rate>().is_err());
        assert!("NaN".parse::<Rate>().is_err());
        assert_eq!("fixed".parse(), Ok(Keys::Fixed));
        assert!("random".parse::<Keys>().is_err());
    }
}
