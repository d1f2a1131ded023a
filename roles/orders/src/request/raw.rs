//! The members of an order request as they stand in the document, before anything is believed of them.
//!
//! One pass, strict: no member twice in any object, at most [`json::MAX_DEPTH`] levels, nothing after the document.
//! A known member of a wrong type is kept as such, so that the answer can point at it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zizon_base::json::{self, JsonError, Members, Strict};

/// Lines kept; one more than allowed is enough to know that there are too many.
pub(super) const KEPT_LINES: usize = 101;

/// A member that should be a scalar.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Scalar<'a> {
    #[default]
    Absent,
    Null,
    Int(i64),
    /// A whole number beyond 64 bits of sign.
    Huge,
    Text(Cow<'a, str>),
    /// A fraction, a boolean, a list or an object.
    Other,
}

/// Members of an object in the order of their names, or `None` where something else stands.
pub(super) type Scalars<'a, const N: usize> = Option<[Scalar<'a>; N]>;

pub(super) const LINE_MEMBERS: [&str; 3] = ["product_id", "quantity", "price"];
pub(super) const ADDRESS_MEMBERS: [&str; 8] =
    ["recipient", "phone", "country", "postal_code", "region", "city", "line1", "line2"];
/// Scalars of the document itself; then follow `items` and `shipping_address`.
pub(super) const ORDER_MEMBERS: [&str; 10] = [
    "user_id",
    "idempotency_key",
    "market",
    "currency",
    "expected_total",
    "note",
    "quote_id",
    "coupon_codes",
    "flash_sale_id",
    "shipping_address_id",
];

/// What stands at `items`.
#[derive(Debug, Default)]
pub(super) enum RawItems<'a> {
    #[default]
    Absent,
    NotAList,
    /// The first lines, up to [`KEPT_LINES`].
    Lines(Vec<Scalars<'a, 3>>),
}

/// What stands at `shipping_address`.
#[derive(Debug, Default)]
pub(super) enum RawAddress<'a> {
    #[default]
    Absent,
    Given(Scalars<'a, 8>),
}

/// The whole document.
#[derive(Debug, Default)]
pub(super) struct RawOrder<'a> {
    pub scalars: [Scalar<'a>; 10],
    pub items: RawItems<'a>,
    pub address: RawAddress<'a>,
}

/// Reads a document.
pub(super) fn read(body: &[u8]) -> Result<RawOrder<'_>, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let order = deserializer.deserialize_map(OrderVisitor)?;
    deserializer.end()?;
    Ok(order)
}

/// A member's name, borrowed where it needs no unescaping.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Notes which members an object has had.
#[derive(Default)]
struct Seen {
    known: u32,
    other: Members,
}

impl Seen {
    fn known<E: Error>(&mut self, index: usize) -> Result<(), E> {
        let bit = 1u32 << index;
        if self.known & bit != 0 {
            return Err(E::custom("a member appears twice"));
        }
        self.known |= bit;
        Ok(())
    }

    fn other<E: Error>(&mut self, name: &str) -> Result<(), E> {
        if self.other.insert(name) { Ok(()) } else { Err(E::custom("a member appears twice")) }
    }
}

struct OrderVisitor;

impl<'de> Visitor<'de> for OrderVisitor {
    type Value = RawOrder<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        const ITEMS: usize = ORDER_MEMBERS.len();
        const ADDRESS: usize = ORDER_MEMBERS.len() + 1;
        let mut order = RawOrder::default();
        let mut seen = Seen::default();
        while let Some(name) = map.next_key_seed(Name)? {
            if let Some(index) = ORDER_MEMBERS.iter().position(|known| *known == name) {
                seen.known(index)?;
                order.scalars[index] = map.next_value_seed(ScalarSeed { depth: 1 })?;
            } else if name == "items" {
                seen.known(ITEMS)?;
                order.items = map.next_value_seed(ItemsSeed)?;
            } else if name == "shipping_address" {
                seen.known(ADDRESS)?;
                order.address = map.next_value_seed(AddressSeed)?;
            } else {
                seen.other(&name)?;
                map.next_value_seed(Strict { depth: 1 })?;
            }
        }
        Ok(order)
    }
}

/// Entering one level more, if that is allowed.
fn deeper<E: Error>(depth: usize) -> Result<usize, E> {
    if depth >= json::MAX_DEPTH {
        return Err(E::custom(format_args!("more than {} levels", json::MAX_DEPTH)));
    }
    Ok(depth + 1)
}

/// Whatever is no list and no object: `$value` for each.
macro_rules! no_container {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }
    };
}

#[derive(Clone, Copy)]
struct ScalarSeed {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Scalar::Huge, Scalar::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Strict { depth: self.depth }.visit_seq(seq)?;
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Strict { depth: self.depth }.visit_map(map)?;
        Ok(Scalar::Other)
    }
}

/// An object whose members of interest are scalars.
#[derive(Clone, Copy)]
struct ObjectSeed<const N: usize> {
    names: &'static [&'static str; N],
    depth: usize,
}

impl<'de, const N: usize> DeserializeSeed<'de> for ObjectSeed<N> {
    type Value = Scalars<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for ObjectSeed<N> {
    type Value = Scalars<'de, N>;

    no_container!(None);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Strict { depth: self.depth }.visit_seq(seq)?;
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth = deeper(self.depth)?;
        let mut scalars = std::array::from_fn(|_| Scalar::Absent);
        let mut seen = Seen::default();
        while let Some(name) = map.next_key_seed(Name)? {
            if let Some(index) = self.names.iter().position(|known| *known == name) {
                seen.known(index)?;
                scalars[index] = map.next_value_seed(ScalarSeed { depth })?;
            } else {
                seen.other(&name)?;
                map.next_value_seed(Strict { depth })?;
            }
        }
        Ok(Some(scalars))
    }
}

struct ItemsSeed;

impl<'de> DeserializeSeed<'de> for ItemsSeed {
    type Value = RawItems<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed {
    type Value = RawItems<'de>;

    no_container!(RawItems::NotAList);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawItems::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut lines = Vec::with_capacity(1);
        let seed = ObjectSeed { names: &LINE_MEMBERS, depth: 2 };
        while let Some(line) = seq.next_element_seed(seed)? {
            if lines.len() < KEPT_LINES {
                lines.push(line);
            }
        }
        Ok(RawItems::Lines(lines))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Strict { depth: 1 }.visit_map(map)?;
        Ok(RawItems::NotAList)
    }
}

struct AddressSeed;

impl<'de> DeserializeSeed<'de> for AddressSeed {
    type Value = RawAddress<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AddressSeed {
    type Value = RawAddress<'de>;

    no_container!(RawAddress::Given(None));

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawAddress::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Strict { depth: 1 }.visit_seq(seq)?;
        Ok(RawAddress::Given(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        ObjectSeed { names: &ADDRESS_MEMBERS, depth: 1 }.visit_map(map).map(RawAddress::Given)
    }
}
