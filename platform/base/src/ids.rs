//! Typed ids, and the derivation that makes an order its own idempotency record.
//!
//! An order's id is a function of (credential scope, user, idempotency key) under a secret that never rotates. Two
//! requests with one key therefore meet at one item, on any machine and in any region, without a look-up.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{base32, market::Market, time::Timestamp};

/// The text is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub struct InvalidId {
    /// What the text would have to look like.
    pub expected: &'static str,
}

macro_rules! merchant_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_merchant_id(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { expected: MERCHANT_ID })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

const MERCHANT_ID: &str =
    "1 to 64 characters of letters, digits, dot, dash and underscore, beginning with a letter or digit";

/// Whether `text` matches `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
#[must_use]
pub fn is_merchant_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 64
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

merchant_id! {
    /// A stock-keeping unit: what is counted, priced and sold.
    Sku
}
merchant_id! {
    /// A user as the client names them: a customer's id, or an opaque guest reference.
    UserRef
}

/// A client's name for one attempt to order: 1 to 255 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The key as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    /// A key can open a guest's order, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} bytes)", self.0.len())
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if text.is_empty() || text.len() > 255 || !printable {
            return Err(InvalidId { expected: "1 to 255 printable ASCII characters" });
        }
        Ok(Self(text.into()))
    }
}

/// The partition of a user: 16 base32 digits of an HMAC, so that neither keys nor logs carry the user's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserHash([u8; UserHash::LEN]);

impl UserHash {
    /// Digits of a user hash.
    pub const LEN: usize = 16;

    /// The digits.
    ///
    /// # Panics
    /// Never: the digits are ASCII by construction.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base32 digits are ASCII")
    }
}

impl FromStr for UserHash {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits: [u8; Self::LEN] =
            text.as_bytes().try_into().map_err(|_| InvalidId { expected: "16 base32 digits" })?;
        if base32::is_encoded(text) { Ok(Self(digits)) } else { Err(InvalidId { expected: "16 base32 digits" }) }
    }
}

impl fmt::Display for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The public id of an order: `ord_`, the user's partition (16 digits), the order in it (26 digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId([u8; OrderId::LEN]);

impl OrderId {
    /// Bytes of an order id.
    pub const LEN: usize = 4 + UserHash::LEN + Self::LOCAL_LEN;
    /// Digits of the part that names the order within its user's partition.
    pub const LOCAL_LEN: usize = 26;

    /// The whole id.
    ///
    /// # Panics
    /// Never: the id is ASCII by construction.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("order ids are ASCII")
    }

    /// The partition of the order's user.
    #[must_use]
    pub fn user_hash(&self) -> UserHash {
        let mut digits = [0; UserHash::LEN];
        digits.copy_from_slice(&self.0[4..4 + UserHash::LEN]);
        UserHash(digits)
    }

    /// The part that names the order within its partition.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.as_str()[4 + UserHash::LEN..]
    }

    /// Puts an id together from its two parts.
    ///
    /// # Errors
    /// [`InvalidId`] when `local` is not 26 base32 digits.
    pub fn from_parts(user: &UserHash, local: &str) -> Result<Self, InvalidId> {
        let mut id = [0; Self::LEN];
        let (prefix, digits) = id.split_at_mut(ORDER_PREFIX.len());
        prefix.copy_from_slice(ORDER_PREFIX.as_bytes());
        let user = user.as_str().as_bytes();
        if user.len() + local.len() != digits.len() || !base32::is_encoded(local) {
            return Err(InvalidId { expected: ORDER_ID });
        }
        digits[..user.len()].copy_from_slice(user);
        digits[user.len()..].copy_from_slice(local.as_bytes());
        Ok(Self(id))
    }
}

const ORDER_ID: &str = "ord_ and 42 base32 digits";
const ORDER_PREFIX: &str = "ord_";

impl FromStr for OrderId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| InvalidId { expected: ORDER_ID })?;
        let digits = text.strip_prefix(ORDER_PREFIX).ok_or(InvalidId { expected: ORDER_ID })?;
        if base32::is_encoded(digits) { Ok(Self(bytes)) } else { Err(InvalidId { expected: ORDER_ID }) }
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The secret behind ids and access tokens. Made once per platform, never rotated, part of every backup.
#[derive(Clone)]
pub struct IdKey(Hmac<Sha256>);

