//! The name of an item.

use bytes::Bytes;

use super::limits::{MAX_PK_BYTES, MAX_SK_BYTES};

/// Partition key and sort key. Items of one partition are ordered by the bytes of their sort key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Partition key, 1 to 2,048 bytes.
    pub pk: Bytes,
    /// Sort key, 1 to 1,024 bytes.
    pub sk: Bytes,
}

impl Key {
    /// A key from its parts. Lengths are checked where the key is used.
    pub fn new(pk: impl Into<Bytes>, sk: impl Into<Bytes>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// What is wrong with the lengths, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.pk.is_empty() || self.pk.len() > MAX_PK_BYTES {
            return Some(format!("partition key has {} bytes, allowed are 1 to {MAX_PK_BYTES}", self.pk.len()));
        }
        if self.sk.is_empty() || self.sk.len() > MAX_SK_BYTES {
            return Some(format!("sort key has {} bytes, allowed are 1 to {MAX_SK_BYTES}", self.sk.len()));
        }
        None
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pk.escape_ascii(), self.sk.escape_ascii())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
