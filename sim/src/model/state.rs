//! What there is: the table, newest and durable, and everybody who works on it.

use super::handler::Pc;
use super::keeper::{Cancel, Sweep};
use super::{Bounds, Variant};

/// Products.
pub(super) const PRODUCTS: usize = 2;
/// Keys that orders are sent with.
pub(super) const KEYS: usize = 2;

/// A shard of stock; each product has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    /// Available units.
    pub available: i8,
    /// Units of orders that are settled.
    pub reserved: i8,
    /// Attempts that hold units, a bit each. How many follows from the request.
    pub holds: u16,
    /// Position of the last fact whose effect is in.
    pub settled: u8,
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// A void of this generation.
    Void(u8),
    /// The order of this attempt.
    Placed(u8),
}

/// What the feed tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// This attempt's order was placed.
    Placed(u8),
    /// The order under this key was called off.
    Cancelled(u8),
}

/// Everything the table holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// Stock.
    pub shards: [Shard; PRODUCTS],
    /// Orders.
    pub orders: [Standing; KEYS],
    /// Whether an order was called off: its only fact.
    pub cancelled: [bool; KEYS],
    /// Changes that the settler cares about.
    pub feed: Vec<Event>,
    /// Where the settler has saved that it goes on.
    pub cursor: u8,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What conditions see.
    pub newest: Table,
    /// What reads see and a crash leaves.
    pub durable: Table,
    /// Handlers of requests.
    pub handlers: Vec<Pc>,
    /// Commands.
    pub cancels: Vec<Cancel>,
    /// The sweeper.
    pub sweep: Sweep,
    /// Event of the feed the settler is at, and product.
    pub settler: (u8, u8),
    /// Crashes that may still come.
    pub crashes: u8,
    /// Callers that may still go away.
    pub leavers: u8,
    /// Stock did not hold what an order had reserved.
    pub mismatch: bool,
}

impl State {
    pub(super) fn first(bounds: &Bounds) -> Self {
        let shards = bounds.stock.map(|available| Shard { available, reserved: 0, holds: 0, settled: 0 });
        let table =
            Table { shards, orders: [Standing::Nothing; KEYS], cancelled: [false; KEYS], feed: Vec::new(), cursor: 0 };
        Self {
            newest: table.clone(),
            durable: table,
            handlers: vec![Pc::Begin(0); bounds.requests.len()],
            cancels: vec![Cancel::Load; bounds.cancels.len()],
            sweep: Sweep::Idle,
            settler: (0, 0),
            crashes: bounds.crashes,
            leavers: bounds.leavers,
            mismatch: false,
        }
    }
}

impl Bounds {
    /// The number an attempt's holds and its order carry.
    pub(super) fn attempt(&self, handler: usize, attempt: u8) -> u8 {
        if self.variant == Variant::NoNonce {
            return u8::try_from(self.requests[handler].key).unwrap_or(0);
        }
        u8::try_from(handler).unwrap_or(0) * self.attempts + attempt
    }

    /// The request an attempt belongs to.
    pub(super) fn request_of(&self, attempt: u8) -> super::Request {
        if self.variant == Variant::NoNonce {
            let of_key = self.requests.iter().find(|request| request.key == usize::from(attempt));
            return *of_key.unwrap_or(&self.requests[0]);
        }
        self.requests[usize::from(attempt / self.attempts)]
    }
}

impl Shard {
    pub(super) const fn is_held(&self, attempt: u8) -> bool {
        self.holds >> attempt & 1 == 1
    }

    /// Units go from available to the attempt's hold; false when there are not enough, or it holds already.
    pub(super) fn hold(&mut self, attempt: u8, units: u8) -> bool {
        let units = units.cast_signed();
        if self.available < units || self.is_held(attempt) {
            return false;
        }
        self.available -= units;
        self.holds |= 1 << attempt;
        true
    }

    /// The attempt's hold goes back, where it is still there.
    pub(super) fn give_back(&mut self, attempt: u8, units: u8) {
        if self.is_held(attempt) {
            self.give_back_blindly(attempt, units);
        }
    }

    pub(super) const fn give_back_blindly(&mut self, attempt: u8, units: u8) {
        self.holds &= !(1 << attempt);
        self.available += units.cast_signed();
    }

    /// The attempt's hold becomes a reservation, where it is still there.
    pub(super) fn settle(&mut self, attempt: u8, units: u8) {
        if self.is_held(attempt) {
            self.holds &= !(1 << attempt);
            self.reserved += units.cast_signed();
        }
    }
}
