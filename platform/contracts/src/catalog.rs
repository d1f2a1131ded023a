//! Products, and the feed by which other roles keep their own view of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zizon_base::{ids::Sku, market::Market};

/// A product, with its texts per language and its prices per market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Merchant's id, also the SKU: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
    #[schema(value_type = String)]
    pub id: Sku,
    /// The brand's name.
    pub brand: String,
    /// Category slug (`skincare`, `suncare`, ...).
    pub category: String,
    /// Name by language (`ko`, `ja`, `en`).
    pub name: BTreeMap<String, String>,
    /// Description by language.
    pub description: BTreeMap<String, String>,
    /// Price in minor units of the market's currency; a market that is missing does not sell it.
    #[schema(value_type = BTreeMap<String, i64>)]
    pub prices: BTreeMap<Market, i64>,
    /// What is in the package (`50 ml`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub size: String,
    /// Further facts (`skin_type: dry`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Whether it can be seen and bought.
    #[serde(default = "yes")]
    pub published: bool,
}

const fn yes() -> bool {
    true
}

/// One page of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductPage {
    /// The products.
    pub data: Vec<Product>,
    /// Where the next page begins; nothing on the last.
    pub next_cursor: Option<String>,
}

/// Which history a position belongs to. A catalog that was set up anew has another one, and positions of the two cannot
/// be compared: the same number stands for another state. Written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct History(u128);

impl History {
    /// The history of a journal.
    #[must_use]
    pub const fn of_journal(uuid: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(uuid))
    }

    /// The history that begins with a restore of this one; `restore` is random and made by each restore anew.
    #[must_use]
    pub const fn restored(self, restore: Self) -> Self {
        Self(self.0 ^ restore.0)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that names no history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHistory;

impl fmt::Display for NoHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a history is 32 hexadecimal digits")
    }
}

impl std::error::Error for NoHistory {}

impl FromStr for History {
    type Err = NoHistory;

    fn from_str(text: &str) -> Result<Self, NoHistory> {
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NoHistory);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| NoHistory)
    }
}

impl TryFrom<String> for History {
    type Error = NoHistory;

    fn try_from(text: String) -> Result<Self, NoHistory> {
        text.parse()
    }
}

impl From<History> for String {
    fn from(history: History) -> Self {
        history.to_string()
    }
}

/// One line of `GET /internal/v1/feed?from=SEQ&history=HISTORY` (newline-delimited JSON).
///
/// `from` and `history` are what the reader has; without them it has nothing. Where the catalog cannot go on from there
/// (a first reading, another history, a journal that was trimmed) it begins with `listing`, sends every product, and
/// ends with `progress`: what was not named is gone. From there on a line is a promise that everything up to its `seq`
/// has been sent. Only `heartbeat` says that nothing follows: prices are confirmed at a heartbeat and at nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FeedLine {
    /// Every product follows. The reader has no position until the `progress` that ends it.
    Listing {
        /// The history all that follows belongs to.
        history: History,
    },
    /// A product as it is from `seq` on; in a listing `seq` is 0.
    Product {
        /// Position to resume after.
        seq: u64,
        /// What a seller needs of it.
        product: FeedProduct,
    },
    /// A product that no longer exists.
    Removed {
        /// Position to resume after.
        seq: u64,
        /// Which.
        sku: Sku,
    },
    /// Everything up to `seq` was sent; more may follow at once.
    Progress {
        /// Position to resume after.
        seq: u64,
    },
    /// Everything up to `seq` was sent, and nothing further was durable; sent at least once a second.
    Heartbeat {
        /// Position to resume after.
        seq: u64,
        /// The history it belongs to.
        history: History,
    },
}

/// What a seller needs of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedProduct {
    /// The SKU.
    pub sku: Sku,
    /// Name by language.
    pub name: BTreeMap<String, String>,
    /// Price in minor units by market.
    pub prices: BTreeMap<Market, i64>,
    /// Whether it can be bought.
    pub published: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_is_written_and_in_no_other_form() {
        let history = History::of_journal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        let text = "000102030405060708090a0b0c0d0eff";
        assert_eq!((history.to_string().as_str(), text.parse()), (text, Ok(history)));
        let line = FeedLine::Heartbeat { seq: 7, history };
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, format!(r#"{{"type":"heartbeat","seq":7,"history":"{text}"}}"#));
        assert_eq!(serde_json::from_str::<FeedLine>(&json).unwrap(), line);
        for wrong in ["", "1", &text[1..], "+00102030405060708090a0b0c0d0eff", &text.to_uppercase()] {
            assert_eq!(wrong.parse::<History>(), Err(NoHistory), "{wrong}");
        }
    }
}
