//! Reading `POST /api/v1/orders`: what the caller says, with every mistake named by its place.
//!
//! Order of checks (the answer is the first that fails): JSON shape and ids, members not supported yet, line count,
//! quantity, quantity summed per SKU, address. Product, price and stock need the shop and come after.

mod address;
mod digest;
mod raw;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use zizon_base::ids::{IdempotencyKey, InvalidId, Sku, UserRef};
use zizon_base::market::Market;
use zizon_base::money::MAX_AMOUNT;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::orders::ShippingAddress;

pub use self::digest::Digest;
use self::raw::{RawItems, RawOrder, Scalar, Scalars};

/// Most lines of an order.
pub const MAX_LINES: usize = 100;
/// Longest note, characters.
pub const MAX_NOTE_CHARS: usize = 500;

/// What a shop allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Most units of one product in one order.
    pub max_units: u32,
    /// Shortest idempotency key, characters.
    pub min_key_chars: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { max_units: 99, min_key_chars: 1 }
    }
}

/// One line as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// The product.
    pub sku: Sku,
    /// Units, 1 or more.
    pub quantity: u32,
    /// Unit price the caller saw, minor units; left out only where a total is expected.
    pub price: Option<i64>,
}

/// What one product is asked for, all lines together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The first line that names the product, from 0.
    pub line: usize,
    /// Units.
    pub units: u32,
}

/// A request that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRequest {
    /// Who orders, in the caller's words.
    pub user: UserRef,
    /// The name of this order.
    pub key: IdempotencyKey,
    /// Where it is sold.
    pub market: Market,
    /// 1 to [`MAX_LINES`] lines.
    pub lines: Vec<RequestLine>,
    /// Units per product, in order of first mention.
    pub demand: Vec<Demand>,
    /// What the caller expects to pay, minor units.
    pub expected_total: Option<i64>,
    /// A note to the shop.
    pub note: Option<String>,
    /// Where to send it.
    pub shipping_address: Option<ShippingAddress>,
}

impl OrderRequest {
    /// Whether it carries anything that must be sealed.
    #[must_use]
    pub const fn has_personal_fields(&self) -> bool {
        self.note.is_some() || self.shipping_address.is_some()
    }
}

/// Reads a request. Pure: the same bytes give the same answer. `header_key` is the value of `Idempotency-Key`.
///
/// # Errors
/// The problem to answer with: 400 for what cannot be read, 422 for what is not allowed.
pub fn parse_order(body: &[u8], header_key: Option<&[u8]>, rules: &Rules) -> Result<OrderRequest, Box<Problem>> {
    let raw = raw::read(body).map_err(|error| Problem::new(Code::MalformedRequest).detail(error.to_string()))?;
    let RawOrder { scalars, items, address } = raw;
    let [user, key, market, currency, expected_total, note, quote, coupons, flash_sale, address_id] = scalars;

    let user = required_id(user, "user_id")?.parse::<UserRef>().map_err(|e| bad_id("#/user_id", e))?;
    let key = read_key(key, header_key, rules)?;
    let market = match optional_text(market, "market")? {
        None => Market::Kr,
        Some(code) => {
            Market::from_code(&code).ok_or_else(|| malformed("#/market", "unknown-market", "KR, JP or US"))?
        }
    };
    let currency = optional_text(currency, "currency")?;
    let expected_total = match expected_total {
        Scalar::Absent | Scalar::Null => None,
        Scalar::Int(total) => Some(total),
        Scalar::Huge => Some(i64::MAX),
        _ => return Err(wrong_type("#/expected_total", "an integer in minor units")),
    };
    let note = optional_text(note, "note")?.map(Cow::into_owned);
    check_note(note.as_deref())?;
    let raw_lines = match items {
        RawItems::Lines(lines) => lines,
        RawItems::Absent => return Err(malformed("#/items", "missing", "a list of lines")),
        RawItems::NotAList => return Err(wrong_type("#/items", "a list of lines")),
    };
    let too_many = raw_lines.len() > MAX_LINES;
    let lines = read_lines(raw_lines, expected_total.is_some())?;
    let address = address::shape(address)?;

    for (value, name) in [
        (quote, "quote_id"),
        (coupons, "coupon_codes"),
        (flash_sale, "flash_sale_id"),
        (address_id, "shipping_address_id"),
    ] {
        if !matches!(value, Scalar::Absent | Scalar::Null) {
            let place = FieldError::new(format!("#/{name}"), "not-supported-yet");
            let detail = format!("`{name}` is not supported yet; leave it out");
            return Err(Box::new(Problem::new(Code::NotSupportedYet).detail(detail).field(place)));
        }
    }
    if let Some(code) = currency.filter(|code| *code != market.currency().code()) {
        let expected = market.currency().code();
        let place = FieldError::new("#/currency", "currency-mismatch").differs(expected, &*code);
        let detail =
            format!("prices in market {} are in {expected}; send that, or leave `currency` out", market.code());
        return Err(Box::new(Problem::new(Code::CurrencyMismatch).detail(detail).field(place)));
    }
    if lines.is_empty() {
        let problem = Problem::new(Code::EmptyOrder).detail("`items` is empty; an order has at least one line");
        return Err(Box::new(problem.field(FieldError::new("#/items", "empty-order"))));
    }
    if too_many {
        let detail = format!("an order has at most {MAX_LINES} lines; split it");
        let place = FieldError::new("#/items", "too-many-lines");
        return Err(Box::new(Problem::new(Code::TooManyLines).detail(detail).field(place)));
    }
    check_amounts(&lines, expected_total)?;
    let lines = check_quantities(lines, rules)?;
    let demand = sum_per_product(&lines, rules)?;
    let shipping_address = address::check(address)?;
    Ok(OrderRequest { user, key, market, lines, demand, expected_total, note, shipping_address })
}

