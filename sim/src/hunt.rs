//! Many seeds: looking for the first that breaks something.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use zizon_orders::execute::Mode;

use crate::{Flaw, Options, STEPS, Stats, run};

/// A seed that broke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// The seed.
    pub seed: u64,
    /// The invariant that was violated, in words.
    pub violated: String,
    /// The step at which it showed.
    pub steps: u64,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// The seeds, in order.
    pub seeds: Range<u64>,
    /// Steps of each run.
    pub steps: u64,
    /// How orders are written; `None`: as each seed says.
    pub mode: Option<Mode>,
    /// How the shop is broken, if it is.
    pub flaw: Option<Flaw>,
    /// Threads.
    pub jobs: usize,
}

impl Hunt {
    /// Runs of the sound shop.
    #[must_use]
    pub const fn sound(seeds: Range<u64>) -> Self {
        Self { seeds, steps: STEPS, mode: None, flaw: None, jobs: 1 }
    }

    const fn options(&self, seed: u64) -> Options {
        Options { seed, steps: self.steps, mode: self.mode, flaw: self.flaw, trace: false }
    }
}

/// How far a hunt is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Seeds that were run.
    pub done: u64,
    /// Seeds there are.
    pub of: u64,
}

/// Runs seeds in order of their numbers until one breaks something, and returns the lowest that did. `progress` is
/// told after every seed, and answers whether to go on.
pub fn sweep(hunt: &Hunt, progress: &(dyn Fn(Progress) -> bool + Sync)) -> (Stats, Option<Caught>) {
    let (next, done, stop) = (AtomicU64::new(hunt.seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let found: Mutex<(Stats, Option<Caught>)> = Mutex::default();
    let of = hunt.seeds.end.saturating_sub(hunt.seeds.start);
    let work = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= hunt.seeds.end {
                return;
            }
            let outcome = run(&hunt.options(seed));
            let mut found = found.lock();
            found.0.add(&outcome.stats);
            if let Some(violated) = outcome.violated {
                // Lower seeds may still be running; higher ones are of no interest any more.
                stop.store(true, Relaxed);
                if found.1.as_ref().is_none_or(|caught| seed < caught.seed) {
                    found.1 = Some(Caught { seed, violated, steps: outcome.steps });
                }
            }
            drop(found);
            if !progress(Progress { done: done.fetch_add(1, Relaxed) + 1, of }) {
                stop.store(true, Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..hunt.jobs.max(1) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner()
}

/// Looks for the first of `seeds` whose run shows `flaw`; `None` when none does, and then the checks are at fault.
#[must_use]
pub fn hunt(flaw: Flaw, seeds: Range<u64>) -> Option<Caught> {
    sweep(&Hunt { flaw: Some(flaw), ..Hunt::sound(seeds) }, &|_| true).1
}
