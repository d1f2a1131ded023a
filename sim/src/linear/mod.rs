//! Linearizability: whether the answers of concurrent calls are those of some order of the calls, one after the other,
//! in which every call takes effect between its beginning and its end (Herlihy and Wing, 1990).
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried (the one porcupine uses): take any call that
//! began before the earliest end of those not taken yet, and go on from the state it leads to; never enter the same set
//! of calls in the same state twice. A call whose outcome nobody learned may be taken or left out.

pub mod counter;
pub mod order;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use hashbrown::HashSet;

/// What a correct object does.
pub trait Model {
    /// State of the object.
    type State: Clone + Eq + Hash;
    /// A call together with its answer.
    type Call;

    /// Where the object begins.
    fn initial(&self) -> Self::State;

    /// The state after `call` from `state`; `None` when the answer could not be given there.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// When a call was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was answered at this moment.
    At(u64),
    /// It was never answered; if it took effect, then before this moment (`u64::MAX`: at any time).
    Unknown(u64),
}

/// A call of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<C> {
    /// What was called and answered.
    pub call: C,
    /// When it began. No two moments of a history are the same.
    pub begin: u64,
    /// When it was over.
    pub end: End,
}

impl<C> Entry<C> {
    const fn deadline(&self) -> u64 {
        match self.end {
            End::At(at) | End::Unknown(at) => at,
        }
    }

    const fn is_required(&self) -> bool {
        matches!(self.end, End::At(_))
    }
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The longest beginning that could be explained has so many answered calls.
    Impossible {
        /// Answered calls explained at most.
        explained: usize,
    },
    /// The search was given up after so many states.
    Undecided,
}

/// Which calls were taken.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken(Box<[u64]>);

impl Taken {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn with(&self, at: usize) -> Self {
        let mut taken = self.clone();
        taken.0[at / 64] |= 1 << (at % 64);
        taken
    }
}

struct Node<S> {
    taken: Taken,
    state: S,
    /// The latest beginning of what was taken: time is at least there.
    now: u64,
    answered: usize,
}

/// Searches for an order of `history` that `model` allows, visiting at most `most` states.
pub fn check<M: Model>(model: &M, history: &[Entry<M::Call>], most: usize) -> Verdict {
    let required = history.iter().filter(|entry| entry.is_required()).count();
    let mut order: Vec<usize> = (0..history.len()).collect();
    // Tried last to first: answered calls by their ends before those of which nothing is known.
    order.sort_by_key(|&at| std::cmp::Reverse((!history[at].is_required(), history[at].deadline(), at)));
    let first = Node { taken: Taken::none(history.len()), state: model.initial(), now: 0, answered: 0 };
    let mut seen: HashSet<(Taken, M::State)> = HashSet::new();
    let mut stack = vec![first];
    let mut explained = 0;
    while let Some(node) = stack.pop() {
        explained = explained.max(node.answered);
        if node.answered == required {
            return Verdict::Linearizable;
        }
        if seen.len() >= most {
            return Verdict::Undecided;
        }
        let open = history.iter().enumerate().filter(|(at, entry)| entry.is_required() && !node.taken.has(*at));
        let earliest = open.map(|(_, entry)| entry.deadline()).min().unwrap_or(u64::MAX);
        for &at in &order {
            let entry = &history[at];
            if node.taken.has(at) || entry.begin > earliest || entry.deadline() < node.now.max(entry.begin) {
                continue;
            }
            let Some(state) = model.step(&node.state, &entry.call) else { continue };
            let taken = node.taken.with(at);
            if seen.insert((taken.clone(), state.clone())) {
                let answered = node.answered + usize::from(entry.is_required());
                stack.push(Node { taken, state, now: node.now.max(entry.begin), answered });
            }
        }
    }
    Verdict::Impossible { explained }
}
