//! Which sort keys a query looks at.

use std::ops::Bound;

use bytes::Bytes;

use super::{Cursor, SkRange};
use crate::model::error::ReadError;
use crate::model::key::Key;
use crate::model::limits::MAX_SK_BYTES;

/// Bounds of a query after its cursor is taken into account.
#[derive(Debug)]
pub(crate) struct SkBounds {
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
}

impl SkBounds {
    /// # Errors
    /// `Invalid` for sort keys over their bound and cursors outside the range.
    pub fn new(range: SkRange, reverse: bool, cursor: Option<Cursor>) -> Result<Self, ReadError> {
        let (mut lower, mut upper) = match range {
            SkRange::All => (Bound::Unbounded, Bound::Unbounded),
            SkRange::Prefix(prefix) if prefix.is_empty() => (Bound::Unbounded, Bound::Unbounded),
            SkRange::Prefix(prefix) => {
                let end = after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
                (Bound::Included(prefix), end)
            }
            SkRange::Range { from, to } => (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded)),
        };
        for bound in [&lower, &upper] {
            if let Bound::Included(sk) | Bound::Excluded(sk) = bound
                && sk.len() > MAX_SK_BYTES
            {
                return Err(ReadError::Invalid("sort key of the range is too long".to_owned()));
            }
        }
        if let Some(Cursor(sk)) = cursor {
            let below = match &lower {
                Bound::Included(low) | Bound::Excluded(low) => sk < *low,
                Bound::Unbounded => false,
            };
            let above = match &upper {
                Bound::Included(high) | Bound::Excluded(high) => sk >= *high,
                Bound::Unbounded => false,
            };
            if below || above || sk.is_empty() {
                return Err(ReadError::Invalid("cursor does not belong to this query".to_owned()));
            }
            if reverse {
                upper = Bound::Excluded(sk);
            } else {
                lower = Bound::Excluded(sk);
            }
        }
        Ok(Self { lower, upper })
    }

    /// Whether no key can be inside (ordered maps panic on such ranges).
    pub fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Included(low), Bound::Excluded(high)) => low >= high,
            (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
            _ => false,
        }
    }

    /// Lower bound of the sort key.
    pub fn lower_sk(&self) -> &Bound<Bytes> {
        &self.lower
    }

    /// Upper bound of the sort key.
    pub fn upper_sk(&self) -> &Bound<Bytes> {
        &self.upper
    }

    /// Lower bound as a whole key.
    pub fn lower(&self, pk: &Bytes) -> Bound<Key> {
        match &self.lower {
            Bound::Unbounded => Bound::Included(Key::new(pk.clone(), Bytes::new())),
            Bound::Included(sk) => Bound::Included(Key::new(pk.clone(), sk.clone())),
            Bound::Excluded(sk) => Bound::Excluded(Key::new(pk.clone(), sk.clone())),
        }
    }

    /// Upper bound as a whole key.
    pub fn upper(&self, pk: &Bytes) -> Bound<Key> {
        match &self.upper {
            // The least key of any later partition: pk followed by a zero byte.
            Bound::Unbounded => {
                let mut next = pk.to_vec();
                next.push(0);
                Bound::Excluded(Key::new(next, Bytes::new()))
            }
            Bound::Included(sk) => Bound::Included(Key::new(pk.clone(), sk.clone())),
            Bound::Excluded(sk) => Bound::Excluded(Key::new(pk.clone(), sk.clone())),
        }
    }
}

/// The least bytes that are greater than everything that begins with `prefix`, if there are any.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end.into())
}
