//! How many requests of a kind may be in work: as many as are answered in good time.
//!
//! A fixed number is wrong twice. Too high, and under overload everybody waits in a queue until the answers come too late to
//! be of use; too low, and a slow disk or a far database is not kept busy. So the bound follows the answers: when half of
//! them take longer than a target it shrinks by an eighth (as TCP does on congestion), when it was reached and they are in
//! time it grows by a sixteenth. The target is [`TARGET`], or twice what answers take with hardly a queue, if that is more.
//! That is seen whenever no more than [`FLOOR`] were in work at a time; where somebody is refused and it is not known, it is
//! looked for every [`MEMORY`], by letting only that many in for a moment (as BBR does for the round trip of a path).
//!
//! Only what a role answered counts: a client that gives up early says nothing of how quick the role is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Never fewer than this, so that writes can share a sync of the disk.
const FLOOR: usize = 64;
/// Where it begins.
const START: usize = 256;
/// Answers that take no longer are in time whatever else is so.
const TARGET: Duration = Duration::from_millis(10);
/// Answers are looked at together for so long.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer answers say nothing.
const WINDOW_ANSWERS: u64 = 20;
/// How long it counts what answers took without a queue.
const MEMORY: Duration = Duration::from_secs(20);
/// Windows of a look without a queue: the first one still has those who were let in before.
const PROBE_WINDOWS: u32 = 2;
/// Powers of two of microseconds: the last one is beyond an hour.
const BUCKETS: usize = 32;

/// The bound on requests in work.
#[derive(Debug)]
pub(super) struct Limit {
    in_work: AtomicUsize,
    /// Most in work at a time in this window.
    most: AtomicUsize,
    /// Whether somebody was refused in this window.
    reached: AtomicBool,
    bound: AtomicUsize,
    max: usize,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    answers: [u64; BUCKETS],
    count: u64,
    /// What answers took without a queue, and when that was.
    unqueued: Option<(Instant, Duration)>,
    probe: Option<Probe>,
}

/// A look at what answers take without a queue.
#[derive(Debug)]
struct Probe {
    windows_left: u32,
    /// The bound that is put back afterwards.
    bound: usize,
}

impl Limit {
    pub fn new(max: usize) -> Self {
        let window = Window { began: Instant::now(), answers: [0; BUCKETS], count: 0, unqueued: None, probe: None };
        Self {
            in_work: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            reached: AtomicBool::new(false),
            bound: AtomicUsize::new(START.min(max)),
            max,
            window: Mutex::new(window),
        }
    }

    /// Whether one more would be too many.
    pub fn is_reached(&self) -> bool {
        self.in_work.load(Relaxed) >= self.bound()
    }

    /// Takes a place, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<InWork> {
        let before = self.in_work.fetch_add(1, Relaxed);
        if before >= self.bound() {
            self.in_work.fetch_sub(1, Relaxed);
            return None;
        }
        self.most.fetch_max(before + 1, Relaxed);
        Some(InWork { limit: Arc::clone(self), since: Instant::now(), is_answered: false })
    }

    /// Requests that may be in work now.
    pub fn bound(&self) -> usize {
        self.bound.load(Relaxed)
    }

    /// Somebody was refused for it.
    pub fn reached(&self) {
        self.reached.store(true, Relaxed);
    }

    /// A request was answered after `took`.
    fn answered(&self, took: Duration, now: Instant) {
        let mut window = self.window.lock();
        window.answers[bucket(took)] += 1;
        window.count += 1;
        if window.count < WINDOW_ANSWERS || now.duration_since(window.began) < WINDOW {
            return;
        }
        let seen = Seen {
            reached: self.reached.swap(false, Relaxed),
            most: self.most.swap(self.in_work.load(Relaxed), Relaxed),
        };
        let next = window.judge(self.bound(), &seen, now);
        self.bound.store(next.min(self.max), Relaxed);
        window.answers = [0; BUCKETS];
        (window.count, window.began) = (0, now);
    }
}

/// What happened in a window besides answers.
struct Seen {
    reached: bool,
    most: usize,
}

impl Window {
    /// Half of the answers took at most this.
    fn median(&self) -> Duration {
        let mut before = 0;
        for (power, answers) in self.answers.iter().enumerate() {
            if (before + answers) * 2 >= self.count {
                // Within the bucket as if spread evenly.
                let low = 1_u64 << power;
                let part = low * (self.count / 2).saturating_sub(before) / answers.max(&1);
                return Duration::from_micros(low + part);
            }
            before += answers;
        }
        Duration::from_micros(1 << (BUCKETS - 1))
    }