/// A line whose types are right and whose numbers are not looked at yet.
struct RawLine {
    sku: Sku,
    quantity: i64,
    price: Option<i64>,
}

fn read_lines(raw: Vec<Scalars<'_, 3>>, total_given: bool) -> Result<Vec<RawLine>, Box<Problem>> {
    let mut lines = Vec::with_capacity(raw.len());
    for (at, line) in raw.into_iter().enumerate() {
        let Some([product, quantity, price]) = line else {
            return Err(wrong_type(format!("#/items/{at}"), "an object"));
        };
        let pointer = |member: &str| format!("#/items/{at}/{member}");
        let sku = match product {
            Scalar::Text(text) => text.parse().map_err(|e| bad_id(pointer("product_id"), e))?,
            Scalar::Absent | Scalar::Null => return Err(malformed(pointer("product_id"), "missing", "a product id")),
            _ => return Err(wrong_type(pointer("product_id"), "a string")),
        };
        let quantity = match quantity {
            Scalar::Int(quantity) => quantity,
            Scalar::Huge => i64::MAX,
            Scalar::Absent | Scalar::Null => return Err(malformed(pointer("quantity"), "missing", "a whole number")),
            _ => return Err(wrong_type(pointer("quantity"), "a whole number")),
        };
        let price = match price {
            Scalar::Int(price) => Some(price),
            Scalar::Huge => Some(i64::MAX),
            Scalar::Absent | Scalar::Null if total_given => None,
            Scalar::Absent | Scalar::Null => {
                return Err(malformed(pointer("price"), "missing", "a price in minor units, or `expected_total`"));
            }
            _ => return Err(wrong_type(pointer("price"), "an integer in minor units")),
        };
        lines.push(RawLine { sku, quantity, price });
    }
    Ok(lines)
}

fn check_amounts(lines: &[RawLine], expected_total: Option<i64>) -> Result<(), Box<Problem>> {
    let out_of_range = |amount: i64| !(-MAX_AMOUNT..=MAX_AMOUNT).contains(&amount);
    let wrong_line = lines.iter().position(|line| line.price.is_some_and(out_of_range));
    let pointer = match wrong_line {
        Some(at) => format!("#/items/{at}/price"),
        None if expected_total.is_some_and(out_of_range) => "#/expected_total".to_owned(),
        None => return Ok(()),
    };
    Err(Box::new(Problem::new(Code::AmountOutOfRange).field(FieldError::new(pointer, "amount-out-of-range"))))
}

fn check_quantities(lines: Vec<RawLine>, rules: &Rules) -> Result<Vec<RequestLine>, Box<Problem>> {
    let mut checked = Vec::with_capacity(lines.len());
    for (at, line) in lines.into_iter().enumerate() {
        let pointer = format_args!("#/items/{at}/quantity").to_string();
        if line.quantity < 1 {
            let place = FieldError::new(pointer, "invalid-quantity").differs(1, line.quantity);
            let detail = format!("line {} asks for {} units; order at least 1", at + 1, line.quantity);
            return Err(Box::new(Problem::new(Code::InvalidQuantity).detail(detail).field(place)));
        }
        match u32::try_from(line.quantity) {
            Ok(quantity) if quantity <= rules.max_units => {
                checked.push(RequestLine { sku: line.sku, quantity, price: line.price });
            }
            _ => return Err(over_limit(pointer, rules, line.quantity)),
        }
    }
    Ok(checked)
}

