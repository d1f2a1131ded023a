//! The order as it is stored: written once, never changed. Everything the 201 says is in it or follows from it.

use bytes::Bytes;
use zizon_base::ids::{Sku, UserRef};
use zizon_base::market::Market;
use zizon_base::time::Timestamp;

use super::wire::{Damaged, Reader, put_bytes, put_text, put_uint};

/// Version of the encoding, its first byte.
const VERSION: u8 = 1;
const GUEST: u8 = 1;
const SEALED: u8 = 2;
const KNOWN_FLAGS: u8 = GUEST | SEALED;

/// One line, with the prices of the moment of ordering. Amounts are minor units of the market's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What is sold.
    pub sku: Sku,
    /// Its name in the market's language.
    pub name: Box<str>,
    /// Units.
    pub quantity: u32,
    /// Per unit.
    pub unit_price: i64,
    /// `quantity * unit_price`.
    pub subtotal: i64,
    /// Tax contained in the line.
    pub tax: i64,
}

/// Where the units of a product were taken from. A product may be taken from several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// The first line that names the product, from 0.
    pub line: u8,
    /// The shard.
    pub shard: u16,
    /// Units.
    pub units: u32,
}

/// The sums of an order in minor units. Shipping and duty are quoted by a later part of the shop and are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Sum of the lines.
    pub subtotal: i64,
    /// Tax contained in them.
    pub tax_included: i64,
    /// To pay.
    pub total: i64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderDocument {
    /// Who ordered, in the caller's words.
    pub user: UserRef,
    /// Where.
    pub market: Market,
    /// When.
    pub created: Timestamp,
    /// Until when its stock is kept for payment.
    pub expires: Timestamp,
    /// Whether it was ordered without an account: the answer then carries a token to read it with.
    pub guest: bool,
    /// The lines, in the order of the request.
    pub lines: Vec<Line>,
    /// Where the stock came from.
    pub allocations: Vec<Allocation>,
    /// Personal fields under the user's key.
    pub sealed: Option<Bytes>,
}

impl OrderDocument {
    /// The sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        // Every partial sum was checked against the range of money when the order was priced.
        let subtotal = self.lines.iter().map(|line| line.subtotal).sum();
        let tax_included = self.lines.iter().map(|line| line.tax).sum();
        Totals { subtotal, tax_included, total: subtotal }
    }

    /// The product an allocation is about.
    #[must_use]
    pub fn sku_of(&self, allocation: &Allocation) -> &Sku {
        &self.lines[usize::from(allocation.line)].sku
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.lines.len() * 64);
        out.push(VERSION);
        out.push((u8::from(self.guest) * GUEST) | (u8::from(self.sealed.is_some()) * SEALED));
        put_text(&mut out, self.market.code());
        put_uint(&mut out, self.created.millis());
        put_uint(&mut out, self.expires.millis());
        put_text(&mut out, self.user.as_str());
        put_uint(&mut out, self.lines.len() as u64);
        for line in &self.lines {
            put_text(&mut out, line.sku.as_str());
            put_text(&mut out, &line.name);
            put_uint(&mut out, u64::from(line.quantity));
            for amount in [line.unit_price, line.subtotal, line.tax] {
                // Prices are never negative: the view refuses such a product.
                put_uint(&mut out, amount.unsigned_abs());
            }
        }
        put_allocations(&mut out, &self.allocations);
        if let Some(sealed) = &self.sealed {
            put_bytes(&mut out, sealed);
        }
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Damaged`] for anything [`OrderDocument::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes, "order document");
        let damaged = reader.damaged();
        let (version, flags) = (reader.u8()?, reader.u8()?);
        if version != VERSION || flags & !KNOWN_FLAGS != 0 {
            return Err(damaged);
        }
        let market = Market::from_code(reader.text()?).ok_or(damaged)?;
        let created = Timestamp::from_millis(reader.uint()?);
        let expires = Timestamp::from_millis(reader.uint()?);
        let user = reader.text()?.parse().map_err(|_| damaged)?;
        let count: usize = reader.fit()?;
        let mut lines = Vec::with_capacity(count.min(128));
        for _ in 0..count {
            lines.push(read_line(&mut reader)?);
        }
        let allocations = read_allocations(&mut reader)?;
        if allocations.iter().any(|taken| usize::from(taken.line) >= lines.len()) {
            return Err(damaged);
        }
        let sealed = if flags & SEALED == 0 { None } else { Some(Bytes::copy_from_slice(reader.bytes()?)) };
        reader.end()?;
        let guest = flags & GUEST != 0;
        Ok(Self { user, market, created, expires, guest, lines, allocations, sealed })
    }
}

