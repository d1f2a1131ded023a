//! How many new keys there may be. Pure.

/// New users with personal fields per second, on average: seven million an hour. Keys are for ever, and whoever calls an
/// order off frees its stock for the next one: without a bound, orders at full speed would use up every slot of the
/// file in little more than an hour.
const PER_SECOND: u64 = 2_000;
/// As many at once after a quiet time.
const BURST: u64 = 10 * PER_SECOND;
const NS_PER_KEY: u64 = 1_000_000_000 / PER_SECOND;

/// A bucket of permissions that fills with time.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The moment up to which permissions were given out. The first burst is from before the clock began.
    given_ns: u64,
}

impl Rate {
    /// Whether one more key may be made at `now_ns` of a clock that begins with the process.
    pub(super) fn permits(&mut self, now_ns: u64) -> bool {
        let through = now_ns.saturating_add(BURST * NS_PER_KEY);
        let next = self.given_ns.max(now_ns) + NS_PER_KEY;
        if next > through {
            return false;
        }
        self.given_ns = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn given(rate: &mut Rate, now_ns: u64) -> u64 {
        (0..10 * BURST).take_while(|_| rate.permits(now_ns)).count() as u64
    }

    #[test]
    fn a_burst_then_so_many_per_second() {
        let mut rate = Rate::default();
        assert_eq!(given(&mut rate, 0), BURST);
        assert_eq!(given(&mut rate, 0), 0);
        assert_eq!(given(&mut rate, SECOND), PER_SECOND);
        assert_eq!(given(&mut rate, SECOND + NS_PER_KEY), 1);
        assert_eq!(given(&mut rate, 3_600 * SECOND), BURST);
    }
}
