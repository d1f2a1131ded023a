//! Bounds on what callers may ask for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Uids whose buckets are remembered; the rest share one.
const UIDS_MAX: usize = 1024;

/// How many of something (streams, connections) are open, by owner (pid, uid) and in total.
#[derive(Debug)]
pub(crate) struct Limits {
    of_owner: u32,
    total: u32,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: u32,
    by_owner: HashMap<u32, u32>,
}

/// Why no further one is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    OfOwner,
    InTotal,
}

/// The right to one; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    owner: u32,
}

impl Limits {
    pub(crate) fn new(of_owner: u32, total: u32) -> Arc<Self> {
        Arc::new(Self { of_owner, total, open: Mutex::default() })
    }

    pub(crate) fn acquire(self: &Arc<Self>, owner: u32) -> Result<Permit, TooMany> {
        let mut open = self.open.lock();
        if open.total >= self.total {
            return Err(TooMany::InTotal);
        }
        let of_owner = open.by_owner.entry(owner).or_default();
        if *of_owner >= self.of_owner {
            return Err(TooMany::OfOwner);
        }
        *of_owner += 1;
        open.total += 1;
        Ok(Permit { limits: Arc::clone(self), owner })
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.lock().total
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock();
        open.total -= 1;
        let left = open.by_owner.get_mut(&self.owner).map(|of_owner| {
            *of_owner -= 1;
            *of_owner
        });
        if left == Some(0) {
            open.by_owner.remove(&self.owner);
        }
    }
}

/// A token bucket per uid.
#[derive(Debug)]
pub(crate) struct OpenRate {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<Option<u32>, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl OpenRate {
    /// `per_second` in the long run, twice as many at once.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), burst: 2.0 * f64::from(per_second), buckets: Mutex::default() }
    }

    /// Whether `uid` may open one more stream at `now` (monotonic).
    pub(crate) fn allow(&self, uid: u32, now: Duration) -> bool {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= UIDS_MAX && !buckets.contains_key(&Some(uid)) {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
        }
        let shared = buckets.len() >= UIDS_MAX && !buckets.contains_key(&Some(uid));
        let bucket = buckets.entry((!shared).then_some(uid)).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(bucket, now);
        let allowed = tokens >= 1.0;
        *bucket = Bucket { tokens: if allowed { tokens - 1.0 } else { tokens }, at: now };
        allowed
    }

    fn filled(&self, bucket: &Bucket, now: Duration) -> f64 {
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * self.per_second;
        (bucket.tokens + gained).min(self.burst)
    }
}

/// Lets one log line through per second: strangers must not be able to fill the log.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    last: Mutex<Option<Duration>>,
}

impl LogLimit {
    /// Whether to log at `now` (monotonic).
    pub(crate) fn allow(&self, now: Duration) -> bool {
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| now.saturating_sub(last) >= Duration::from_secs(1));
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_and_all_together_are_bounded_and_permits_come_back() {
        let limits = Limits::new(2, 3);
        let first = limits.acquire(1).unwrap();
        let _second = limits.acquire(1).unwrap();
        assert_eq!(limits.acquire(1).err(), Some(TooMany::OfOwner));
        let _third = limits.acquire(2).unwrap();
        assert_eq!(limits.acquire(3).err(), Some(TooMany::InTotal));
        drop(first);
        assert!(limits.acquire(1).is_ok());
    }

    #[test]
    fn a_uid_may_burst_and_then_goes_at_its_rate() {
        let rate = OpenRate::new(10);
        let start = Duration::from_secs(1);
        assert_eq!((0..30).filter(|_| rate.allow(1000, start)).count(), 20);
        assert!(rate.allow(1001, start));
        assert!(rate.allow(1000, start + Duration::from_millis(100)));
        assert!(!rate.allow(1000, start + Duration::from_millis(100)));
    }

    #[test]
    fn one_line_is_logged_per_second() {
        let limit = LogLimit::default();
        let logged = (0..30u64).filter(|tenth| limit.allow(Duration::from_millis(tenth * 100))).count();
        assert_eq!(logged, 3);
    }

    #[test]
    fn the_memory_for_uids_is_bounded() {
        let rate = OpenRate::new(10);
        (0..5000).for_each(|uid| {
            rate.allow(uid, Duration::ZERO);
        });
        assert!(rate.buckets.lock().len() <= UIDS_MAX + 1);
    }
}