fn read_line(reader: &mut Reader<'_>) -> Result<Line, Damaged> {
    let damaged = reader.damaged();
    Ok(Line {
        sku: reader.text()?.parse().map_err(|_| damaged)?,
        name: reader.text()?.into(),
        quantity: reader.fit()?,
        unit_price: reader.fit()?,
        subtotal: reader.fit()?,
        tax: reader.fit()?,
    })
}

pub(crate) fn put_allocations(out: &mut Vec<u8>, allocations: &[Allocation]) {
    put_uint(out, allocations.len() as u64);
    for taken in allocations {
        put_uint(out, u64::from(taken.line));
        put_uint(out, u64::from(taken.shard));
        put_uint(out, u64::from(taken.units));
    }
}

fn read_allocations(reader: &mut Reader<'_>) -> Result<Vec<Allocation>, Damaged> {
    let count: usize = reader.fit()?;
    let mut allocations = Vec::with_capacity(count.min(256));
    for _ in 0..count {
        allocations.push(Allocation { line: reader.fit()?, shard: reader.fit()?, units: reader.fit()? });
    }
    Ok(allocations)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn line()(
            sku in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}", name in "\\PC{0,20}", quantity in 1u32..=99, unit_price in 0i64..1 << 40,
            tax in 0i64..1 << 40,
        ) -> Line {
            let subtotal = unit_price * i64::from(quantity);
            Line { sku: sku.parse().unwrap(), name: name.into(), quantity, unit_price, subtotal, tax }
        }
    }

    prop_compose! {
        pub(crate) fn document()(
            user in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", market in 0usize..3, created in 0u64..1 << 42, life in 0u64..1 << 20,
            guest in any::<bool>(), lines in prop::collection::vec(line(), 1..6),
            shards in prop::collection::vec((any::<u16>(), 1u32..99), 0..8),
            sealed in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) -> OrderDocument {
            let count = lines.len();
            let allocations = shards.iter().enumerate().map(|(at, &(shard, units))| {
                Allocation { line: u8::try_from(at % count).unwrap(), shard, units }
            }).collect();
            OrderDocument {
                user: user.parse().unwrap(),
                market: Market::ALL[market],
                created: Timestamp::from_millis(created),
                expires: Timestamp::from_millis(created + life),
                guest, lines, allocations, sealed: sealed.map(Bytes::from),
            }
        }
    }

    proptest! {
        #[test]
        fn a_document_comes_back_as_it_went(document in document()) {
            prop_assert_eq!(OrderDocument::decode(&document.encode()), Ok(document));
        }

        #[test]
        fn a_document_cut_short_or_made_longer_is_damaged(document in document(), cut in any::<prop::sample::Index>()) {
            let mut bytes = document.encode();
            bytes.push(0);
            prop_assert!(OrderDocument::decode(&bytes).is_err());
            let length = cut.index(bytes.len() - 1);
            prop_assert!(OrderDocument::decode(&bytes[..length]).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(document) = OrderDocument::decode(&bytes) {
                prop_assert_eq!(document.encode(), bytes);
            }
        }
    }
}
