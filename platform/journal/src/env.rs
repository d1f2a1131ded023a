//! What the journal needs from outside: clock, randomness, file system. Tests and simulations replace them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::fs::{Fs, RealFs};

/// Time as the journal sees it.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch. May step back.
    fn wall_ms(&self) -> u64;
    /// Nanoseconds since an arbitrary start. Never steps back.
    fn mono_ns(&self) -> u64;
}

/// A source of random bytes.
pub trait Rng: Send + Sync {
    /// Fills `into`.
    fn fill(&self, into: &mut [u8]);
}

/// The outside world of one journal.
#[derive(Clone)]
pub struct Env {
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// File system.
    pub fs: Arc<dyn Fs>,
}

impl Env {
    /// The machine's own clock, randomness and file system.
    #[must_use]
    pub fn real() -> Self {
        Self { clock: Arc::new(RealClock::default()), rng: Arc::new(SystemRng), fs: Arc::new(RealFs) }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for RealClock {
    fn wall_ms(&self) -> u64 {
        // A clock set before 1970 reads as 0; the journal keeps its times from running backwards anyway.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn mono_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("getrandom(2) does not fail on the kernels this platform supports");
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    mono_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall_ms`.
    #[must_use]
    pub fn at(wall_ms: u64) -> Self {
        Self { wall_ms: AtomicU64::new(wall_ms), mono_ns: AtomicU64::new(0) }
    }

    /// Moves both clocks forward.
    pub fn advance_ms(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.mono_ns.fetch_add(ms.saturating_mul(1_000_000), Ordering::Relaxed);
    }

    /// Sets the wall clock, also backwards.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn mono_ns(&self) -> u64 {
        self.mono_ns.load(Ordering::Relaxed)
    }
}

/// A repeatable generator (`SplitMix64`) for tests and simulations.
#[derive(Debug)]
pub struct SeededRng {
    state: AtomicU64,
}

impl SeededRng {
    /// The generator of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// The next 64 bits.
    pub fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 for a bound of 0).
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

impl Rng for SeededRng {
    fn fill(&self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
