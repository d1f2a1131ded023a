//! Reading images: never panics, never allocates more than a small multiple of the input.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{IMAGE_VERSION, TAG_BYTES, TAG_FALSE, TAG_INT, TAG_LIST, TAG_MAP, TAG_STR, TAG_TRUE};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{MAX_ATTRS, MAX_DEPTH, MAX_ITEM_BYTES, MAX_NAME_BYTES};
use crate::model::path::Name;
use crate::model::value::Value;

/// Why bytes are not an image or a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a version this program does not know.
    #[error("format version {0} is not known")]
    Version(u8),
    /// Ends too early.
    #[error("bytes end too early")]
    Short,
    /// Goes on after its end.
    #[error("bytes after the end")]
    Trailing,
    /// A count, length or nesting is over its bound.
    #[error("a count, length or nesting is over its bound")]
    Bound,
    /// Not the one encoding of a value: unknown tag, long integer form, names out of order, bad text.
    #[error("not a canonical encoding")]
    Form,
}

/// The item whose image (without its key) these bytes are.
///
/// # Errors
/// When they are not exactly one image of a known version.
pub fn decode_image(key: Key, image: &Bytes) -> Result<Item, DecodeError> {
    if image.len() > MAX_ITEM_BYTES {
        return Err(DecodeError::Bound);
    }
    let mut from = Source::new(image);
    match from.byte()? {
        IMAGE_VERSION => {}
        other => return Err(DecodeError::Version(other)),
    }
    let count = from.count(MAX_ATTRS)?;
    let mut attrs: Vec<(Name, Value)> = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let name = from.name()?;
        if attrs.last().is_some_and(|(last, _)| last.as_ref() >= name) {
            return Err(DecodeError::Form);
        }
        let name = intern(name);
        attrs.push((name, from.value(1)?));
    }
    from.end()?;
    Ok(Item::from_sorted(key, attrs))
}

/// Short names that stock and orders use are not allocated again for every item.
fn intern(name: &str) -> Name {
    const COMMON: [&str; 16] =
        ["b", "c", "cur", "dg", "g", "h", "iss", "n", "q", "r", "s", "seq", "st", "ts", "ttl", "v"];
    match COMMON.iter().find(|&&common| common == name) {
        Some(common) => Name::Borrowed(common),
        None => Name::Owned(name.to_owned()),
    }
}

/// A position in bytes to decode.
pub(super) struct Source<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl<'a> Source<'a> {
    pub fn new(whole: &'a Bytes) -> Self {
        Self { whole, at: 0 }
    }

    pub fn resume(whole: &'a Bytes, at: usize) -> Self {
        Self { whole, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.whole.get(self.at).ok_or(DecodeError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Form);
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero is a longer form of the same number.
                return if byte == 0 && shift > 0 { Err(DecodeError::Form) } else { Ok(n) };
            }
        }
        Err(DecodeError::Form)
    }

    pub fn count(&mut self, most: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Bound)?;
        if count > most { Err(DecodeError::Bound) } else { Ok(count) }
    }

    pub fn slice(&mut self, most: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.count(most)?;
        let end = self.at.checked_add(len).ok_or(DecodeError::Bound)?;
        let slice = self.whole.get(self.at..end).ok_or(DecodeError::Short)?;
        self.at = end;
        Ok(slice)
    }

    /// Bytes that share the memory of the whole.
    pub fn bytes(&mut self, most: usize) -> Result<Bytes, DecodeError> {
        let slice = self.slice(most)?;
        Ok(self.whole.slice_ref(slice))
    }

    fn text(&mut self, most: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.slice(most)?).map_err(|_| DecodeError::Form)
    }

    fn name(&mut self) -> Result<&'a str, DecodeError> {
        let name = self.text(MAX_NAME_BYTES)?;
        if name.is_empty() { Err(DecodeError::Bound) } else { Ok(name) }
    }

    pub fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.whole.len() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::Bound);
        }
        match self.byte()? {
            TAG_INT => {
                let n = self.varint()?;
                Ok(Value::Int((n >> 1).cast_signed() ^ -((n & 1).cast_signed())))
            }
            TAG_STR => Ok(Value::Str(self.text(MAX_ITEM_BYTES)?.into())),
            TAG_BYTES => Ok(Value::Bytes(self.bytes(MAX_ITEM_BYTES)?)),
            TAG_FALSE => Ok(Value::Bool(false)),
            TAG_TRUE => Ok(Value::Bool(true)),
            TAG_MAP => self.map(depth).map(Value::Map),
            TAG_LIST => self.list(depth).map(Value::List),
            _ => Err(DecodeError::Form),
        }
    }

    fn map(&mut self, depth: usize) -> Result<BTreeMap<String, Value>, DecodeError> {
        let mut map: BTreeMap<String, Value> = BTreeMap::new();
        for _ in 0..self.count(MAX_ITEM_BYTES)? {
            let name = self.name()?;
            if map.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err(DecodeError::Form);
            }
            let name = name.to_owned();
            map.insert(name, self.value(depth + 1)?);
        }
        Ok(map)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let count = self.count(MAX_ITEM_BYTES)?;
        let mut list = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            list.push(self.value(depth + 1)?);
        }
        Ok(list)
    }
}
