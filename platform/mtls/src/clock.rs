//! The wall clock that certificates are judged by, as a value.

use std::sync::Arc;

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// Tells the time in unix seconds. Cloning shares the clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<dyn TimeProvider>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(DefaultTimeProvider))
    }

    /// Any other source of time.
    #[must_use]
    pub fn from_provider(provider: Arc<dyn TimeProvider>) -> Self {
        Self(provider)
    }

    /// Seconds since the unix epoch. A clock that cannot tell the time answers the end of time, so that everything counts as expired.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        self.0.current_time().map_or(u64::MAX, |time| time.as_secs())
    }

    pub(crate) fn provider(&self) -> Arc<dyn TimeProvider> {
        Arc::clone(&self.0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
