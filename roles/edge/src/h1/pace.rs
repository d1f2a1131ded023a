//! The least speed of a body.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

/// By when the next piece of a body must come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    began: Instant,
    grace: Duration,
    rate_min: u64,
    time_max: Duration,
}

impl Pace {
    /// A body that begins at this moment.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            began: Instant::now(),
            grace: limits.body_grace,
            rate_min: limits.body_rate_min.max(1),
            time_max: limits.body_time_max,
        }
    }

    /// The moment at which `received` bytes are too few: behind the minimum rate, or at the end of all patience.
    pub(crate) fn due(&self, received: usize) -> Instant {
        let earned = Duration::from_millis((received as u64).saturating_mul(1000) / self.rate_min);
        self.began + (self.grace + earned).min(self.time_max)
    }
}
