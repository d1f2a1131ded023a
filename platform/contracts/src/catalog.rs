//! Products, and the feed by which other roles keep their own view of them.

use std::collections::BTreeMap;

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

/// One line of `GET /internal/v1/feed?from=SEQ` (newline-delimited JSON). A line is a promise: everything up to `seq`
/// has been sent.
///
/// `from` is the `seq` of the last line the reader has; 0 when it has none. Whenever the catalog cannot go on from
/// there (a first reading, a journal that was trimmed or replaced) it sends every product first, in lines that carry
/// `from` or 0, then a heartbeat: a view is complete, and its prices are confirmed, at the first heartbeat. A reader
/// takes `seq` as each line has it, also when it is lower than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FeedLine {
    /// A product as it is from `seq` on.
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
    /// Nothing further up to `seq`; sent at least once a second.
    Heartbeat {
        /// Position to resume after.
        seq: u64,
    },
}

impl FeedLine {
    /// Position to resume after.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Product { seq, .. } | Self::Removed { seq, .. } | Self::Heartbeat { seq } => *seq,
        }
    }
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
