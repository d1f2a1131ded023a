//! Conditions of a write.

use super::item::Item;
use super::limits::{MAX_COND_DEPTH, MAX_COND_LEAVES};
use super::path::Path;
use super::value::Value;

/// What must hold of the item as it is for the write to happen. A comparison with something absent or of
/// another type is false, as in DynamoDB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cond {
    /// Holds.
    #[default]
    Always,
    /// The item exists.
    Exists,
    /// The item does not exist.
    NotExists,
    /// The value at the path is this one.
    AttrEq(Path, Value),
    /// The number at the path is at least this.
    AttrGe(Path, i64),
    /// The number at the path is less than this.
    AttrLt(Path, i64),
    /// There is a value at the path.
    HasAttr(Path),
    /// There is no value at the path (holds for an absent item).
    NoAttr(Path),
    /// All hold; none given holds.
    All(Vec<Cond>),
    /// At least one holds; none given does not hold.
    Any(Vec<Cond>),
}

impl Cond {
    /// Whether the condition holds of the item, or of its absence.
    #[must_use]
    pub fn holds(&self, item: Option<&Item>) -> bool {
        let at = |path: &Path| item.and_then(|item| item.at(path));
        match self {
            Self::Always => true,
            Self::Exists => item.is_some(),
            Self::NotExists => item.is_none(),
            Self::AttrEq(path, value) => at(path) == Some(value),
            Self::AttrGe(path, bound) => at(path).and_then(Value::as_int).is_some_and(|n| n >= *bound),
            Self::AttrLt(path, bound) => at(path).and_then(Value::as_int).is_some_and(|n| n < *bound),
            Self::HasAttr(path) => at(path).is_some(),
            Self::NoAttr(path) => at(path).is_none(),
            Self::All(all) => all.iter().all(|cond| cond.holds(item)),
            Self::Any(any) => any.iter().any(|cond| cond.holds(item)),
        }
    }

    /// Whether the verdict depends on the item's attributes, not only on whether it exists.
    #[must_use]
    pub fn needs_attrs(&self) -> bool {
        match self {
            Self::Always | Self::Exists | Self::NotExists => false,
            Self::All(conds) | Self::Any(conds) => conds.iter().any(Self::needs_attrs),
            _ => true,
        }
    }

    /// Whether the condition is within the bounds of [`super::limits`].
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let mut leaves = 0;
        self.count(1, &mut leaves) && leaves <= MAX_COND_LEAVES
    }

    fn count(&self, depth: usize, leaves: &mut usize) -> bool {
        match self {
            Self::All(conds) | Self::Any(conds) => {
                depth <= MAX_COND_DEPTH
                    && conds.len() <= MAX_COND_LEAVES
                    && conds.iter().all(|cond| cond.count(depth + 1, leaves))
            }
            _ => {
                *leaves += 1;
                true
            }
        }
    }
}
