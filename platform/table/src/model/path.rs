//! Where in an item a condition or patch points.

use std::borrow::Cow;

/// Name of an attribute. Names written in code are not copied.
pub type Name = Cow<'static, str>;

/// An attribute, or one entry of an attribute that is a map. Not deeper: every backend can do two levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Name of the attribute.
    pub attr: Name,
    /// Key inside the attribute's map; `None` is the whole attribute. Any text, dots included.
    pub entry: Option<String>,
}

impl Path {
    /// The whole attribute `name`.
    pub fn attr(name: impl Into<Name>) -> Self {
        Self { attr: name.into(), entry: None }
    }

    /// Entry `key` of the map in attribute `name`.
    pub fn entry(name: impl Into<Name>, key: impl Into<String>) -> Self {
        Self { attr: name.into(), entry: Some(key.into()) }
    }

    /// Whether writing one of the two touches what the other names.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.attr == other.attr && (self.entry.is_none() || other.entry.is_none() || self.entry == other.entry)
    }
}

impl From<&'static str> for Path {
    fn from(name: &'static str) -> Self {
        Self::attr(name)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.entry {
            None => f.write_str(&self.attr),
            Some(key) => write!(f, "{}.{key}", self.attr),
        }
    }
}