impl IdKey {
    /// Uses 32 bytes of a cryptographic source.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn new(secret: &Zeroizing<[u8; 32]>) -> Self {
        Self(Hmac::new_from_slice(secret.as_slice()).expect("HMAC takes keys of any length"))
    }

    /// HMAC-SHA-256 over length-prefixed parts, so that no two lists of parts collide.
    fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The partition of `user` under the credential `scope` (`guest`, a client's id).
    ///
    /// # Panics
    /// Never: the encoder writes exactly 16 digits.
    #[must_use]
    pub fn user_hash(&self, scope: &str, user: &UserRef) -> UserHash {
        let mac = self.mac(b"user", &[scope.as_bytes(), user.as_str().as_bytes()]);
        base32::encode_bits(&mac, UserHash::LEN).parse().expect("the encoder writes 16 digits")
    }

    /// The id of the order that (scope, user, key) names.
    ///
    /// # Panics
    /// Never: the encoder writes exactly 26 digits.
    #[must_use]
    pub fn order_id(&self, scope: &str, user: &UserRef, key: &IdempotencyKey) -> OrderId {
        let parts = [scope.as_bytes(), user.as_str().as_bytes(), key.as_str().as_bytes()];
        let local = base32::encode_bits(&self.mac(b"order", &parts), OrderId::LOCAL_LEN);
        OrderId::from_parts(&self.user_hash(scope, user), &local).expect("the encoder writes 26 digits")
    }

    /// The bearer token that lets a guest read `order`: 32 base32 digits (160 bits), the same at every replay.
    #[must_use]
    pub fn access_token(&self, order: &OrderId) -> String {
        base32::encode_bits(&self.mac(b"access", &[order.as_str().as_bytes()]), 32)
    }

    /// Whether `token` opens `order`, in time that does not depend on where they differ.
    #[must_use]
    pub fn verify_access_token(&self, order: &OrderId, token: &str) -> bool {
        self.access_token(order).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// The order number people read to each other: market letter, business day, seven digits and a check digit
    /// (`K261122-7F3K9QXM`). Not unique by itself; a call centre finds the order by number and name.
    #[must_use]
    pub fn order_number(&self, order: &OrderId, market: Market, created: Timestamp) -> String {
        let (year, month, day) = created.date_at_offset(market.business_day_offset_minutes());
        let digits = base32::encode_bits(&self.mac(b"number", &[order.as_str().as_bytes()]), 7);
        let check = check_digit(&digits);
        let initial = &market.code()[..1];
        format!("{initial}{:02}{month:02}{day:02}-{digits}{check}", year % 100).to_ascii_uppercase()
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(secret)")
    }
}

/// Weighted sum modulo 31 (a prime below the alphabet's size): finds every single wrong digit and every swap of two
/// neighbours, except between the two digits whose values are equal modulo 31.
fn check_digit(digits: &str) -> char {
    let weighted: usize =
        digits.bytes().enumerate().map(|(at, byte)| (at + 2) * usize::from(base32::digit(byte).unwrap_or(0))).sum();
    base32::encode_u64((weighted % 31) as u64, 1).chars().next().unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> IdKey {
        IdKey::new(&Zeroizing::new([7; 32]))
    }

    #[test]
    fn merchant_ids_follow_their_pattern() {
        assert!("PROD001".parse::<Sku>().is_ok());
        assert!("a".repeat(64).parse::<Sku>().is_ok());
        for bad in ["", "-a", ".a", "a b", "a/b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<Sku>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_key_names_one_order_and_carries_its_partition() {
        let user: UserRef = "user_42".parse().unwrap();
        let id = key().order_id("guest", &user, &"k".parse().unwrap());
        assert_eq!(id, key().order_id("guest", &user, &"k".parse().unwrap()));
        assert_eq!(id.user_hash(), key().user_hash("guest", &user));
        assert_eq!(id.as_str().parse::<OrderId>().unwrap(), id);
        assert_eq!(id.as_str().len(), 46);
    }

    #[test]
    fn scope_user_and_key_do_not_run_into_each_other() {
        let id = |scope: &str, user: &str, idempotency: &str| {
            key().order_id(scope, &user.parse().unwrap(), &idempotency.parse().unwrap())
        };
        assert_ne!(id("guest", "ab", "c"), id("guest", "a", "bc"));
        assert_ne!(id("guesta", "b", "c"), id("guest", "ab", "c"));
    }

    #[test]
    fn only_the_right_token_opens_an_order() {
        let user: UserRef = "user_42".parse().unwrap();
        let order = key().order_id("guest", &user, &"k".parse().unwrap());
        let token = key().access_token(&order);
        assert!(key().verify_access_token(&order, &token));
        assert!(!key().verify_access_token(&order, &token[1..]));
        assert!(!key().verify_access_token(&order, ""));
    }

    #[test]
    fn an_order_number_has_its_market_and_local_day() {
        let order = key().order_id("guest", &"u".parse().unwrap(), &"k".parse().unwrap());
        let created = Timestamp::parse_rfc3339("2026-11-22T20:00:00Z").unwrap();
        let number = key().order_number(&order, Market::Kr, created);
        assert!(number.starts_with("K261123-"), "{number}");
        assert_eq!(number.len(), 16);
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", "secret".parse::<IdempotencyKey>().unwrap()), "IdempotencyKey(6 bytes)");
    }
}
