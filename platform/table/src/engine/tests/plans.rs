//! Random plans over a small key space, so that they meet.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Cond, Item, Key, Op, Patch, Path, Value};

fn key() -> impl Strategy<Value = Key> {
    (0..3_u8, 0..4_u8).prop_map(|(pk, sk)| key_of(pk, sk))
}

fn key_of(pk: u8, sk: u8) -> Key {
    Key::new(vec![b'p', pk], vec![b's', sk])
}

/// All keys that plans name.
pub(super) fn keys() -> Vec<Key> {
    (0..3).flat_map(|pk| (0..4).map(move |sk| key_of(pk, sk))).collect()
}

fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        3 => Just(Path::attr("q")),
        1 => Just(Path::attr("r")),
        1 => Just(Path::entry("h", "a.1")),
        1 => Just(Path::entry("h", "b.2")),
        1 => Just(Path::attr("h")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-3..10_i64).prop_map(Value::Int),
        1 => any::<i64>().prop_map(Value::Int),
        1 => "[a-z]{0,6}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::Bool),
        // Larger than what the index holds itself.
        2 => (100..600_usize, any::<u8>()).prop_map(|(len, byte)| Value::from(vec![byte; len])),
        1 => Just(Value::Map(std::collections::BTreeMap::new())),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let attrs = vec((prop_oneof![Just("q"), Just("r"), Just("h"), Just("b")], value()), 0..4);
    (key(), attrs)
        .prop_map(|(key, attrs)| attrs.into_iter().fold(Item::new(key), |item, (name, value)| item.with(name, value)))
}

fn cond() -> impl Strategy<Value = Cond> {
    let leaf = prop_oneof![
        6 => Just(Cond::Always),
        2 => Just(Cond::Exists),
        2 => Just(Cond::NotExists),
        1 => (path(), value()).prop_map(|(path, value)| Cond::AttrEq(path, value)),
        2 => (path(), -2..8_i64).prop_map(|(path, bound)| Cond::AttrGe(path, bound)),
        1 => (path(), -2..8_i64).prop_map(|(path, bound)| Cond::AttrLt(path, bound)),
        1 => path().prop_map(Cond::HasAttr),
        1 => path().prop_map(Cond::NoAttr),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Cond::All), vec(inner, 0..3).prop_map(Cond::Any)]
    })
}

fn patch() -> impl Strategy<Value = Patch> {
    prop_oneof![
        3 => (path(), -3..4_i64).prop_map(|(path, n)| Patch::AddInt(path, n)),
        2 => (path(), value()).prop_map(|(path, value)| Patch::Set(path, value)),
        1 => path().prop_map(Patch::Remove),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (item(), cond()).prop_map(|(item, cond)| Op::Put { item, cond }),
        4 => (key(), vec(patch(), 0..4), cond()).prop_map(|(key, patches, cond)| Op::Patch { key, patches, cond }),
        1 => (key(), cond()).prop_map(|(key, cond)| Op::Delete { key, cond }),
        1 => (key(), cond()).prop_map(|(key, cond)| Op::Check { key, cond }),
    ]
}

/// Plans, some of them invalid.
pub(super) fn plan() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..5)
}
