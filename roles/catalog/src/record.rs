//! A product as the table keeps it.
//!
//! | key | attributes |
//! |---|---|
//! | `P#<bucket>` / `<sku>` | `d` the product as JSON, `e` its entity tag, `v` how often it was written |
//! | `M#demo` / `M` | `s` whether the demo's products are being written or are written |
//!
//! The 64 buckets make it possible to list all products by queries alone, on any backend, without one partition
//! for everything.

use bytes::Bytes;
use zizon_base::ids::Sku;
use zizon_contracts::catalog::Product;
use zizon_table::{Item, Key};

/// Partitions that products are spread over.
pub(crate) const BUCKETS: u8 = 64;

/// A product as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) product: Product,
    /// The product rendered: what is answered, byte for byte.
    pub(crate) body: Bytes,
    /// Quoted, as HTTP writes it.
    pub(crate) etag: String,
    /// Counts writes of this product.
    pub(crate) version: i64,
}

/// What is stored cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damaged(pub(crate) String);

/// Partition key of a bucket.
pub(crate) fn bucket_key(bucket: u8) -> Bytes {
    format!("P#{bucket:02}").into_bytes().into()
}

/// Key of a product.
pub(crate) fn key(sku: &Sku) -> Key {
    let bucket = blake3::hash(sku.as_str().as_bytes()).as_bytes()[0] % BUCKETS;
    Key::new(bucket_key(bucket), sku.as_str().as_bytes().to_vec())
}

/// The product a key is about; `None` for keys of other things.
pub(crate) fn sku_of(key: &Key) -> Option<Sku> {
    if !key.pk.starts_with(b"P#") {
        return None;
    }
    std::str::from_utf8(&key.sk).ok()?.parse().ok()
}

impl Record {
    /// # Errors
    /// Never for a product made of texts and numbers; passed on rather than assumed.
    pub(crate) fn new(product: Product, version: i64) -> Result<Self, serde_json::Error> {
        let body = Bytes::from(serde_json::to_vec(&product)?);
        let etag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..16]);
        Ok(Self { product, body, etag, version })
    }

    pub(crate) fn to_item(&self) -> Item {
        Item::new(key(&self.product.id))
            .with("d", self.body.clone())
            .with("e", self.etag.as_str())
            .with("v", self.version)
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Damaged> {
        let missing = |name: &str| Damaged(format!("attribute {name} is missing"));
        let body = item.bytes("d").ok_or_else(|| missing("d"))?.clone();
        let product: Product = serde_json::from_slice(&body).map_err(|e| Damaged(e.to_string()))?;
        if item.key != key(&product.id) {
            return Err(Damaged("it is stored under another product's key".into()));
        }
        let etag = item.str("e").ok_or_else(|| missing("e"))?.to_owned();
        let version = item.int("v").ok_or_else(|| missing("v"))?;
        Ok(Self { product, body, etag, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_table() {
        for product in crate::demo::products().unwrap() {
            let record = Record::new(product, 3).unwrap();
            let item = record.to_item();
            assert_eq!(sku_of(&item.key), Some(record.product.id.clone()));
            assert_eq!(Record::from_item(&item).unwrap(), record);
        }
    }

    #[test]
    fn an_item_under_a_foreign_key_is_damaged() {
        let mut products = crate::demo::products().unwrap().into_iter();
        let (one, two) = (products.next().unwrap(), products.next().unwrap());
        let mut item = Record::new(one, 1).unwrap().to_item();
        item.key = key(&two.id);
        assert!(Record::from_item(&item).is_err());
    }
}
