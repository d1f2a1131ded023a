//! A deterministic world of the real code: journal, table engine, orders, settler, sweeper, expiry and a reader of the
//! feed, on a simulated disk and behind a simulated network. One seed decides everything, and gives the same run again.
//!
//! ```text
//! clients -- network: late, lost, doubled, overtaken, cut --> shop (real) -> table engine (real) -> journal (real)
//!                                                                |                                     |
//!                          reader of the feed <------------------+          disk: torn, lost, failing, full
//! ```
//!
//! [`run`] runs one seed, [`hunt()`] looks for the first seed that shows a [`Flaw`]. The histories of every run are checked
//! for linearizability ([`linear`]); the protocol itself is checked exhaustively in `model`.

mod crashpoints;
pub mod damage;
mod fault;
mod flaw;
mod hunt;
pub mod linear;
#[cfg(feature = "model")]
pub mod model;
mod stats;
mod trace;
mod world;

pub use crashpoints::{Point, Report, Struck, crashpoints};
pub use fault::Fault;
pub use flaw::Flaw;
pub use hunt::{Caught, Hunt, Progress, hunt, sweep};
pub use stats::{Places, Stats};
pub use zizon_orders::execute::Mode;
pub use zizon_orders::simulation::Step;

use zeroize::Zeroizing;
use zizon_orders::keyring::Keyring;

use self::world::World;

/// Steps of a run unless something else is asked for.
pub const STEPS: u64 = 900;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Steps of the schedule before everything comes to rest.
    pub steps: u64,
    /// How orders are written; `None`: as the seed says.
    pub mode: Option<Mode>,
    /// How the shop is broken, if it is.
    pub flaw: Option<Flaw>,
    /// Whether to keep what happened as lines.
    pub trace: bool,
}

impl Options {
    /// The run of `seed`, with nothing broken.
    #[must_use]
    pub const fn seed(seed: u64) -> Self {
        Self { seed, steps: STEPS, mode: None, flaw: None, trace: false }
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The invariant that was violated, in words; `None` when all held.
    pub violated: Option<String>,
    /// Hash over everything that happened: the same for the same options.
    pub hash: u64,
    /// The step at which it ended.
    pub steps: u64,
    /// What it did.
    pub stats: Stats,
    /// What happened, if it was asked for.
    pub lines: Vec<String>,
}

/// Runs one seed to its end. Nothing outside the process is touched but a file in the temporary directory that is
/// unlinked as soon as it is open.
///
/// # Panics
/// When the temporary directory cannot be used.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    begin(options, None)
}

/// A run in which nothing goes wrong but what strikes it at `point`.
pub(crate) fn run_at(options: &Options, point: Point) -> Outcome {
    begin(options, Some(point))
}

fn begin(options: &Options, point: Option<Point>) -> Outcome {
    thread_local! {
        static KEYRING: Keyring = unused_keyring();
    }
    let keyring = KEYRING.with(Clone::clone);
    let mut world = match World::new(options, keyring, point) {
        Ok(world) => world,
        Err(why) => {
            return Outcome { violated: Some(why), hash: 0, steps: 0, stats: Stats::default(), lines: Vec::new() };
        }
    };
    let violated = world.run(options.steps).and_then(|()| world.rest()).and_then(|()| world.check()).err();
    let (steps, stats) = (world.trace.step, world.stats);
    if let Some(why) = &violated {
        world.trace.say("violated:", why);
    }
    Outcome { violated, hash: world.trace.hash(), steps, stats, lines: world.into_lines() }
}

/// A keyring in a file that nobody can find: orders without personal fields never ask it for anything.
fn unused_keyring() -> Keyring {
    let dir = tempfile::tempdir().expect("the temporary directory is usable");
    Keyring::open(&dir.path().join("users.keys"), &Zeroizing::new([9; 32])).expect("the temporary directory is usable")
}