fn sum_per_product(lines: &[RequestLine], rules: &Rules) -> Result<Vec<Demand>, Box<Problem>> {
    let mut demand: Vec<Demand> = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        match demand.iter_mut().find(|known| lines[known.line].sku == line.sku) {
            // At most 100 lines of at most `max_units`: far from overflow.
            Some(known) => known.units = known.units.saturating_add(line.quantity),
            None => demand.push(Demand { line: at, units: line.quantity }),
        }
    }
    match demand.iter().find(|known| known.units > rules.max_units) {
        Some(over) => Err(over_limit(format!("#/items/{}/quantity", over.line), rules, i64::from(over.units))),
        None => Ok(demand),
    }
}

fn over_limit(pointer: String, rules: &Rules, actual: i64) -> Box<Problem> {
    let place = FieldError::new(pointer, "quantity-limit").differs(rules.max_units, actual);
    let most = rules.max_units;
    let detail =
        format!("an order may have {most} units of one product, all its lines together; this one has {actual}");
    Box::new(Problem::new(Code::QuantityLimit).detail(detail).field(place))
}

fn read_key(body: Scalar<'_>, header: Option<&[u8]>, rules: &Rules) -> Result<IdempotencyKey, Box<Problem>> {
    let in_body = optional_text(body, "idempotency_key")?;
    let in_header = match header.map(std::str::from_utf8) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(invalid_key("1 to 255 printable ASCII characters")),
    };
    let key = match (in_body.as_deref(), in_header) {
        (Some(body), Some(header)) if body != header => {
            let place = FieldError::new("#/idempotency_key", "idempotency-key-mismatch");
            return Err(Box::new(Problem::new(Code::IdempotencyKeyMismatch).field(place)));
        }
        (None | Some(""), None | Some("")) => {
            let place = FieldError::new("#/idempotency_key", "missing")
                .detail("1 to 255 printable ASCII characters, fresh for each order you mean");
            return Err(Box::new(Problem::new(Code::IdempotencyKeyRequired).field(place)));
        }
        (Some(key), _) | (None, Some(key)) => key,
    };
    let parsed = key.parse::<IdempotencyKey>().map_err(|error| invalid_key(error.expected))?;
    if key.len() < rules.min_key_chars {
        let least = rules.min_key_chars;
        return Err(invalid_key(&format!(
            "at least {least} characters for a guest: whoever can repeat user, key and body can read the order"
        )));
    }
    Ok(parsed)
}

fn invalid_key(expected: &str) -> Box<Problem> {
    let place = FieldError::new("#/idempotency_key", "invalid").detail(expected);
    Box::new(Problem::new(Code::IdempotencyKeyInvalid).detail(format!("a key has {expected}")).field(place))
}

fn required_id<'a>(value: Scalar<'a>, name: &'static str) -> Result<Cow<'a, str>, Box<Problem>> {
    optional_text(value, name)?.ok_or_else(|| malformed(format!("#/{name}"), "missing", "a string"))
}

/// Length and characters. Text on parcels and invoices has line breaks and tabs, and no other control characters.
fn check_note(note: Option<&str>) -> Result<(), Box<Problem>> {
    let Some(note) = note else { return Ok(()) };
    if note.chars().count() > MAX_NOTE_CHARS {
        return Err(malformed("#/note", "too-long", "at most 500 characters"));
    }
    if note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(malformed("#/note", "invalid", "no control characters but line breaks and tabs"));
    }
    Ok(())
}

fn optional_text<'a>(value: Scalar<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Box<Problem>> {
    match value {
        Scalar::Absent | Scalar::Null => Ok(None),
        Scalar::Text(text) => Ok(Some(text)),
        _ => Err(wrong_type(format!("#/{name}"), "a string")),
    }
}

fn malformed(pointer: impl Into<String>, code: &'static str, expected: &str) -> Box<Problem> {
    let pointer = pointer.into();
    let verb = if code == "missing" { "is missing" } else { "cannot be used" };
    let detail = format!("`{}` {verb}: expected {expected}", pointer.trim_start_matches("#/"));
    let place = FieldError::new(pointer, code).detail(format!("expected {expected}"));
    Box::new(Problem::new(Code::MalformedRequest).detail(detail).field(place))
}

fn wrong_type(pointer: impl Into<String>, expected: &str) -> Box<Problem> {
    malformed(pointer, "wrong-type", expected)
}

fn bad_id(pointer: impl Into<String>, error: InvalidId) -> Box<Problem> {
    malformed(pointer, "invalid-id", error.expected)
}
