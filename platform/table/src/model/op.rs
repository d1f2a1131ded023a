//! Operations of a write.

use super::cond::Cond;
use super::item::Item;
use super::key::Key;
use super::path::Path;
use super::value::Value;

/// A change inside an item. All patches of one operation see the item as it was, so their paths must not
/// overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// Sets the value. Setting an entry of an absent map makes the map.
    Set(Path, Value),
    /// Adds to a number; absent counts as 0. Overflow, or a value that is no number, refuses the operation.
    AddInt(Path, i64),
    /// Removes the value, if there is one. A map stays when its last entry goes.
    Remove(Path),
}

impl Patch {
    /// Where it writes.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Set(path, _) | Self::AddInt(path, _) | Self::Remove(path) => path,
        }
    }
}

/// One operation of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the whole item.
    Put {
        /// The item as it shall be.
        item: Item,
        /// Must hold of the item as it is.
        cond: Cond,
    },
    /// Changes parts of an item; an absent one is made if the condition allows it.
    Patch {
        /// Which item.
        key: Key,
        /// The changes.
        patches: Vec<Patch>,
        /// Must hold of the item as it is.
        cond: Cond,
    },
    /// Removes an item; removing an absent one is allowed and changes nothing.
    Delete {
        /// Which item.
        key: Key,
        /// Must hold of the item as it is.
        cond: Cond,
    },
    /// Writes nothing: the plan happens only if the condition holds.
    Check {
        /// Which item.
        key: Key,
        /// Must hold of the item as it is.
        cond: Cond,
    },
}

impl Op {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { item, .. } => &item.key,
            Self::Patch { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// Its condition.
    #[must_use]
    pub fn cond(&self) -> &Cond {
        match self {
            Self::Put { cond, .. }
            | Self::Patch { cond, .. }
            | Self::Delete { cond, .. }
            | Self::Check { cond, .. } => cond,
        }
    }
}
