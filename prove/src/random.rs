//! The choices of a proof, from one seed that is printed: which role dies, and when.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Choices(u64);

impl Choices {
    /// The choices that follow from `seed`.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        all[at]
    }

    /// A time from `least` up to `most`, in steps of a microsecond.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.below(span.max(1)))
    }
}

/// A seed nobody chose.
#[must_use]
pub fn fresh_seed() -> u64 {
    // Without a random source the clock will do: the seed only has to differ, and is printed.
    getrandom::u32().map_or_else(|_| u64::from(std::process::id()), u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_all_that_follows() {
        let (mut one, mut same, mut other) = (Choices(7), Choices(7), Choices(8));
        let draw = |choices: &mut Choices| (0..20).map(|_| choices.below(1000)).collect::<Vec<_>>();
        let first = draw(&mut one);
        assert_eq!(first, draw(&mut same));
        assert_ne!(first, draw(&mut other));
    }

    #[test]
    fn every_role_has_its_turn_and_times_stay_in_their_bounds() {
        let mut choices = Choices::from_seed(1);
        let drawn: std::collections::HashSet<_> = (0..100).map(|_| choices.one_of(&["a", "b", "c", "d"])).collect();
        assert_eq!(drawn.len(), 4);
        let (least, most) = (Duration::from_millis(50), Duration::from_millis(900));
        assert!((0..1000).map(|_| choices.between(least, most)).all(|time| (least..most).contains(&time)));
        assert_eq!(choices.between(least, least), least);
    }
}
