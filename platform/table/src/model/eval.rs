//! What an operation does to an item: pure functions, shared by the model and the embedded engine.

use std::collections::{BTreeMap, HashSet};

use super::error::WriteError;
use super::item::Item;
use super::key::Key;
use super::limits::{MAX_NAME_BYTES, MAX_PATCHES, MAX_PLAN_OPS};
use super::op::{Op, Patch};
use super::path::{Name, Path};
use super::value::Value;
use crate::codec;

/// What a plan does to one key, once its conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The item is this one afterwards.
    Put(Item),
    /// The item is gone afterwards.
    Delete,
    /// Nothing changes.
    Nothing,
}

/// Refuses what no state of the table could make right: bounds, duplicate keys, overlapping patches.
///
/// # Errors
/// `Invalid` says what is wrong; `TooLarge` for an item over its bound.
pub fn validate(ops: &[Op]) -> Result<(), WriteError> {
    if ops.is_empty() || ops.len() > MAX_PLAN_OPS {
        return Err(invalid(format!("a plan has 1 to {MAX_PLAN_OPS} operations, not {}", ops.len())));
    }
    for op in ops {
        validate_op(op)?;
    }
    let duplicate = if ops.len() <= 8 {
        (1..ops.len()).find(|&at| ops[..at].iter().any(|earlier| earlier.key() == ops[at].key()))
    } else {
        let mut seen = HashSet::with_capacity(ops.len());
        ops.iter().position(|op| !seen.insert(op.key()))
    };
    match duplicate {
        Some(at) => Err(invalid(format!("operation {at} names a key a second time: {}", ops[at].key()))),
        None => Ok(()),
    }
}

fn validate_op(op: &Op) -> Result<(), WriteError> {
    if let Some(problem) = op.key().problem() {
        return Err(invalid(problem));
    }
    if !op.cond().is_bounded() {
        return Err(invalid("condition has too many terms or levels".to_owned()));
    }
    match op {
        Op::Put { item, .. } => codec::check_item(item).map(|_| ()),
        Op::Patch { patches, .. } => validate_patches(patches),
        Op::Delete { .. } | Op::Check { .. } => Ok(()),
    }
}

fn validate_patches(patches: &[Patch]) -> Result<(), WriteError> {
    if patches.len() > MAX_PATCHES {
        return Err(invalid(format!("{} patches in one operation, allowed are {MAX_PATCHES}", patches.len())));
    }
    for (at, patch) in patches.iter().enumerate() {
        let path = patch.path();
        let named = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES;
        if !named(&path.attr) || !path.entry.as_deref().is_none_or(named) {
            return Err(invalid(format!("a name in path {at} is empty or over {MAX_NAME_BYTES} bytes")));
        }
        if patches[..at].iter().any(|earlier| earlier.path().overlaps(path)) {
            return Err(invalid(format!("two patches write {path}")));
        }
    }
    Ok(())
}

/// The first operation whose condition does not hold; `items` are what is there, in the order of `ops`.
#[must_use]
pub fn first_failed(ops: &[Op], items: &[Option<&Item>]) -> Option<usize> {
    debug_assert_eq!(ops.len(), items.len());
    ops.iter().zip(items).position(|(op, item)| !op.cond().holds(*item))
}

/// What the operation does, given that its condition holds of `current`.
///
/// # Errors
/// `Invalid` when a patch does not fit the item (overflow, wrong type), `TooLarge` when the item outgrows its bound.
pub fn apply(op: Op, current: Option<&Item>) -> Result<Verdict, WriteError> {
    match op {
        Op::Put { item, .. } => Ok(Verdict::Put(item)),
        Op::Patch { key, patches, .. } => {
            let item = patched(&key, current, patches)?;
            codec::check_item(&item)?;
            Ok(Verdict::Put(item))
        }
        Op::Delete { .. } if current.is_some() => Ok(Verdict::Delete),
        Op::Delete { .. } | Op::Check { .. } => Ok(Verdict::Nothing),
    }
}

fn patched(key: &Key, current: Option<&Item>, patches: Vec<Patch>) -> Result<Item, WriteError> {
    let mut item = current.cloned().unwrap_or_else(|| Item::new(key.clone()));
    for patch in patches {
        match patch {
            Patch::Set(path, value) => set(&mut item, path, value)?,
            Patch::AddInt(path, amount) => add(&mut item, path, amount)?,
            Patch::Remove(path) => remove(&mut item, &path)?,
        }
    }
    Ok(item)
}

fn set(item: &mut Item, path: Path, value: Value) -> Result<(), WriteError> {
    match path.entry {
        None => item.set(path.attr, value),
        Some(key) => {
            entries(item, &path.attr)?.insert(key, value);
        }
    }
    Ok(())
}

fn add(item: &mut Item, path: Path, amount: i64) -> Result<(), WriteError> {
    let overflow = |path: &str| invalid(format!("sum at {path} is out of range"));
    let sum = match item.at(&path) {
        None => amount,
        Some(Value::Int(n)) => n.checked_add(amount).ok_or_else(|| overflow(&path.attr))?,
        Some(_) => return Err(invalid(format!("value at {path} is no number"))),
    };
    if path.entry.is_none()
        && let Some(slot) = item.get_mut(&path.attr)
    {
        *slot = Value::Int(sum);
        return Ok(());
    }
    set(item, path, Value::Int(sum))
}

fn remove(item: &mut Item, path: &Path) -> Result<(), WriteError> {
    let Some(key) = &path.entry else {
        item.remove(&path.attr);
        return Ok(());
    };
    match item.get_mut(&path.attr) {
        None => Ok(()),
        Some(Value::Map(map)) => {
            map.remove(key.as_str());
            Ok(())
        }
        Some(_) => Err(invalid(format!("attribute {} is no map", path.attr))),
    }
}

fn entries<'a>(item: &'a mut Item, attr: &Name) -> Result<&'a mut BTreeMap<String, Value>, WriteError> {
    if item.get(attr).is_none() {
        item.set(attr.clone(), Value::Map(BTreeMap::new()));
    }
    match item.get_mut(attr) {
        Some(Value::Map(map)) => Ok(map),
        _ => Err(invalid(format!("attribute {attr} is no map"))),
    }
}

pub(crate) fn invalid(reason: String) -> WriteError {
    WriteError::Invalid(reason)
}
