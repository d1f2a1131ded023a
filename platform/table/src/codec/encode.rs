//! Writing images.

use super::{IMAGE_VERSION, TAG_BYTES, TAG_FALSE, TAG_INT, TAG_LIST, TAG_MAP, TAG_STR, TAG_TRUE};
use crate::model::error::WriteError;
use crate::model::eval::invalid;
use crate::model::item::Item;
use crate::model::limits::{MAX_ATTRS, MAX_DEPTH, MAX_ITEM_BYTES, MAX_NAME_BYTES};
use crate::model::value::Value;

/// Appends the image of the item (without its key) to `out`.
pub fn encode_image(item: &Item, out: &mut Vec<u8>) {
    out.push(IMAGE_VERSION);
    put_len(out, item.attrs().len());
    for (name, value) in item.attrs() {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

/// Length of the item's image, bytes.
#[must_use]
pub fn image_bytes(item: &Item) -> usize {
    let attrs = item.attrs().map(|(name, value)| len_bytes(name.len()) + name.len() + value_bytes(value));
    1 + len_bytes(item.attrs().len()) + attrs.sum::<usize>()
}

/// Length of the item's image if the item is within the bounds of the port.
///
/// # Errors
/// `Invalid` for names, nesting or attribute counts over their bounds, `TooLarge` for the whole.
pub fn check_item(item: &Item) -> Result<usize, WriteError> {
    if item.attrs().len() > MAX_ATTRS {
        return Err(invalid(format!("{} attributes, allowed are {MAX_ATTRS}", item.attrs().len())));
    }
    for (name, value) in item.attrs() {
        check_name(name)?;
        check_value(value, 1)?;
    }
    let bytes = image_bytes(item);
    if bytes > MAX_ITEM_BYTES { Err(WriteError::TooLarge) } else { Ok(bytes) }
}

fn check_name(name: &str) -> Result<(), WriteError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(invalid(format!("a name has 1 to {MAX_NAME_BYTES} bytes, not {}", name.len())));
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize) -> Result<(), WriteError> {
    if depth > MAX_DEPTH {
        return Err(invalid(format!("values are nested deeper than {MAX_DEPTH}")));
    }
    match value {
        Value::Map(map) => map.iter().try_for_each(|(name, value)| {
            check_name(name)?;
            check_value(value, depth + 1)
        }),
        Value::List(list) => list.iter().try_for_each(|value| check_value(value, depth + 1)),
        _ => Ok(()),
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(n) => {
            out.push(TAG_INT);
            put_varint(out, zigzag(*n));
        }
        Value::Str(text) => {
            out.push(TAG_STR);
            put_bytes(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(TAG_BYTES);
            put_bytes(out, bytes);
        }
        Value::Bool(false) => out.push(TAG_FALSE),
        Value::Bool(true) => out.push(TAG_TRUE),
        Value::Map(map) => {
            out.push(TAG_MAP);
            put_len(out, map.len());
            for (name, value) in map {
                put_bytes(out, name.as_bytes());
                put_value(out, value);
            }
        }
        Value::List(list) => {
            out.push(TAG_LIST);
            put_len(out, list.len());
            list.iter().for_each(|value| put_value(out, value));
        }
    }
}

fn value_bytes(value: &Value) -> usize {
    1 + match value {
        Value::Int(n) => varint_bytes(zigzag(*n)),
        Value::Str(text) => len_bytes(text.len()) + text.len(),
        Value::Bytes(bytes) => len_bytes(bytes.len()) + bytes.len(),
        Value::Bool(_) => 0,
        Value::Map(map) => {
            let entries = map.iter().map(|(name, value)| len_bytes(name.len()) + name.len() + value_bytes(value));
            len_bytes(map.len()) + entries.sum::<usize>()
        }
        Value::List(list) => len_bytes(list.len()) + list.iter().map(value_bytes).sum::<usize>(),
    }
}

const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

pub(super) const fn varint_bytes(n: u64) -> usize {
    let bits = 64 - (n | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, len as u64);
}

pub(super) const fn len_bytes(len: usize) -> usize {
    varint_bytes(len as u64)
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}
