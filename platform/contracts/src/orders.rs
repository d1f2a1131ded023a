//! The orders role's public answers and its operator routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A postal address. Members not named here are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShippingAddress {
    /// Who receives it, 1 to 100 characters.
    pub recipient: String,
    /// Telephone number, at most 32 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// ISO 3166-1 alpha-2 code, upper case.
    pub country: String,
    /// Postal code, 1 to 16 characters.
    pub postal_code: String,
    /// State, prefecture or province, at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// City, 1 to 100 characters.
    pub city: String,
    /// First address line, 1 to 200 characters.
    pub line1: String,
    /// Second address line, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
}

/// Body of `POST /api/v1/orders`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreateOrder {
    /// The customer, or an opaque guest reference: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
    pub user_id: String,
    /// 1 to 100 lines.
    pub items: Vec<CreateOrderItem>,
    /// 1 to 255 printable ASCII characters; the header `Idempotency-Key` is equivalent.
    pub idempotency_key: Option<String>,
    /// Market to sell in; `KR` when left out.
    pub market: Option<String>,
    /// ISO 4217 code; must be the market's.
    pub currency: Option<String>,
    /// What the caller expects to pay, in minor units.
    pub expected_total: Option<i64>,
    /// A note to the shop, at most 500 characters.
    pub note: Option<String>,
    /// Where to send it.
    pub shipping_address: Option<ShippingAddress>,
}

/// One line of [`CreateOrder`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreateOrderItem {
    /// The product.
    pub product_id: String,
    /// 1 to 99.
    pub quantity: u32,
    /// Unit price the shopper saw, in minor units; may be left out when `expected_total` is given.
    pub price: Option<i64>,
}

/// An order as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderBody {
    /// `ord_` and 42 base32 digits.
    pub id: String,
    /// What people read to each other.
    pub number: String,
    /// Lifecycle.
    pub status: String,
    /// Payment axis.
    pub payment_status: String,
    /// Fulfilment axis.
    pub fulfillment_status: String,
    /// The user named in the request.
    pub user_id: String,
    /// Market code.
    pub market: String,
    /// Currency of every amount below.
    pub currency: String,
    /// The lines, as bought.
    pub items: Vec<OrderItem>,
    /// The sums.
    pub totals: OrderTotals,
    /// Until when the stock is kept for payment; null once it is not waited for any more.
    #[schema(required = true)]
    pub reservation: Option<Reservation>,
    /// RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// Where to go from here.
    pub links: OrderLinks,
    /// A guest's bearer token for this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderItem {
    /// From 1, in the order of the request.
    pub line: u32,
    /// The product.
    pub product_id: String,
    /// The stock-keeping unit.
    pub sku: String,
    /// The product's name in the market's language.
    pub name: String,
    /// Units.
    pub quantity: u32,
    /// Minor units.
    pub unit_price: i64,
    /// `quantity * unit_price`.
    pub subtotal: i64,
    /// Taken off.
    pub discount: i64,
    /// Tax contained in the line.
    pub tax: i64,
    /// Whether it is a gift.
    pub gift: bool,
}

/// The sums of an order, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderTotals {
    /// Sum of the lines.
    pub subtotal: i64,
    /// Taken off.
    pub discount: i64,
    /// Shipping.
    pub shipping: i64,
    /// Tax contained in the total.
    pub tax_included: i64,
    /// Customs duty.
    pub duty: i64,
    /// To pay.
    pub total: i64,
}

/// How long stock is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reservation {
    /// RFC 3339, UTC, milliseconds.
    pub expires_at: String,
}

/// Links of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderLinks {
    /// Where payments are made, while one is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay: Option<String>,
}

/// Stock of one SKU, read in one consistent snapshot: `on_hand = available + held + sold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StockView {
    /// The SKU.
    pub sku: String,
    /// Everything ever put in and not taken out.
    pub on_hand: i64,
    /// Can be ordered.
    pub available: i64,
    /// Kept for orders awaiting payment, and for attempts under way.
    pub held: i64,
    /// Paid for.
    pub sold: i64,
    /// Counters the stock is split over.
    pub shards: u32,
}

/// Body of `PUT /internal/v1/stock/{sku}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SetStock {
    /// Units that can be ordered from here on.
    pub available: i64,
}

/// Body of `POST /internal/v1/stock/{sku}/shards`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShardStock {
    /// Orders per second expected at the peak; 50 per shard, 1 to 256 shards.
    pub peak_per_second: u32,
}

/// An order as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorOrder {
    /// What the owner sees, without the access token.
    #[serde(flatten)]
    pub order: OrderBody,
    /// What happened to it, in order.
    pub facts: Vec<OrderFact>,
    /// The note, if its key still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The address, if its key still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<ShippingAddress>,
    /// Whether personal fields were given and have been erased since.
    #[serde(default)]
    pub personal_data_erased: bool,
}

/// A change of an order's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderFact {
    /// From 1.
    pub version: u32,
    /// `cancelled`, `expired`, ...
    pub event: String,
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
    /// Who: `shopper`, `operator`, `system`.
    pub actor: String,
}

/// One page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderPage {
    /// The orders.
    pub data: Vec<OperatorOrder>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}
