//! When authorities are made, begin to sign and leave: a pure function of their dates and the time.
//!
//! An authority moves through three slots. *Prepared*: in every bundle, signs nothing. *Active*: signs. *Old*: signs nothing, stays
//! in the bundles until the last leaf it signed has ended. Divisors as SPIRE's: prepare at 1/2, activate at 5/6 of a life.

use serde::{Deserialize, Serialize};

/// How long an old authority stays after its last leaf ended, for peers whose clock is behind; seconds.
pub(crate) const OLD_LINGER_SECONDS: u64 = 30;
/// Old authorities that are kept; clock steps could otherwise pile them up.
const OLD_MAX: usize = 4;

/// What an authority is for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    Prepared,
    Active,
    Old,
}

/// The dates of one authority, all in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slot {
    /// Counts the authorities of a data directory from 1.
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    /// In bundles since then.
    pub(crate) made_at: u64,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    /// No leaf it signed is valid after this; known once it is old.
    pub(crate) leaves_until: u64,
    /// The longest life a leaf signed by it was given, in seconds.
    pub(crate) longest_leaf_seconds: u64,
}

impl Slot {
    pub(crate) const fn usable(&self, now: u64) -> bool {
        self.not_before <= now && now < self.not_after
    }

    const fn life(&self) -> u64 {
        self.not_after.saturating_sub(self.made_at)
    }
}

/// What governs the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Least time between publication and the first signature, in seconds.
    pub(crate) publish_gap_seconds: u64,
    /// Since when this process has been handing out bundles, in unix seconds: a peer cannot have seen an authority while nobody
    /// served it, so the gap does not count the time before.
    pub(crate) serving_since: u64,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the successor and publish it.
    Prepare,
    /// Let the prepared authority sign.
    Activate(u64),
    /// Make an authority and let it sign at once, because there is none that could.
    Found,
    /// Take an authority out of the bundles.
    Retire(u64),
}

/// The next step at `now`, if any.
pub(crate) fn next_step(slots: &[Slot], now: u64, timing: Timing) -> Option<Step> {
    signing_step(slots, now, timing).or_else(|| retirement(slots, now).map(Step::Retire))
}

fn signing_step(slots: &[Slot], now: u64, timing: Timing) -> Option<Step> {
    let in_stage = |stage| slots.iter().filter(move |slot| slot.stage == stage);
    let prepared = in_stage(Stage::Prepared).find(|slot| slot.usable(now));
    let Some(active) = in_stage(Stage::Active).find(|slot| slot.usable(now)) else {
        return Some(prepared.map_or(Step::Found, |successor| Step::Activate(successor.number)));
    };
    let Some(successor) = prepared else {
        return (now >= active.made_at + active.life() / 2).then_some(Step::Prepare);
    };
    let due = active.made_at + active.life() / 6 * 5;
    let known_since = successor.made_at.max(timing.serving_since);
    let known_long_enough = now >= known_since + timing.publish_gap_seconds;
    (now >= due && known_long_enough).then_some(Step::Activate(successor.number))
}

fn retirement(slots: &[Slot], now: u64) -> Option<u64> {
    let over = |slot: &&Slot| match slot.stage {
        Stage::Active => false,
        Stage::Prepared => !slot.usable(now),
        Stage::Old => now > slot.leaves_until + OLD_LINGER_SECONDS,
    };
    let surplus = || {
        let old: Vec<&Slot> = slots.iter().filter(|slot| slot.stage == Stage::Old).collect();
        (old.len() > OLD_MAX).then(|| old.into_iter().min_by_key(|slot| slot.leaves_until)).flatten()
    };
    slots.iter().find(over).or_else(surplus).map(|slot| slot.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: u64 = 240;
    const LIFE: u64 = 86_400;

    fn timing() -> Timing {
        Timing { publish_gap_seconds: GAP, serving_since: 0 }
    }

    fn slot(number: u64, stage: Stage, made_at: u64) -> Slot {
        let (not_before, not_after) = (made_at.saturating_sub(30), made_at + LIFE);
        Slot { number, stage, made_at, not_before, not_after, leaves_until: 0, longest_leaf_seconds: 120 }
    }

    #[test]
    fn the_first_authority_signs_at_once() {
        assert_eq!(next_step(&[], 1000, timing()), Some(Step::Found));
    }

    #[test]
    fn a_successor_is_prepared_at_half_of_the_life_and_signs_at_five_sixths() {
        let mut slots = vec![slot(1, Stage::Active, 1000)];
        assert_eq!(next_step(&slots, 1000 + LIFE / 2 - 1, timing()), None);
        assert_eq!(next_step(&slots, 1000 + LIFE / 2, timing()), Some(Step::Prepare));
        slots.push(slot(2, Stage::Prepared, 1000 + LIFE / 2));
        assert_eq!(next_step(&slots, 1000 + LIFE / 6 * 5 - 1, timing()), None);
        assert_eq!(next_step(&slots, 1000 + LIFE / 6 * 5, timing()), Some(Step::Activate(2)));
    }

    #[test]
    fn a_successor_that_was_published_late_still_waits_its_gap() {
        let late = 1000 + LIFE / 6 * 5 + 10;
        let slots = [slot(1, Stage::Active, 1000), slot(2, Stage::Prepared, late)];
        assert_eq!(next_step(&slots, late + GAP - 1, timing()), None);
        assert_eq!(next_step(&slots, late + GAP, timing()), Some(Step::Activate(2)));
    }

    #[test]
    fn time_in_which_nobody_served_bundles_does_not_count_as_published() {
        let slots = [slot(1, Stage::Active, 1000), slot(2, Stage::Prepared, 1000 + LIFE / 2)];
        let restarted = 1000 + LIFE / 6 * 5 + 500;
        let timing = Timing { serving_since: restarted, ..timing() };
        assert_eq!(next_step(&slots, restarted, timing), None);
        assert_eq!(next_step(&slots, restarted + GAP, timing), Some(Step::Activate(2)));
    }

    #[test]
    fn an_authority_that_ended_is_replaced_at_once() {
        let slots = [slot(1, Stage::Active, 1000), slot(2, Stage::Prepared, 1000 + LIFE / 2)];
        let restarted = 1000 + LIFE;
        let timing = Timing { serving_since: restarted, ..timing() };
        assert_eq!(next_step(&slots, restarted, timing), Some(Step::Activate(2)));
        assert_eq!(next_step(&slots[..1], restarted, timing), Some(Step::Found));
    }

    #[test]
    fn an_authority_of_the_future_is_not_used() {
        assert_eq!(next_step(&[slot(1, Stage::Active, 5000)], 1000, timing()), Some(Step::Found));
    }

    #[test]
    fn an_old_authority_leaves_thirty_seconds_after_its_last_leaf() {
        let active = slot(2, Stage::Active, 1000);
        let old = Slot { leaves_until: 1120, ..slot(1, Stage::Old, 0) };
        let slots = [old, active];
        assert_eq!(next_step(&slots, 1150, timing()), None);
        assert_eq!(next_step(&slots, 1151, timing()), Some(Step::Retire(1)));
    }

    #[test]
    fn old_authorities_are_bounded() {
        let mut slots = vec![slot(9, Stage::Active, 1000)];
        for number in 1..=5 {
            slots.push(Slot { leaves_until: 100_000 - number, ..slot(number, Stage::Old, 0) });
        }
        assert_eq!(next_step(&slots, 1000, timing()), Some(Step::Retire(5)));
    }
}
