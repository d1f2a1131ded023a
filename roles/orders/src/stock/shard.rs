//! One counter of a product's stock.

use std::collections::BTreeMap;

use zizon_base::ids::Sku;
use zizon_contracts::orders::StockView;
use zizon_table::{Cond, Item, Key, Op, Patch, Path, Value};

use crate::keys;
use crate::order::fact::StockEffect;

/// Attribute: units that can be ordered.
pub(crate) const AVAILABLE: &str = "q";
/// Attribute: units in reservations of placed orders.
pub(crate) const RESERVED: &str = "r";
/// Attribute: units sold.
pub(crate) const SOLD: &str = "s";
/// Attribute: units by attempt that holds them.
pub(crate) const HOLDS: &str = "h";
/// Attribute: the last fact of the feed whose effect is in.
pub(crate) const SETTLED: &str = "cur";

/// What a shard holds: `available + reserved + held + sold` is everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shard {
    /// Can be ordered.
    pub available: i64,
    /// Reserved by placed orders.
    pub reserved: i64,
    /// Held by attempts under way.
    pub held: i64,
    /// Sold.
    pub sold: i64,
}

impl Shard {
    /// The numbers of a shard item; an absent one is empty.
    #[must_use]
    pub fn read(item: Option<&Item>) -> Self {
        let Some(item) = item else { return Self::default() };
        let int = |name| item.int(name).unwrap_or(0);
        let held = item.map(HOLDS).into_iter().flat_map(BTreeMap::values).filter_map(Value::as_int).sum();
        Self { available: int(AVAILABLE), reserved: int(RESERVED), held, sold: int(SOLD) }
    }

    /// Everything in it.
    #[must_use]
    pub const fn on_hand(&self) -> i64 {
        self.available + self.reserved + self.held + self.sold
    }

    /// Whether no term is negative.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.available >= 0 && self.reserved >= 0 && self.held >= 0 && self.sold >= 0
    }

    fn plus(self, other: Self) -> Self {
        Self {
            available: self.available + other.available,
            reserved: self.reserved + other.reserved,
            held: self.held + other.held,
            sold: self.sold + other.sold,
        }
    }
}

/// The sum over a product's shards.
#[must_use]
pub fn view(sku: &Sku, shards: &[Shard]) -> StockView {
    let sum = shards.iter().copied().fold(Shard::default(), Shard::plus);
    StockView {
        sku: sku.as_str().to_owned(),
        on_hand: sum.on_hand(),
        available: sum.available,
        held: sum.reserved + sum.held,
        sold: sum.sold,
        shards: u32::try_from(shards.len()).unwrap_or(u32::MAX),
    }
}

/// Units go from available to reserved, if they are there.
pub(crate) fn reserve(key: Key, units: i64) -> Op {
    Op::Patch {
        key,
        patches: vec![Patch::AddInt(Path::attr(AVAILABLE), -units), Patch::AddInt(Path::attr(RESERVED), units)],
        cond: Cond::AttrGe(Path::attr(AVAILABLE), units),
    }
}

/// Units go from available to the attempt's hold, if they are there and the attempt holds nothing here.
pub(crate) fn hold(key: Key, attempt: &str, units: i64) -> Op {
    let entry = Path::entry(HOLDS, attempt);
    Op::Patch {
        key,
        patches: vec![Patch::AddInt(Path::attr(AVAILABLE), -units), Patch::Set(entry.clone(), Value::Int(units))],
        cond: Cond::All(vec![Cond::AttrGe(Path::attr(AVAILABLE), units), Cond::NoAttr(entry)]),
    }
}

/// An attempt's hold goes back to available, if it is still there.
pub(crate) fn give_back(key: Key, attempt: &str, units: i64) -> Op {
    let entry = Path::entry(HOLDS, attempt);
    Op::Patch {
        key,
        patches: vec![Patch::Remove(entry.clone()), Patch::AddInt(Path::attr(AVAILABLE), units)],
        cond: Cond::HasAttr(entry),
    }
}

/// The hold of an attempt that became an order turns into its reservation, if it is still there.
pub(crate) fn settle(key: Key, attempt: &str, units: i64) -> Op {
    let entry = Path::entry(HOLDS, attempt);
    Op::Patch {
        key,
        patches: vec![Patch::Remove(entry.clone()), Patch::AddInt(Path::attr(RESERVED), units)],
        cond: Cond::HasAttr(entry),
    }
}

/// The effect of a fact on one shard. With `once`, only if no fact at or after that feed position is in already.
pub(crate) fn effect(key: Key, effect: StockEffect, units: i64, once: Option<i64>) -> Op {
    let (available, reserved, sold) = effect.deltas(units);
    let mut patches = Vec::with_capacity(4);
    let mut conds = Vec::with_capacity(2);
    for (name, delta) in [(AVAILABLE, available), (RESERVED, reserved), (SOLD, sold)] {
        if delta != 0 {
            patches.push(Patch::AddInt(Path::attr(name), delta));
        }
        if delta < 0 {
            conds.push(Cond::AttrGe(Path::attr(name), -delta));
        }
    }
    if let Some(seq) = once {
        patches.push(Patch::Set(Path::attr(SETTLED), Value::Int(seq)));
        let before = Cond::AttrLt(Path::attr(SETTLED), seq);
        conds.push(Cond::Any(vec![Cond::NoAttr(Path::attr(SETTLED)), before]));
    }
    Op::Patch { key, patches, cond: Cond::All(conds) }
}

/// Whether the effect of the fact at this feed position, or of a later one, is in.
pub(crate) fn has_taken(shard: Option<&Item>, seq: i64) -> bool {
    shard.and_then(|shard| shard.int(SETTLED)).is_some_and(|last| last >= seq)
}

/// Name of an attempt's hold: the order's digits, a dot, the attempt's nonce.
pub(crate) fn attempt_name(order: &zizon_base::ids::OrderId, nonce: &str) -> String {
    let digits = &order.as_str()["ord_".len()..];
    [digits, ".", nonce].concat()
}

/// Order and nonce of a hold's name.
pub(crate) fn attempt_of(name: &str) -> Option<(zizon_base::ids::OrderId, &str)> {
    let (digits, nonce) = name.split_once('.')?;
    Some((["ord_", digits].concat().parse().ok()?, nonce))
}

/// The open holds of a shard: name and units.
pub(crate) fn holds(item: &Item) -> impl Iterator<Item = (&str, i64)> {
    let entries = item.map(HOLDS).into_iter().flatten();
    entries.filter_map(|(name, units)| Some((name.as_str(), units.as_int()?)))
}

/// The shard a key names, for a product that is known.
pub(crate) fn key(sku: &Sku, number: u16) -> Key {
    keys::shard(sku, number)
}
