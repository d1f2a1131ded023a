//! An item: a key and its attributes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::key::Key;
use super::path::{Name, Path};
use super::value::Value;

/// A key and a small list of named values, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The item's name.
    pub key: Key,
    attrs: Vec<(Name, Value)>,
}

impl Item {
    /// An item without attributes.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, attrs: Vec::new() }
    }

    pub(crate) fn from_sorted(key: Key, attrs: Vec<(Name, Value)>) -> Self {
        debug_assert!(attrs.windows(2).all(|w| w[0].0 < w[1].0));
        Self { key, attrs }
    }

    /// The item with attribute `name` set.
    #[must_use]
    pub fn with(mut self, name: impl Into<Name>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets attribute `name`.
    pub fn set(&mut self, name: impl Into<Name>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.position(&name) {
            Ok(at) => self.attrs[at].1 = value,
            Err(at) => self.attrs.insert(at, (name, value)),
        }
    }

    /// Removes attribute `name` and returns what it was.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.position(name).ok().map(|at| self.attrs.remove(at).1)
    }

    /// The value of attribute `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.position(name).ok().map(|at| &self.attrs[at].1)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.position(name).ok().map(|at| &mut self.attrs[at].1)
    }

    /// What `path` points at.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Value> {
        let whole = self.get(&path.attr)?;
        match &path.entry {
            None => Some(whole),
            Some(key) => whole.as_map()?.get(key.as_str()),
        }
    }

    /// The attributes in the order of their names.
    pub fn attrs(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.attrs.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Attribute `name` as a number.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_int()
    }

    /// Attribute `name` as a text.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Attribute `name` as bytes.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&Bytes> {
        self.get(name)?.as_bytes()
    }

    /// Attribute `name` as a truth value.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// Attribute `name` as a map.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&BTreeMap<String, Value>> {
        self.get(name)?.as_map()
    }

    /// Attribute `name` as a list.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.get(name)?.as_list()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        // Items have a handful of attributes: a scan over short names beats a binary search.
        for (at, (have, _)) in self.attrs.iter().enumerate() {
            match have.as_ref().cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(at),
                std::cmp::Ordering::Greater => return Err(at),
            }
        }
        Err(self.attrs.len())
    }
}
