//! Names of items in the table (reference: data, section 1.3).

use zizon_base::ids::{OrderId, Sku, UserHash};
use zizon_table::Key;

/// The owner of every stock shard this role writes: one process, one owner.
pub(crate) const OWNER: &str = "local";
/// Attribute of an order: `PLACED` or `VOID`.
pub(crate) const STATUS: &str = "st";
/// The order stands.
pub(crate) const PLACED: &str = "PLACED";
/// No order stands here; attempts that read an older generation must fail.
pub(crate) const VOID: &str = "VOID";
/// Attribute of a void: its generation.
pub(crate) const GENERATION: &str = "g";
/// Attribute of an order placed stepwise: the attempt that made it.
pub(crate) const NONCE: &str = "n";
/// Attribute of an order: digest of the request.
pub(crate) const DIGEST: &str = "dg";
/// Attribute with a binary document.
pub(crate) const DOCUMENT: &str = "b";
/// Attribute of an order: end of its reservation, milliseconds.
pub(crate) const EXPIRES: &str = "ex";

fn concat(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out
}

fn three_digits(number: u16) -> [u8; 3] {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(number / 100), digit(number / 10), digit(number)]
}

/// Partition of a user's orders.
pub(crate) fn user(hash: &UserHash) -> Vec<u8> {
    concat(&["U#", hash.as_str()])
}

/// An order.
pub(crate) fn order(id: &OrderId) -> Key {
    Key::new(user(&id.user_hash()), concat(&["O#", id.local()]))
}

/// A fact of an order.
pub(crate) fn fact(id: &OrderId, version: u32) -> Key {
    Key::new(user(&id.user_hash()), concat(&["O#", id.local(), "#E#", &format!("{version:04}")]))
}

/// What a key in a user's partition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// An order.
    Order(OrderId),
    /// A fact of an order and its version.
    Fact(OrderId, u32),
}

/// Reads a key; `None` for anything that is no order and no fact.
pub(crate) fn named(key: &Key) -> Option<Named> {
    let hash: UserHash = text(&key.pk)?.strip_prefix("U#")?.parse().ok()?;
    let rest = text(&key.sk)?.strip_prefix("O#")?;
    let (local, suffix) = rest.split_at_checked(OrderId::LOCAL_LEN)?;
    let id = OrderId::from_parts(&hash, local).ok()?;
    if suffix.is_empty() {
        return Some(Named::Order(id));
    }
    Some(Named::Fact(id, suffix.strip_prefix("#E#")?.parse().ok()?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A shard of a product's stock.
pub(crate) fn shard(sku: &Sku, number: u16) -> Key {
    let mut pk = concat(&["S#", sku.as_str(), "#", OWNER, "#"]);
    pk.extend_from_slice(&three_digits(number));
    Key::new(pk, &b"S"[..])
}

/// The SKU and number of a shard's key.
pub(crate) fn shard_named(key: &Key) -> Option<(&str, u16)> {
    let rest = text(&key.pk)?.strip_prefix("S#")?;
    let (rest, number) = rest.rsplit_once('#')?;
    let (sku, owner) = rest.rsplit_once('#')?;
    (owner == OWNER && key.sk.as_ref() == b"S").then_some((sku, number.parse().ok()?))
}

/// The directory of a product's stock.
pub(crate) fn directory(sku: &Sku) -> Key {
    Key::new(concat(&["S#", sku.as_str()]), &b"D"[..])
}

/// The SKU of a directory's key.
pub(crate) fn directory_named(key: &Key) -> Option<&str> {
    let sku = text(&key.pk)?.strip_prefix("S#")?;
    (key.sk.as_ref() == b"D").then_some(sku)
}

/// Where a reader of a feed stands.
pub(crate) fn cursor(reader: &str) -> Key {
    Key::new(concat(&["R#", reader]), &b"C"[..])
}

/// Check values of the secrets that stored ids and sealed fields were made with.
pub(crate) fn secrets() -> Key {
    Key::new(&b"K#secrets"[..], &b"K"[..])
}

/// Buckets of a list of products.
pub(crate) const BUCKETS: u8 = 16;

/// Partition of one bucket of the copy of the catalog.
pub(crate) fn view_bucket(bucket: u8) -> Vec<u8> {
    concat(&["V#catalog#", &bucket.to_string()])
}

/// A product in the copy of the catalog.
pub(crate) fn view(sku: &Sku) -> Key {
    Key::new(view_bucket(bucket(sku)), sku.as_str().as_bytes().to_vec())
}

/// Partition of one bucket of the list of products with stock.
pub(crate) fn stocked_bucket(bucket: u8) -> Vec<u8> {
    concat(&["V#stock#", &bucket.to_string()])
}

/// A product in the list of products with stock. Without it nobody would find the stock of a product that is no longer
/// in the catalog.
pub(crate) fn stocked(sku: &Sku) -> Key {
    Key::new(stocked_bucket(bucket(sku)), sku.as_str().as_bytes().to_vec())
}

fn bucket(sku: &Sku) -> u8 {
    // FNV-1a: the bucket must be the same for ever, whatever the standard library hashes with.
    let hash =
        sku.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u8::try_from(hash % u32::from(BUCKETS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let id: OrderId = format!("ord_{}", "0123456789abcdefghjkmnpqrstvwxyz0123456789").parse().unwrap();
        assert_eq!(named(&order(&id)), Some(Named::Order(id)));
        assert_eq!(named(&fact(&id, 12)), Some(Named::Fact(id, 12)));
        let sku: Sku = "PROD001".parse().unwrap();
        assert_eq!(shard_named(&shard(&sku, 217)), Some(("PROD001", 217)));
        assert_eq!(directory_named(&directory(&sku)), Some("PROD001"));
        assert_eq!(named(&shard(&sku, 1)), None);
        assert_eq!(shard_named(&directory(&sku)), None);
        assert_eq!(shard(&sku, 7).pk.as_ref(), b"S#PROD001#local#007");
    }
}