    /// The bound after this window.
    fn judge(&mut self, bound: usize, seen: &Seen, now: Instant) -> usize {
        let median = self.median();
        if let Some(probe) = &mut self.probe {
            probe.windows_left -= 1;
            if probe.windows_left > 0 {
                return bound;
            }
            let before = probe.bound;
            self.probe = None;
            self.unqueued = Some((now, median));
            return before;
        }
        let known = self.unqueued.filter(|(at, _)| now.duration_since(*at) < MEMORY).map(|(_, took)| took);
        if seen.most <= FLOOR {
            // What was quicker not long ago counts for longer.
            if known.is_none_or(|took| median <= took) {
                self.unqueued = Some((now, median));
            }
        } else if seen.reached && known.is_none() {
            self.probe = Some(Probe { windows_left: PROBE_WINDOWS, bound });
            return FLOOR;
        }
        let target = TARGET.max(known.unwrap_or(median) * 2);
        if median > target {
            (bound - bound / 8).max(FLOOR)
        } else if seen.reached {
            bound + (bound / 16).max(4)
        } else {
            bound
        }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    usize::try_from(micros.ilog2()).map_or(BUCKETS - 1, |power| power.min(BUCKETS - 1))
}

/// A request in work; gives its place back when it is dropped, and tells the limit how long it took if it was answered.
#[derive(Debug)]
pub struct InWork {
    limit: Arc<Limit>,
    since: Instant,
    is_answered: bool,
}

impl InWork {
    /// A role has answered.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.limit.in_work.fetch_sub(1, Relaxed);
        if self.is_answered {
            let now = Instant::now();
            self.limit.answered(now.duration_since(self.since), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service with one place after another: `capacity` answers a second and `delay` on top of it. Callers always want more.
    fn run(limit: &Limit, clock: &mut Instant, seconds: u64, capacity: f64, delay: Duration) -> usize {
        let end = *clock + Duration::from_secs(seconds);
        while *clock < end {
            // A whole bound's worth is answered at a time, in a queue.
            let bound = limit.bound();
            let took = delay + Duration::from_secs_f64(bound as f64 / capacity);
            *clock += took;
            limit.reached();
            limit.most.store(bound, Relaxed);
            (0..bound).for_each(|_| limit.answered(took, *clock));
        }
        limit.bound()
    }

    #[test]
    fn a_queue_takes_no_longer_than_twice_what_a_short_one_takes() {
        for capacity in [500.0, 10_000.0, 20_000.0] {
            let (limit, mut clock) = (Limit::new(4_096), Instant::now());
            let bound = run(&limit, &mut clock, 100, capacity, Duration::ZERO);
            assert!((FLOOR..=FLOOR * 4).contains(&bound), "{bound} at {capacity}/s");
        }
    }

    #[test]
    fn it_follows_a_service_that_becomes_slower_and_quicker_again() {
        let (limit, mut clock) = (Limit::new(4_096), Instant::now());
        let quick = run(&limit, &mut clock, 20, 100_000.0, Duration::ZERO);
        assert!((700..=1_300).contains(&quick), "10 ms at 100,000/s are 1,000: {quick}");
        let slow = run(&limit, &mut clock, 60, 5_000.0, Duration::ZERO);
        assert!(slow <= FLOOR * 4, "{slow}");
        let again = run(&limit, &mut clock, 60, 100_000.0, Duration::ZERO);
        assert!((700..=1_300).contains(&again), "{again}");
    }

    #[test]
    fn a_service_that_is_slow_by_itself_is_kept_busy() {
        let (limit, mut clock) = (Limit::new(4_096), Instant::now());
        // 50 ms away: what it takes without a queue is no reason to refuse. 10,000 a second then need 500 in work.
        let bound = run(&limit, &mut clock, 120, 10_000.0, Duration::from_millis(50));
        assert!(bound >= 450, "{bound}");
    }

    #[test]
    fn it_never_grows_beyond_the_configured_bound() {
        let (limit, mut clock) = (Limit::new(100), Instant::now());
        assert_eq!(run(&limit, &mut clock, 30, 1_000_000.0, Duration::ZERO), 100);
        assert_eq!(Limit::new(8).bound(), 8);
    }

    #[test]
    fn it_does_not_grow_while_nobody_is_refused() {
        let (limit, mut clock) = (Limit::new(4_096), Instant::now());
        for _ in 0..1_000 {
            clock += Duration::from_millis(10);
            (0..10).for_each(|_| limit.answered(Duration::from_millis(1), clock));
        }
        assert_eq!(limit.bound(), START);
    }

    #[test]
    fn a_queue_that_nobody_was_refused_for_is_a_queue() {
        let (limit, mut clock) = (Limit::new(4_096), Instant::now());
        // 200 callers that wait for their answers: 40 ms each, and nobody is turned away.
        for _ in 0..100 {
            clock += Duration::from_millis(40);
            limit.most.store(200, Relaxed);
            (0..200).for_each(|_| limit.answered(Duration::from_millis(40), clock));
        }
        assert_eq!(limit.window.lock().unqueued, None);
        let bound = run(&limit, &mut clock, 10, 5_000.0, Duration::ZERO);
        assert!(bound <= FLOOR * 4, "what was queued before does not set the target: {bound}");
    }

    #[test]
    fn who_goes_away_without_an_answer_says_nothing() {
        let limit = Arc::new(Limit::new(4_096));
        (0..1_000).for_each(|_| drop(limit.enter().expect("there is room")));
        assert_eq!((limit.window.lock().count, limit.in_work.load(Relaxed)), (0, 0));
        let mut answered = limit.enter().expect("there is room");
        answered.answered();
        drop(answered);
        assert_eq!(limit.window.lock().count, 1);
    }

    #[test]
    fn the_median_is_within_its_bucket() {
        let limit = Limit::new(8);
        let mut window = limit.window.lock();
        for (took, times) in [(100, 10), (3_000, 80), (60_000, 10)] {
            window.answers[bucket(Duration::from_micros(took))] += times;
            window.count += times;
        }
        let median = window.median();
        assert!((2_048..4_096).contains(&median.as_micros()), "{median:?}");
    }
}
