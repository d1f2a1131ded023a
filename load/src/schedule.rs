//! The intended start of every request, fixed before the first is sent.

use std::time::Duration;

/// Starts closer together than this are meant to start together: waking up for each would cost the machine
/// under measurement more than the requests themselves.
const TOGETHER_NANOS: u64 = 500_000;

/// Evenly spaced starts; above 2,000 per second in small groups every 0.5 ms. Integer arithmetic, so that start
/// times and counts agree exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Thousandths of a request per second.
    rate_milli: u64,
    /// Starts lie on multiples of this, in nanoseconds.
    grid: u64,
    total: u64,
}

/// Nanoseconds per second times thousandths per unit.
const SCALE: u128 = 1_000_000_000 * 1_000;

impl Schedule {
    /// `rate` starts per second for `duration`; the first at once, the last before the end.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range the options allow"
    )]
    pub fn new(rate: f64, duration: Duration) -> Self {
        let rate_milli = (rate * 1_000.0).round().clamp(1.0, 1e12) as u64;
        let span = duration.as_nanos().saturating_sub(1);
        let total = count_within(rate_milli, span);
        let apart = SCALE / u128::from(rate_milli);
        let grid = if apart < u128::from(TOGETHER_NANOS) { TOGETHER_NANOS } else { 1 };
        Self { rate_milli, grid, total }
    }

    /// Requests in the whole schedule.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Intended start of request `index` (from 0), from the start of the run.
    #[must_use]
    pub fn intended(&self, index: u64) -> Duration {
        let nanos = (u128::from(index) * SCALE).div_ceil(u128::from(self.rate_milli));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(nanos.next_multiple_of(self.grid))
    }

    /// How many requests should have started once `elapsed` of the run has passed.
    #[must_use]
    pub fn due(&self, elapsed: Duration) -> u64 {
        let grid = u128::from(self.grid);
        count_within(self.rate_milli, elapsed.as_nanos() / grid * grid).min(self.total)
    }
}

/// Starts in `[0, nanos]`.
fn count_within(rate_milli: u64, nanos: u128) -> u64 {
    let whole = nanos.saturating_mul(u128::from(rate_milli)) / SCALE;
    u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_rate_times_duration_starts() {
        assert_eq!(Schedule::new(1_000.0, Duration::from_secs(2)).total(), 2_000);
        assert_eq!(Schedule::new(0.5, Duration::from_secs(4)).total(), 2);
        assert_eq!(Schedule::new(3.0, Duration::from_secs(1)).total(), 3);
    }

    #[test]
    fn fast_schedules_start_in_groups_and_slow_ones_evenly() {
        let fast = Schedule::new(10_000.0, Duration::from_secs(1));
        assert_eq!((fast.intended(1), fast.intended(5)), (Duration::from_micros(500), Duration::from_micros(500)));
        assert_eq!((fast.due(Duration::from_micros(499)), fast.due(Duration::from_micros(500))), (1, 6));
        let slow = Schedule::new(1_000.0, Duration::from_secs(1));
        assert_eq!(slow.intended(7), Duration::from_millis(7));
    }

    #[test]
    fn a_request_is_due_exactly_from_its_intended_start() {
        for rate in [0.3, 7.0, 333.3, 15_000.0, 999_999.0] {
            let schedule = Schedule::new(rate, Duration::from_secs(60));
            for index in (1..schedule.total()).step_by(97).take(2_000) {
                let start = schedule.intended(index);
                assert!(schedule.due(start) > index, "rate {rate}, request {index}");
                assert!(schedule.due(start - Duration::from_nanos(1)) <= index, "rate {rate}, request {index}");
            }
        }
    }
}
