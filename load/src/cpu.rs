//! What the generator itself costs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time of this process so far, all threads.
pub(crate) fn process_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(spent.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
