//! Those who keep the shop in order: commands, the settler, the sweeper.

use super::state::{Event, PRODUCTS, Standing, State};
use super::{Bounds, Variant};

/// What a command to call an order off does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancel {
    /// Reads the order with its facts.
    Load,
    /// Writes its fact.
    Write,
    /// Answers once it is durable; with `true`, that it is called off; otherwise it looks again.
    Wait(bool),
    /// 200: the order is called off.
    Done,
    /// 404.
    Missing,
    /// The process died.
    Dead,
}

impl Cancel {
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Missing | Self::Dead)
    }
}

/// What the sweeper does next. The numbers are the product and the attempt of a hold it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sweep {
    /// Looks for a hold.
    Idle,
    /// Reads the order of the hold.
    Decide(u8, u8),
    /// Puts a void, or raises the one it saw.
    Fence(u8, u8, Standing),
    /// Goes on once its void is durable.
    Fenced(u8, u8),
    /// Lost against somebody: looks again later, once that is durable.
    Lost,
    /// Gives the hold back.
    GiveBack(u8, u8),
    /// Turns the holds of an attempt into reservations, product by product.
    Settle(u8, u8),
}

/// The state after command `number` has made its next call.
pub(super) fn cancel(bounds: &Bounds, state: &State, number: usize) -> Option<State> {
    let mut next = state.clone();
    let key = bounds.cancels[number];
    next.cancels[number] = match state.cancels[number] {
        Cancel::Load => match (state.durable.orders[key], state.durable.cancelled[key]) {
            (Standing::Placed(_), true) => Cancel::Done,
            (Standing::Placed(_), false) => Cancel::Write,
            _ => Cancel::Missing,
        },
        Cancel::Write if state.newest.cancelled[key] => Cancel::Wait(false),
        Cancel::Write => {
            next.newest.cancelled[key] = true;
            next.newest.feed.push(Event::Cancelled(u8::try_from(key).unwrap_or(0)));
            if bounds.variant == Variant::AnswerEarly { Cancel::Done } else { Cancel::Wait(true) }
        }
        Cancel::Wait(_) | Cancel::Done | Cancel::Missing | Cancel::Dead => return None,
    };
    Some(next)
}

/// The state after the settler's next call: one product of the event it is at.
pub(super) fn settle(bounds: &Bounds, state: &State) -> Option<State> {
    let (at, product) = state.settler;
    let event = *state.durable.feed.get(usize::from(at))?;
    let mut next = state.clone();
    let shard = &mut next.newest.shards[usize::from(product)];
    match event {
        Event::Placed(attempt) => {
            let units = bounds.request_of(attempt).units[usize::from(product)];
            shard.settle(attempt, units);
        }
        Event::Cancelled(key) => {
            let Standing::Placed(attempt) = state.durable.orders[usize::from(key)] else { return None };
            let units = bounds.request_of(attempt).units[usize::from(product)];
            let brought = shard.settled > at && bounds.variant != Variant::NoPosition;
            if units > 0 && brought && bounds.variant == Variant::StuckSettler {
                return None;
            }
            if units > 0 && !brought {
                if shard.reserved >= units.cast_signed() {
                    shard.reserved -= units.cast_signed();
                    shard.available += units.cast_signed();
                    shard.settled = at + 1;
                } else {
                    next.mismatch = true;
                }
            }
        }
    }
    next.settler = if usize::from(product) + 1 < PRODUCTS { (at, product + 1) } else { (at + 1, 0) };
    Some(next)
}

/// The settler saves where it is.
pub(super) fn save(bounds: &Bounds, state: &State) -> Option<State> {
    let (at, product) = state.settler;
    let early = bounds.variant == Variant::SaveFirst && usize::from(at) < state.durable.feed.len();
    let at = if early { at + 1 } else { at };
    if (product != 0 && !early) || state.newest.cursor >= at {
        return None;
    }
    let mut next = state.clone();
    next.newest.cursor = at;
    Some(next)
}

/// Every hold the sweeper may see.
pub(super) fn holds(state: &State) -> Vec<(u8, u8)> {
    let shards = (0..).zip(&state.durable.shards);
    shards
        .flat_map(|(product, shard)| (0..16).filter(|&attempt| shard.is_held(attempt)).map(move |a| (product, a)))
        .collect()
}

/// The state after the sweeper's next call.
pub(super) fn sweep(bounds: &Bounds, state: &State) -> Option<State> {
    let mut next = state.clone();
    next.sweep = match state.sweep {
        Sweep::Decide(product, attempt) => {
            let key = bounds.request_of(attempt).key;
            match state.durable.orders[key] {
                Standing::Placed(made) if made == attempt && bounds.variant != Variant::ForgetfulSweeper => {
                    Sweep::Settle(attempt, 0)
                }
                Standing::Placed(_) => Sweep::GiveBack(product, attempt),
                Standing::Nothing if bounds.variant == Variant::NoFence => Sweep::GiveBack(product, attempt),
                Standing::Void(_) if bounds.variant == Variant::NoGenerationBump => Sweep::GiveBack(product, attempt),
                Standing::Void(_) if bounds.variant == Variant::LazySweeper => Sweep::Idle,
                seen => Sweep::Fence(product, attempt, seen),
            }
        }
        Sweep::Fence(product, attempt, seen) => fence(bounds, &mut next, product, attempt, seen),
        Sweep::GiveBack(product, attempt) => {
            let units = bounds.request_of(attempt).units[usize::from(product)];
            next.newest.shards[usize::from(product)].give_back(attempt, units);
            Sweep::Idle
        }
        Sweep::Settle(attempt, product) => {
            let units = bounds.request_of(attempt).units[usize::from(product)];
            next.newest.shards[usize::from(product)].settle(attempt, units);
            if usize::from(product) + 1 < PRODUCTS { Sweep::Settle(attempt, product + 1) } else { Sweep::Idle }
        }
        Sweep::Idle | Sweep::Fenced(..) | Sweep::Lost => return None,
    };
    Some(next)
}

fn fence(bounds: &Bounds, next: &mut State, product: u8, attempt: u8, seen: Standing) -> Sweep {
    let key = bounds.request_of(attempt).key;
    let order = &mut next.newest.orders[key];
    if *order != seen {
        return if *order == next.durable.orders[key] { Sweep::Idle } else { Sweep::Lost };
    }
    *order = match seen {
        Standing::Void(generation) => Standing::Void(generation + 1),
        _ => Standing::Void(1),
    };
    if bounds.variant == Variant::AnswerEarly {
        Sweep::GiveBack(product, attempt)
    } else {
        Sweep::Fenced(product, attempt)
    }
}
