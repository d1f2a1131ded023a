//! What is ordered and what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;

use crate::LoadError;
use crate::connection::Connection;
use crate::options::{DEFAULT_PRICE, DEFAULT_PRODUCT, OrdersLoad};
use crate::target::Target;

/// The platform's market when a request names none.
const DEFAULT_MARKET: &str = "KR";

/// Connections that look products up at the same time.
const LOOKUPS: usize = 16;

/// A product at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The product's id; needs no escaping in JSON.
    pub product: String,
    /// Minor units.
    pub price: i64,
    /// Market to name in the request; `None` for the default one.
    pub market: Option<String>,
}

/// The parts of a catalog answer that matter here.
#[derive(Deserialize)]
struct ProductDocument {
    /// Minor units by market.
    prices: BTreeMap<String, i64>,
}

impl Offer {
    /// The offers a run asks for, in the order they were named; products named by the user are looked up in the catalog.
    pub(crate) async fn find_all(load: &OrdersLoad, target: &Target) -> Result<Vec<Self>, LoadError> {
        let named = load.products.as_slice();
        if named.is_empty() {
            return Ok(vec![Self::find(load.product.as_deref(), target).await?]);
        }
        let mut lookups = JoinSet::new();
        let share = named.len().div_ceil(LOOKUPS);
        for (part, products) in named.chunks(share).enumerate() {
            let (target, products) = (target.clone(), products.to_vec());
            lookups.spawn(async move { find_some(&target, &products).await.map(|offers| (part, offers)) });
        }
        let mut parts = BTreeMap::new();
        while let Some(found) = lookups.join_next().await {
            let (part, offers) = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
            parts.insert(part, offers);
        }
        Ok(parts.into_values().flatten().collect())
    }

    /// One product by name, or the demo's.
    pub(crate) async fn find(product: Option<&str>, target: &Target) -> Result<Self, LoadError> {
        let Some(product) = product else {
            return Ok(Self { product: DEFAULT_PRODUCT.into(), price: DEFAULT_PRICE, market: None });
        };
        let mut connection = Connection::open(target).await.map_err(|e| e.at(target))?;
        find(&mut connection, target, product).await
    }

    /// The default market's price where there is one, else the first market's.
    fn from_prices(product: &str, prices: &BTreeMap<String, i64>) -> Option<Self> {
        let product = product.to_owned();
        if let Some(price) = prices.get(DEFAULT_MARKET) {
            return Some(Self { product, price: *price, market: None });
        }
        let (market, price) = prices.first_key_value()?;
        let plain = !market.is_empty() && market.bytes().all(|b| b.is_ascii_uppercase());
        plain.then(|| Self { product, price: *price, market: Some(market.clone()) })
    }
}

/// Asks for one product after the other over one connection.
async fn find_some(target: &Target, products: &[String]) -> Result<Vec<Offer>, LoadError> {
    let mut connection = Connection::open(target).await.map_err(|e| e.at(target))?;
    let mut offers = Vec::with_capacity(products.len());
    for product in products {
        offers.push(find(&mut connection, target, product).await?);
    }
    Ok(offers)
}

async fn find(connection: &mut Connection, target: &Target, product: &str) -> Result<Offer, LoadError> {
    let bad = |reason: String| LoadError::Product { product: product.to_owned(), reason };
    if !is_merchant_id(product) {
        return Err(bad(
            "a product id is 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter or digit".into()
        ));
    }
    let request = format!("GET {}/api/v1/products/{product} HTTP/1.1\r\nHost: {}\r\n\r\n", target.prefix, target.host);
    let answer = tokio::time::timeout(Duration::from_secs(10), connection.exchange(request.as_bytes()))
        .await
        .map_err(|_| bad("the catalog did not answer within 10 s".into()))?
        .map_err(|e| bad(e.to_string()))?;
    match answer.status {
        200 => {}
        404 => return Err(bad("the catalog has no such product".into())),
        status => return Err(bad(format!("the catalog answered {status}"))),
    }
    let document: ProductDocument = serde_json::from_slice(answer.body).map_err(|e| bad(e.to_string()))?;
    Offer::from_prices(product, &document.prices).ok_or_else(|| bad("it has no price in any market".into()))
}

/// `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`: such an id needs no escaping in a path or in JSON.
fn is_merchant_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_market_wins_and_another_is_named() {
        let parse = |text| serde_json::from_str::<ProductDocument>(text).unwrap().prices;
        let both = parse(r#"{"prices":{"JP":3,"KR":30}}"#);
        assert_eq!(Offer::from_prices("A", &both), Some(Offer { product: "A".into(), price: 30, market: None }));
        let japan = parse(r#"{"prices":{"JP":3}}"#);
        assert_eq!(
            Offer::from_prices("A", &japan),
            Some(Offer { product: "A".into(), price: 3, market: Some("JP".into()) })
        );
        assert_eq!(Offer::from_prices("A", &parse(r#"{"prices":{}}"#)), None);
    }
}
