//! What runs did.

use zizon_orders::simulation::Step;

use crate::Fault;

/// A set of places where tasks stand: before a step, or waiting for it to be on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places(u32);

impl Places {
    /// The place of a task that is about to make `step` or, with `waits`, waits for it to be on the disk.
    pub(crate) const fn insert(&mut self, step: Step, waits: bool) {
        self.0 |= Self::bit(step, waits);
    }

    /// Whether somebody stood there.
    #[must_use]
    pub const fn has(self, step: Step, waits: bool) -> bool {
        self.0 & Self::bit(step, waits) != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn bit(step: Step, waits: bool) -> u32 {
        1 << (2 * step as u32 + waits as u32)
    }
}

/// What a run did: a run that does nothing proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were answered.
    pub answers: u64,
    /// Orders made.
    pub placed: u64,
    /// Orders that stood already.
    pub replayed: u64,
    /// Products a refusal named as short; each was checked against what there was.
    pub refused: u64,
    /// Answers that said that the outcome is not known.
    pub unknown: u64,
    /// Times the process started.
    pub starts: u64,
    /// Times it ended, in whatever way.
    pub crashes: u64,
    /// Of these, with the machine.
    pub power_losses: u64,
    /// Histories checked for linearizability.
    pub histories: u64,
    /// Calls in them.
    pub calls: u64,
    /// Histories too large to be decided within the bound of the search; each ends its run as a violation.
    pub undecided: u64,
    /// Faults that came, by [`Fault`]: each is counted where it bites, not where it was drawn.
    pub faults: [u64; Fault::ALL.len()],
    /// Whether the run was struck where it was to be struck.
    pub struck: bool,
    /// Where its tasks stood then.
    pub places: Places,
}

impl Stats {
    /// Adds the figures of another run.
    pub const fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.placed += other.placed;
        self.replayed += other.replayed;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.power_losses += other.power_losses;
        self.histories += other.histories;
        self.calls += other.calls;
        self.undecided += other.undecided;
        self.struck |= other.struck;
        self.places = self.places.and(other.places);
        let mut at = 0;
        while at < self.faults.len() {
            self.faults[at] += other.faults[at];
            at += 1;
        }
    }

    /// Notes that a fault has bitten, so many times.
    pub(crate) const fn bite(&mut self, fault: Fault, times: u64) {
        self.faults[fault as usize] += times;
    }
}
