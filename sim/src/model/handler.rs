//! A handler of one request: `place_stepwise`, and the look that the service takes before it says 409.

use super::state::{Event, PRODUCTS, Standing, State};
use super::{Bounds, Variant};

/// What a handler does next. The numbers are the attempt, and the product.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pc {
    /// Reads what stands under its key.
    Begin(u8),
    /// Reads how much there is, before any attempt but the first.
    Look(u8, Standing),
    /// Holds units of a product.
    Hold(u8, Standing, u8),
    /// Reads what stands, in the variant that does so late.
    Late(u8),
    /// Puts the order.
    Put(u8, Standing),
    /// Gives back units of a product.
    Release(u8, u8, After),
    /// Looks whether its key has an order after all, before it says 409.
    Recheck,
    /// Goes on there once what it rests on is durable.
    Wait(Box<Pc>),
    /// 201.
    Acknowledged,
    /// 422: the key has another order.
    Reused,
    /// 409: not enough.
    Short,
    /// 503: nothing is known, or nothing was done.
    Failed,
    /// The process died, or the caller went away and its request was dropped.
    Dead,
}

/// What comes after everything was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum After {
    /// Another attempt.
    Again,
    /// The answer that this attempt's order stands.
    Repeated(u8),
    /// 503.
    Failed,
}

impl Pc {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Acknowledged | Self::Reused | Self::Short | Self::Failed | Self::Dead)
    }
}

/// The state after handler `number` has made its next call; `refused`: the table refuses that call for the moment.
/// `None` where it cannot.
pub(super) fn step(bounds: &Bounds, state: &State, number: usize, refused: bool) -> Option<State> {
    let mut next = state.clone();
    let request = bounds.requests[number];
    let pc = &state.handlers[number];
    if refused {
        next.handlers[number] = match *pc {
            Pc::Hold(attempt, ..) | Pc::Put(attempt, _) => Pc::Release(attempt, 0, After::Failed),
            // What cannot be given back is left to the sweeper.
            Pc::Release(attempt, product, after) => released(bounds, number, attempt, product, after),
            // A refused look changes nothing: it is made again, or is the end of the request.
            _ => return None,
        };
        return Some(next);
    }
    next.handlers[number] = match *pc {
        Pc::Begin(attempt) => match state.durable.orders[request.key] {
            Standing::Placed(made) => repeated(bounds, number, made),
            standing if attempt == 0 => Pc::Hold(0, standing, 0),
            standing => Pc::Look(attempt, standing),
        },
        Pc::Look(attempt, standing) => {
            let shards = &state.durable.shards;
            let enough = (0..PRODUCTS).all(|at| shards[at].available >= request.units[at].cast_signed());
            if enough { Pc::Hold(attempt, standing, 0) } else { Pc::Recheck }
        }
        Pc::Recheck => match state.durable.orders[request.key] {
            Standing::Placed(made) => repeated(bounds, number, made),
            _ => Pc::Short,
        },
        Pc::Hold(attempt, standing, product) => hold(bounds, &mut next, number, attempt, standing, product),
        Pc::Late(attempt) => Pc::Put(attempt, state.durable.orders[request.key]),
        Pc::Put(attempt, standing) => put(bounds, &mut next, number, attempt, standing),
        Pc::Release(attempt, product, after) => release(bounds, &mut next, number, attempt, product, after),
        Pc::Wait(_) | Pc::Acknowledged | Pc::Reused | Pc::Short | Pc::Failed | Pc::Dead => return None,
    };
    Some(next)
}

fn hold(bounds: &Bounds, next: &mut State, number: usize, attempt: u8, standing: Standing, product: u8) -> Pc {
    let at = usize::from(product);
    let units = bounds.requests[number].units[at];
    let name = bounds.attempt(number, attempt);
    let held = units == 0 || next.newest.shards[at].hold(name, units);
    if held || bounds.variant == Variant::PartialOrder {
        return if at + 1 < PRODUCTS {
            Pc::Hold(attempt, standing, product + 1)
        } else if bounds.variant == Variant::LateStanding {
            Pc::Late(attempt)
        } else {
            Pc::Put(attempt, standing)
        };
    }
    let settled = next.newest.shards[at] == next.durable.shards[at];
    told(bounds, settled, Pc::Release(attempt, 0, After::Again))
}

fn put(bounds: &Bounds, next: &mut State, number: usize, attempt: u8, standing: Standing) -> Pc {
    let key = bounds.requests[number].key;
    let found = next.newest.orders[key];
    if found == standing && !matches!(found, Standing::Placed(_)) {
        let name = bounds.attempt(number, attempt);
        next.newest.orders[key] = Standing::Placed(name);
        next.newest.feed.push(Event::Placed(name));
        return told(bounds, false, Pc::Acknowledged);
    }
    let settled = found == next.durable.orders[key];
    let after = if let Standing::Placed(made) = found { After::Repeated(made) } else { After::Again };
    told(bounds, settled, Pc::Release(attempt, 0, after))
}

fn release(bounds: &Bounds, next: &mut State, number: usize, attempt: u8, product: u8, after: After) -> Pc {
    let at = usize::from(product);
    let units = bounds.requests[number].units[at];
    let name = bounds.attempt(number, attempt);
    let shard = &mut next.newest.shards[at];
    if units > 0 && bounds.variant == Variant::BlindCompensation {
        shard.give_back_blindly(name, units);
    } else if units > 0 {
        shard.give_back(name, units);
    }
    released(bounds, number, attempt, product, after)
}

/// What comes after a product was given back, or could not be.
fn released(bounds: &Bounds, number: usize, attempt: u8, product: u8, after: After) -> Pc {
    if usize::from(product) + 1 < PRODUCTS {
        return Pc::Release(attempt, product + 1, after);
    }
    match after {
        After::Again if attempt + 1 < bounds.attempts => Pc::Begin(attempt + 1),
        After::Again | After::Failed => Pc::Failed,
        After::Repeated(made) => repeated(bounds, number, made),
    }
}

/// The state after the caller of handler `number` went away: the request is dropped where it is, and what it had written
/// stays. `None` where it is over.
pub(super) fn abandon(state: &State, number: usize) -> Option<State> {
    let pc = &state.handlers[number];
    if state.leavers == 0 || pc.is_over() || *pc == Pc::Begin(0) {
        return None;
    }
    let mut next = state.clone();
    next.leavers -= 1;
    next.handlers[number] = Pc::Dead;
    Some(next)
}

/// The answer to a request whose key has the order of this attempt.
fn repeated(bounds: &Bounds, number: usize, made: u8) -> Pc {
    if bounds.request_of(made).units == bounds.requests[number].units { Pc::Acknowledged } else { Pc::Reused }
}

/// An answer is given once what it rests on is durable.
fn told(bounds: &Bounds, durable: bool, pc: Pc) -> Pc {
    if durable || bounds.variant == Variant::AnswerEarly { pc } else { Pc::Wait(Box::new(pc)) }
}
