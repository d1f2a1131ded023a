//! The stepwise protocol as a model, searched exhaustively: every interleaving of handlers, settler, sweeper, commands,
//! syncs and crashes within small bounds (reference: data, sections 1.4 and 7.6).
//!
//! It follows `roles/orders/src/execute/{stepwise,settle,sweep,command}.rs` operation by operation. One step of the model
//! is one call of the table's port: a read sees what is durable, a condition sees the newest state, an ordered write is
//! answered at once, a durable write and every refusal once what they rest on is durable. A crash loses what is not.
//! A handler stops for ever when its caller goes away, or with the process; a write whose outcome is unknown is one whose
//! handler stops right before or after it. Any hold may count as old, because any handler may have been paused.

mod check;
mod handler;
mod keeper;
mod state;

use std::fmt;

pub use check::{Checked, check};
pub use state::State;

/// One way to break the protocol. Each must be refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As the code does it.
    Sound,
    /// Acknowledged, or refused, before what the answer rests on is durable.
    AnswerEarly,
    /// Holds are named after the order alone.
    NoNonce,
    /// The sweeper gives back without a void.
    NoFence,
    /// The sweeper gives back under an old void without raising its generation.
    NoGenerationBump,
    /// The generation is read after the holds instead of before.
    LateStanding,
    /// A failed attempt gives back without looking whether it still holds.
    BlindCompensation,
    /// An attempt that found a stock too small goes on with what it holds.
    PartialOrder,
    /// The settler brings an effect without noting its position.
    NoPosition,
    /// The settler saves its position before the effects.
    SaveFirst,
    /// The sweeper gives back the hold of an order that stands.
    ForgetfulSweeper,
    /// The sweeper leaves holds alone where a void stands already.
    LazySweeper,
    /// The settler waits where an effect is in already.
    StuckSettler,
}

impl Variant {
    /// All that are broken.
    pub const BROKEN: [Self; 12] = [
        Self::AnswerEarly,
        Self::NoNonce,
        Self::NoFence,
        Self::NoGenerationBump,
        Self::LateStanding,
        Self::BlindCompensation,
        Self::PartialOrder,
        Self::NoPosition,
        Self::SaveFirst,
        Self::ForgetfulSweeper,
        Self::LazySweeper,
        Self::StuckSettler,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::AnswerEarly => "answer-early",
            Self::NoNonce => "no-nonce",
            Self::NoFence => "no-fence",
            Self::NoGenerationBump => "no-generation-bump",
            Self::LateStanding => "late-standing",
            Self::BlindCompensation => "blind-compensation",
            Self::PartialOrder => "partial-order",
            Self::NoPosition => "no-position",
            Self::SaveFirst => "save-first",
            Self::ForgetfulSweeper => "forgetful-sweeper",
            Self::LazySweeper => "lazy-sweeper",
            Self::StuckSettler => "stuck-settler",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One request to order: the key it is sent with, and the units of each product it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Which key. Requests with one key and the same units are duplicates.
    pub key: usize,
    /// Units of each product; a product with none has no line.
    pub units: [u8; 2],
}

/// Bounds of one search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// In a few words.
    pub name: &'static str,
    /// Units of each product.
    pub stock: [i8; 2],
    /// Handlers, at most 3.
    pub requests: Vec<Request>,
    /// Keys that somebody calls off.
    pub cancels: Vec<usize>,
    /// Attempts of each handler.
    pub attempts: u8,
    /// Crashes of the process.
    pub crashes: u8,
    /// Callers that go away.
    pub leavers: u8,
    /// The protocol.
    pub variant: Variant,
}

const fn request(key: usize, units: [u8; 2]) -> Request {
    Request { key, units }
}

impl Bounds {
    fn new(name: &'static str, stock: [i8; 2], requests: &[Request], cancels: &[usize]) -> Self {
        let (requests, cancels) = (requests.to_vec(), cancels.to_vec());
        Self { name, stock, requests, cancels, attempts: 1, crashes: 1, leavers: 1, variant: Variant::Sound }
    }

    /// Searches of a few seconds each.
    #[must_use]
    pub fn small() -> Vec<Self> {
        let both = [1, 1];
        vec![
            Self::new("two duplicates", [2, 2], &[request(0, both), request(0, both)], &[]),
            Self::new("two orders, units for one", [1, 1], &[request(0, both), request(1, both)], &[]),
            Self::new("one key for two different orders", [2, 1], &[request(0, both), request(0, [2, 0])], &[]),
            Self::new("one order, called off twice", [1, 1], &[request(0, both)], &[0, 0]),
            Self { crashes: 0, ..Self::new("two duplicates, called off", [2, 1], &[request(0, both); 2], &[0]) },
            Self {
                attempts: 2,
                crashes: 0,
                ..Self::new("two orders that try twice", [1, 1], &[request(0, both), request(1, [0, 1])], &[])
            },
        ]
    }

    /// Searches of some minutes each, and gigabytes of memory.
    #[must_use]
    pub fn large() -> Vec<Self> {
        let both = [1, 1];
        let duplicates = [request(0, both), request(0, both)];
        let orders = [request(0, both), request(1, both)];
        let mut all = Self::small();
        all.extend([
            Self { crashes: 2, ..Self::new("two duplicates, two crashes", [2, 2], &duplicates, &[]) },
            Self { attempts: 2, ..Self::new("two orders that try twice, units for one", [1, 1], &orders, &[]) },
            Self { attempts: 2, ..Self::new("two duplicates that try twice", [2, 1], &duplicates, &[]) },
            Self::new("two duplicates, called off, a crash", [2, 1], &duplicates, &[0]),
            Self { crashes: 0, ..Self::new("three duplicates", [2, 1], &[request(0, both); 3], &[]) },
            Self {
                crashes: 0,
                ..Self::new(
                    "two duplicates and another order",
                    [2, 1],
                    &[duplicates[0], duplicates[1], request(1, [1, 0])],
                    &[],
                )
            },
        ]);
        all
    }
}
