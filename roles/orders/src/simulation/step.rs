//! What a write to the table is for, as a report of crash points names it.

use zizon_table::{Op, Patch, Path};

use super::is_shard;
use crate::execute::ACTIVE;
use crate::keys::{self, Named};
use crate::stock::shard::{RESERVED, SETTLED};

/// A step of an order's life, by the call of the table's port that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A look at items.
    Read,
    /// An order with all of its stock, in one plan.
    PlaceAtOnce,
    /// Units of a shard held for an attempt.
    Hold,
    /// The order of an attempt that holds its units.
    Put,
    /// A hold given back, by its attempt or by the sweeper.
    GiveBack,
    /// A void put where an order would be.
    Fence,
    /// An old void raised.
    Raise,
    /// A hold turned into its order's reservation.
    Settle,
    /// A fact of an order, alone or with its effect on the stock.
    Fact,
    /// The effect of a fact on a shard.
    Effect,
    /// The note of a follower of the feed: where it goes on.
    Note,
    /// The settler's note that nothing is left to do.
    NoteIdle,
    /// Stock put in or split by the operator.
    Stock,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::PlaceAtOnce,
        Self::Hold,
        Self::Put,
        Self::GiveBack,
        Self::Fence,
        Self::Raise,
        Self::Settle,
        Self::Fact,
        Self::Effect,
        Self::Note,
        Self::NoteIdle,
        Self::Stock,
    ];

    /// In a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::PlaceAtOnce => "order and stock at once",
            Self::Hold => "hold",
            Self::Put => "put the order",
            Self::GiveBack => "give a hold back",
            Self::Fence => "put a void",
            Self::Raise => "raise a void",
            Self::Settle => "settle a hold",
            Self::Fact => "write a fact",
            Self::Effect => "bring a fact's effect",
            Self::Note => "save a position",
            Self::NoteIdle => "note that all is settled",
            Self::Stock => "set or split stock",
        }
    }

    /// The step that this write is.
    #[must_use]
    pub fn of(ops: &[Op]) -> Self {
        let of_order = ops.iter().find_map(|op| match (op, keys::named(op.key())?) {
            (Op::Put { item, .. }, Named::Order(_)) if item.bytes(keys::DOCUMENT).is_none() => Some(Self::Fence),
            (Op::Put { .. }, Named::Order(_)) => Some(if ops.len() > 1 { Self::PlaceAtOnce } else { Self::Put }),
            (_, Named::Order(_)) => Some(Self::Raise),
            (_, Named::Fact(..)) => Some(Self::Fact),
        });
        of_order.unwrap_or_else(|| match ops {
            [Op::Patch { key, patches, .. }] if is_shard(key) => Self::of_shard(patches),
            [Op::Put { item, .. }] if is_shard(&item.key) => Self::Stock,
            [Op::Put { item, .. }] => {
                if item.bool(ACTIVE) == Some(false) {
                    Self::NoteIdle
                } else {
                    Self::Note
                }
            }
            _ => Self::Stock,
        })
    }

    fn of_shard(patches: &[Patch]) -> Self {
        let sets = |name| patches.iter().any(|patch| matches!(patch, Patch::Set(path, _) if *path == Path::attr(name)));
        let adds =
            |name| patches.iter().any(|patch| matches!(patch, Patch::AddInt(path, _) if *path == Path::attr(name)));
        let removes = patches.iter().any(|patch| matches!(patch, Patch::Remove(_)));
        match (removes, sets(SETTLED)) {
            (true, _) => {
                if adds(RESERVED) {
                    Self::Settle
                } else {
                    Self::GiveBack
                }
            }
            (false, true) => Self::Effect,
            (false, false) if adds(RESERVED) => Self::Effect,
            (false, false) if patches.iter().any(|patch| matches!(patch, Patch::Set(..))) => Self::Hold,
            (false, false) => Self::Stock,
        }
    }
}
