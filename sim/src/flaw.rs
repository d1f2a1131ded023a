//! Known ways to get it wrong: in the shop's code, and in what is around it (the reader of its feed, a cache before it). The simulation must catch each: a check that catches nothing proves nothing.

use std::fmt;
use std::str::FromStr;

use zizon_orders::execute::{Mode, Protocol};
use zizon_table::EngineOptions;

/// One way to break the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The table says a write has happened before it is on the disk.
    AcknowledgeEarly,
    /// The table says a condition does not hold before what it rests on is on the disk.
    RefuseEarly,
    /// Holds are named after the order alone, not after the attempt.
    NoNonce,
    /// The sweeper gives units back without putting a void where the order would be.
    NoFence,
    /// The sweeper gives units back under an old void without raising its generation.
    NoGenerationBump,
    /// A failed attempt gives units back without looking whether it still holds them.
    BlindCompensation,
    /// The settler brings effects to the stock without noting which ones it has brought.
    NoPosition,
    /// The reader of the feed keeps a cursor, but no high-water mark beside what it has done.
    NoHighWaterMark,
    /// Who asks for all that is left is refused.
    KeepTheLast,
    /// Something between the shop and its clients answers looks from a memory, as a cache that it forgot to tell.
    StaleLooks,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AcknowledgeEarly,
        Self::RefuseEarly,
        Self::NoNonce,
        Self::NoFence,
        Self::NoGenerationBump,
        Self::BlindCompensation,
        Self::NoPosition,
        Self::NoHighWaterMark,
        Self::KeepTheLast,
        Self::StaleLooks,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgeEarly => "acknowledge-early",
            Self::RefuseEarly => "refuse-early",
            Self::NoNonce => "no-nonce",
            Self::NoFence => "no-fence",
            Self::NoGenerationBump => "no-generation-bump",
            Self::BlindCompensation => "blind-compensation",
            Self::NoPosition => "no-position",
            Self::NoHighWaterMark => "no-high-water-mark",
            Self::KeepTheLast => "keep-the-last",
            Self::StaleLooks => "stale-looks",
        }
    }

    /// What is wrong, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::AcknowledgeEarly => "a write is acknowledged before it is on the disk",
            Self::RefuseEarly => "a refusal is told before what it rests on is on the disk",
            Self::NoNonce => "holds are named after the order alone",
            Self::NoFence => "the sweeper gives units back without a void",
            Self::NoGenerationBump => "the sweeper gives units back under an old void",
            Self::BlindCompensation => "a failed attempt gives back what it may not hold any more",
            Self::NoPosition => "the settler may bring an effect twice",
            Self::NoHighWaterMark => "the reader of the feed counts what is delivered twice",
            Self::KeepTheLast => "who asks for all that is left is refused",
            Self::StaleLooks => "a look at an order is answered from a memory that is old",
        }
    }

    /// The executor in which it shows.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::AcknowledgeEarly
            | Self::RefuseEarly
            | Self::NoHighWaterMark
            | Self::KeepTheLast
            | Self::StaleLooks => Mode::Atomic,
            _ => Mode::Stepwise,
        }
    }

    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::AcknowledgeEarly | Self::RefuseEarly | Self::NoHighWaterMark | Self::StaleLooks => Protocol::Sound,
            Self::KeepTheLast => Protocol::KeepTheLast,
            Self::NoNonce => Protocol::NoNonce,
            Self::NoFence => Protocol::NoFence,
            Self::NoGenerationBump => Protocol::NoGenerationBump,
            Self::BlindCompensation => Protocol::BlindCompensation,
            Self::NoPosition => Protocol::NoPosition,
        }
    }

    pub(crate) fn set(self, options: &mut EngineOptions) {
        options.known_bad_acknowledge_early = self == Self::AcknowledgeEarly;
        options.known_bad_refuse_early = self == Self::RefuseEarly;
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|flaw| flaw.name() == text);
        found.ok_or_else(|| format!("no such flaw: {text}; there are {}", names()))
    }
}
