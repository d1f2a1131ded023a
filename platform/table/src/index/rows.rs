//! The entries of one partition in memory. Most partitions have a single one: an order's, a counter's.

use std::collections::BTreeMap;
use std::ops::Bound;

use lsm_tree::Slice;

/// A value with the sequence it was set at.
pub(super) struct Version {
    pub seq: u64,
    /// `None`: removed.
    pub value: Option<Slice>,
}

impl Version {
    /// Bytes of the value.
    pub fn value_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// The newest version of an item and the one before.
pub(super) struct Entry {
    pub newest: Version,
    /// The version before, if it was made here.
    pub before: Option<Version>,
}

/// What is known here of a key at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its value, or that it was removed.
    Here(Option<Slice>),
    /// Nothing; older parts of the index know.
    Below,
    /// It has been changed twice since.
    Moved,
}

impl Entry {
    pub fn at(&self, at: u64) -> Found {
        match (&self.newest, &self.before) {
            (newest, _) if newest.seq <= at => Found::Here(newest.value.clone()),
            (_, Some(before)) if before.seq <= at => Found::Here(before.value.clone()),
            (_, Some(_)) => Found::Moved,
            (_, None) => Found::Below,
        }
    }
}

/// Entries of one partition by their whole keys, in order. Never empty.
pub(super) enum Rows {
    One(Slice, Entry),
    Many(BTreeMap<Slice, Entry>),
}

impl Rows {
    /// A key of the partition.
    pub fn any_key(&self) -> &[u8] {
        match self {
            Self::One(key, _) => key,
            Self::Many(rows) => rows.first_key_value().map_or(&[], |(key, _)| key),
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        match self {
            Self::One(only, entry) => (**only == *key).then_some(entry),
            Self::Many(rows) => rows.get(key),
        }
    }

    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        match self {
            Self::One(only, entry) => (**only == *key).then_some(entry),
            Self::Many(rows) => rows.get_mut(key),
        }
    }

    /// Adds an entry whose key is not there.
    pub fn insert(&mut self, key: Slice, entry: Entry) {
        if let Self::Many(rows) = self {
            rows.insert(key, entry);
            return;
        }
        let rows = BTreeMap::from([(key, entry)]);
        if let Self::One(first, entry) = std::mem::replace(self, Self::Many(rows))
            && let Self::Many(rows) = self
        {
            rows.insert(first, entry);
        }
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Slice, &Entry)> {
        let (one, many) = match self {
            Self::One(key, entry) => (Some((key, entry)), None),
            Self::Many(rows) => (None, Some(rows)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Up to `most` entries between two keys, of which none may lie beyond the other, ascending or descending; and
    /// whether there are more.
    pub fn between(&self, span: &Span, most: usize) -> (Vec<(&Slice, &Entry)>, bool) {
        match self {
            Self::One(key, entry) => {
                let entry = span.holds(key).then_some((key, entry));
                let more = most == 0 && entry.is_some();
                (entry.into_iter().take(most).collect(), more)
            }
            Self::Many(rows) => {
                let mut range = rows.range::<[u8], _>((as_slice(&span.lower), as_slice(&span.upper)));
                let mut step = || if span.reverse { range.next_back() } else { range.next() };
                let taken: Vec<_> = std::iter::from_fn(&mut step).take(most).collect();
                let more = step().is_some();
                (taken, more)
            }
        }
    }
}

/// A range of keys of one partition.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// What all its keys begin with.
    pub prefix: Vec<u8>,
    pub lower: Bound<Vec<u8>>,
    pub upper: Bound<Vec<u8>>,
    pub reverse: bool,
}

impl Span {
    /// What is left after `last`.
    pub fn go_on_after(&mut self, last: &Slice) {
        let bound = Bound::Excluded(last.to_vec());
        if self.reverse {
            self.upper = bound;
        } else {
            self.lower = bound;
        }
    }

    /// Whether no key can be inside (ordered maps panic on such ranges).
    pub fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
            _ => false,
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        let after = match &self.lower {
            Bound::Unbounded => true,
            Bound::Included(low) => key >= low.as_slice(),
            Bound::Excluded(low) => key > low.as_slice(),
        };
        let before = match &self.upper {
            Bound::Unbounded => true,
            Bound::Included(high) => key <= high.as_slice(),
            Bound::Excluded(high) => key < high.as_slice(),
        };
        after && before
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
