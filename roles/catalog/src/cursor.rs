//! Where the next page begins, as a client carries it.
//!
//! Opaque and checksummed over the filters of its listing, so that a cursor that was cut, typed or used with
//! another listing is refused instead of skipping products. It is no secret: it names an id the client has seen.

use zizon_base::base32;
use zizon_base::ids::Sku;
use zizon_base::market::Market;

const CHECK_BYTES: usize = 4;

/// What a listing is of; a cursor is good for the same one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing<'a> {
    /// Name of the route's listing.
    pub(crate) name: &'static str,
    pub(crate) market: Option<Market>,
    pub(crate) category: Option<&'a str>,
}

/// The cursor of the page after `last`.
pub(crate) fn encode(listing: Listing<'_>, last: &Sku) -> String {
    let id = last.as_str().as_bytes();
    let mut bytes = check(listing, id).to_vec();
    bytes.extend_from_slice(id);
    let digits = (bytes.len() * 8).div_ceil(5);
    bytes.push(0);
    base32::encode_bits(&bytes, digits)
}

/// The id to go on after, if `text` is a cursor of this listing.
pub(crate) fn decode(listing: Listing<'_>, text: &str) -> Option<Sku> {
    if text.len() > 128 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut bits) = (0_u16, 0);
    for &byte in text.as_bytes() {
        buffer = buffer << 5 | u16::from(base32::digit(byte)?);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits).to_le_bytes()[0]);
            buffer &= (1 << bits) - 1;
        }
    }
    let (sum, id) = bytes.split_at_checked(CHECK_BYTES)?;
    let whole = sum == check(listing, id).as_slice() && buffer == 0;
    let sku = std::str::from_utf8(id).ok().filter(|_| whole)?;
    sku.parse().ok()
}

fn check(listing: Listing<'_>, id: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("zizon catalog cursor 1");
    for part in [listing.name, listing.market.map_or("", Market::code), listing.category.unwrap_or("")] {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    let hash = hasher.update(id).finalize();
    std::array::from_fn(|at| hash.as_bytes()[at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Listing<'_> = Listing { name: "products", market: None, category: None };

    proptest! {
        #[test]
        fn a_cursor_comes_back_and_a_changed_one_does_not(id in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", at in any::<prop::sample::Index>()) {
            let sku: Sku = id.parse().unwrap();
            let cursor = encode(ALL, &sku);
            prop_assert_eq!(decode(ALL, &cursor), Some(sku));
            let mut changed = cursor.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            prop_assert_eq!(decode(ALL, std::str::from_utf8(&changed).unwrap()), None);
            prop_assert_eq!(decode(ALL, &cursor[..cursor.len() - 1]), None);
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = decode(ALL, &text);
        }
    }

    #[test]
    fn a_cursor_of_another_listing_is_refused() {
        let cursor = encode(ALL, &"PROD001".parse().unwrap());
        assert_eq!(decode(Listing { market: Some(Market::Kr), ..ALL }, &cursor), None);
        assert_eq!(decode(Listing { category: Some("makeup"), ..ALL }, &cursor), None);
    }
}
