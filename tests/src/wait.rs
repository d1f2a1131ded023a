//! Waiting for a condition instead of for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits up to ten seconds until `condition` holds.
///
/// # Panics
/// When it does not.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(10), what, condition);
}

/// Waits up to `bound` until `condition` holds.
///
/// # Panics
/// When it does not.
pub fn eventually_within(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {} ms: {what}", bound.as_millis());
        thread::sleep(Duration::from_millis(20));
    }
}
