//! One shard of stock as a counter: the item the table keeps, with its conditional changes.

use std::hash::{Hash, Hasher};

use zizon_table::{Item, Op, Value, Verdict, eval};

use super::Model;

/// The item, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State(pub Option<Item>);

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        for (name, value) in self.0.iter().flat_map(Item::attrs) {
            name.hash(into);
            hash_value(value, into);
        }
    }
}

fn hash_value<H: Hasher>(value: &Value, into: &mut H) {
    match value {
        Value::Int(number) => number.hash(into),
        Value::Str(text) => text.hash(into),
        Value::Bytes(bytes) => bytes.hash(into),
        Value::Bool(truth) => truth.hash(into),
        Value::Map(map) => map.iter().for_each(|(name, value)| {
            name.hash(into);
            hash_value(value, into);
        }),
        Value::List(list) => list.iter().for_each(|value| hash_value(value, into)),
    }
}

/// A call with its answer, as far as it concerns this shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The change was made, or may have been.
    Changed(Op),
    /// The change's condition held, but another one of the same plan did not: nothing was done.
    Held(Op),
    /// The change's condition did not hold of this.
    Failed(Op, State),
    /// This was read.
    Read(State),
}

/// The counter of one shard.
#[derive(Debug, Clone, Copy, Default)]
pub struct StockShard;

impl Model for StockShard {
    type State = State;
    type Call = Call;

    fn initial(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, call: &Call) -> Option<State> {
        let item = state.0.as_ref();
        let same = |holds: bool| holds.then(|| state.clone());
        match call {
            Call::Changed(op) if op.cond().holds(item) => match eval::apply(op.clone(), item).ok()? {
                Verdict::Put(item) => Some(State(Some(item))),
                Verdict::Delete => Some(State(None)),
                Verdict::Nothing => Some(state.clone()),
            },
            Call::Changed(_) => None,
            Call::Held(op) => same(op.cond().holds(item)),
            Call::Failed(op, seen) => same(!op.cond().holds(item) && seen == state),
            Call::Read(seen) => same(seen == state),
        }
    }
}
