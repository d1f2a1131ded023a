//! What happened to an order after it was made. A fact is written once; the state is the fold of all of them.

use zizon_base::time::Timestamp;
use zizon_table::Item;

use super::state::{Event, State, apply};
use super::wire::Damaged;

/// Who caused a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Whoever ordered.
    Shopper,
    /// A person of the shop.
    Operator,
    /// The shop itself, by a rule.
    System,
}

impl Actor {
    const ALL: [Self; 3] = [Self::Shopper, Self::Operator, Self::System];

    /// The name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// What an event does to the units an order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockEffect {
    /// Nothing.
    None,
    /// Reserved units can be ordered again.
    Release,
    /// Reserved units are sold.
    Sell,
    /// Sold units can be ordered again.
    Restock,
}

impl StockEffect {
    /// The effect of `event` on an order that stands at `state` (reference: commerce, section 3.5, "effects").
    #[must_use]
    pub fn of(state: State, event: Event) -> Self {
        use super::state::Lifecycle as L;
        match event {
            Event::Expired => Self::Release,
            Event::CancelledByShopper | Event::CancelledByStaff if state.lifecycle == L::PendingPayment => {
                Self::Release
            }
            Event::CancelledByShopper | Event::CancelledByStaff => Self::Restock,
            Event::PaymentCovered | Event::PaymentOverpaid => Self::Sell,
            _ => Self::None,
        }
    }

    /// Change of (available, reserved, sold) for `units`.
    #[must_use]
    pub const fn deltas(self, units: i64) -> (i64, i64, i64) {
        match self {
            Self::None => (0, 0, 0),
            Self::Release => (units, -units, 0),
            Self::Sell => (0, -units, units),
            Self::Restock => (units, 0, -units),
        }
    }

    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Release => 1,
            Self::Sell => 2,
            Self::Restock => 3,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Release),
            2 => Some(Self::Sell),
            3 => Some(Self::Restock),
            _ => None,
        }
    }
}

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Its place, from 1.
    pub version: u32,
    /// What happened.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// What it does to the stock.
    pub effect: StockEffect,
    /// Whether the settler brings the effect to the stock (otherwise it was written with the fact).
    pub deferred: bool,
}

/// Attribute of a fact: what happened.
pub(crate) const EVENT: &str = "e";
const AT: &str = "at";
const ACTOR: &str = "by";
const EFFECT: &str = "fx";
const DEFERRED: &str = "d";

impl Fact {
    /// Adds the fact to an item with its key.
    #[must_use]
    pub fn write(&self, item: Item) -> Item {
        let at = i64::try_from(self.at.millis()).unwrap_or(i64::MAX);
        item.with(EVENT, self.event.name())
            .with(AT, at)
            .with(ACTOR, self.actor.name())
            .with(EFFECT, self.effect.code())
            .with(DEFERRED, self.deferred)
    }

    /// Reads a fact item; `version` is the one in its key.
    ///
    /// # Errors
    /// [`Damaged`] for anything [`Fact::write`] does not write.
    pub fn read(version: u32, item: &Item) -> Result<Self, Damaged> {
        let damaged = Damaged("order fact");
        let actor = item.str(ACTOR).and_then(|name| Actor::ALL.into_iter().find(|actor| actor.name() == name));
        Ok(Self {
            version,
            event: item.str(EVENT).and_then(Event::from_name).ok_or(damaged)?,
            at: item.int(AT).and_then(|at| u64::try_from(at).ok()).map(Timestamp::from_millis).ok_or(damaged)?,
            actor: actor.ok_or(damaged)?,
            effect: item.int(EFFECT).and_then(StockEffect::from_code).ok_or(damaged)?,
            deferred: item.bool(DEFERRED).ok_or(damaged)?,
        })
    }
}

/// The state after all facts, in order.
///
/// # Errors
/// [`Damaged`] when a fact is missing or does not follow from the state before it: the table was written by something
/// else.
pub fn fold(facts: &[Fact]) -> Result<State, Damaged> {
    let mut state = State::CREATED;
    for (expected, fact) in (1..).zip(facts) {
        if fact.version != expected {
            return Err(Damaged("order fact"));
        }
        state = apply(state, fact.event).map_err(|_| Damaged("order fact"))?;
    }
    Ok(state)
}
