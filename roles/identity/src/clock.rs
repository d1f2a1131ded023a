//! Time as a value, so that days of rotation can be tested in milliseconds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where an issuer gets the time from.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since the unix epoch; may step in both directions.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed moment; never goes back, may stand still while the machine is suspended.
    fn monotonic(&self) -> Duration;
}

/// Both clocks of an issuer. Clones share the source.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(SystemTimeSource { origin: Instant::now() }))
    }

    /// Any other source of time.
    #[must_use]
    pub fn from_source(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: self.0.wall_ms(), monotonic: self.0.monotonic() }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) wall_ms: u64,
    pub(crate) monotonic: Duration,
}

impl Now {
    /// Unix seconds, as certificates count.
    pub(crate) const fn unix(self) -> u64 {
        self.wall_ms / 1000
    }

    /// How far the wall clock moved beyond the monotonic one since `earlier`, in milliseconds; negative when it stepped back.
    pub(crate) fn step_since(self, earlier: Self) -> i64 {
        let wall = i128::from(self.wall_ms) - i128::from(earlier.wall_ms);
        let passed = self.monotonic.saturating_sub(earlier.monotonic).as_millis();
        let step = wall - i128::try_from(passed).unwrap_or(i128::MAX);
        i64::try_from(step).unwrap_or(if step < 0 { i64::MIN } else { i64::MAX })
    }
}

struct SystemTimeSource {
    origin: Instant,
}

impl TimeSource for SystemTimeSource {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_the_wall_clock_moved_beyond_the_time_that_passed() {
        let before = Now { wall_ms: 100_000, monotonic: Duration::from_secs(5) };
        let later = |wall_ms| Now { wall_ms, monotonic: Duration::from_secs(6) };
        assert_eq!(later(101_000).step_since(before), 0);
        assert_eq!(later(161_000).step_since(before), 60_000);
        assert_eq!(later(91_000).step_since(before), -10_000);
    }
}
