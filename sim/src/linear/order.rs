//! One idempotency key as a register: nothing, or one order and where it stands.

use super::Model;

/// Where an order stands, as far as this model goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// Placed, to be paid.
    Pending,
    /// Called off.
    Cancelled,
    /// Not paid in time.
    Expired,
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing.
    Free,
    /// An order of this body.
    Placed(u8, Life),
}

/// A call with its answer. Bodies are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// 201, made by this call.
    Created(u8),
    /// 201, stood already.
    Replayed(u8),
    /// 409: there is not enough.
    Short,
    /// 422: stands for another body.
    Reused(u8),
    /// An order was asked for; nobody learned what came of it.
    MaybePlaced(u8),
    /// 404.
    Missing,
    /// 200: it stands there.
    Stands(Life),
    /// 200: it is called off.
    CalledOff,
    /// 409: too late to call it off.
    TooLate,
    /// It was asked to be called off; nobody learned what came of it.
    MaybeCalledOff,
    /// Its time was over. Once per key at most, whenever the shop's clock says so.
    MaybeExpired,
}

/// The register of one key.
#[derive(Debug, Clone, Copy, Default)]
pub struct OrderKey;

impl Model for OrderKey {
    type State = State;
    type Call = Call;

    fn initial(&self) -> State {
        State::Free
    }

    fn step(&self, state: &State, call: &Call) -> Option<State> {
        use State::{Free, Placed};
        let same = |holds: bool| holds.then_some(*state);
        match (*call, *state) {
            (Call::Created(body) | Call::MaybePlaced(body), Free) => Some(Placed(body, Life::Pending)),
            (Call::Replayed(asked), Placed(body, _)) => same(asked == body),
            (Call::Reused(asked), Placed(body, _)) => same(asked != body),
            (Call::Short | Call::Missing, Free) => Some(Free),
            (Call::Stands(said), Placed(_, life)) => same(said == life),
            (Call::CalledOff, Placed(body, Life::Pending | Life::Cancelled))
            | (Call::MaybeCalledOff, Placed(body, Life::Pending)) => Some(Placed(body, Life::Cancelled)),
            (Call::TooLate, Placed(_, life)) => same(life == Life::Expired),
            (Call::MaybeExpired, Placed(body, Life::Pending)) => Some(Placed(body, Life::Expired)),
            _ => None,
        }
    }
}
