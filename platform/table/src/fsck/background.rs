//! Checks of a table that is in use: one at a time, on a thread of its own that leaves room for the table's work.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{FsckHooks, FsckOptions, FsckProgress, FsckReport, FsckStep};
use crate::engine::EmbeddedTable;

/// Work between two pauses.
const TURN: Duration = Duration::from_millis(4);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How much a check gives way to everything else on the machine (setpriority(2): 0 is usual, 19 the most).
const NICENESS: i32 = 10;

/// Pauses as long as the work between them: at most half of one processor is used.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now() }
    }
}

impl Pace {
    /// Pauses if it is time to; to be called often.
    pub fn rest(&mut self) {
        let worked = self.since.elapsed();
        if worked < TURN {
            return;
        }
        thread::sleep(worked.min(LONGEST_PAUSE));
        self.since = Instant::now();
    }
}

/// Where a check is.
#[derive(Debug, Clone)]
pub enum CheckState<R> {
    /// None was started.
    Idle,
    /// It runs.
    Running(FsckProgress),
    /// It has ended with this.
    Done(R),
    /// It could not be made.
    Failed(String),
}

/// The checks of one table; `R` is what is concluded from one.
#[derive(Debug)]
pub struct OnlineChecks<R> {
    state: Arc<Mutex<CheckState<R>>>,
}

impl<R> Default for OnlineChecks<R> {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new(CheckState::Idle)) }
    }
}

impl<R: Clone + Send + 'static> OnlineChecks<R> {
    /// Starts a check of `table`, from whose report `conclude` draws its conclusions on the same thread. Nothing is
    /// started while one runs.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        &self,
        table: Arc<EmbeddedTable>,
        conclude: impl FnOnce(FsckReport, &mut Pace) -> R + Send + 'static,
    ) -> io::Result<()> {
        let before = {
            let mut state = self.state.lock();
            if matches!(*state, CheckState::Running(_)) {
                return Ok(());
            }
            let begin = FsckProgress { step: FsckStep::Verify, done: 0, of: 0 };
            std::mem::replace(&mut *state, CheckState::Running(begin))
        };
        let shared = Arc::clone(&self.state);
        let spawned = thread::Builder::new().name("fsck".to_owned()).spawn(move || {
            let ending = Ending(shared);
            // Not being able to give way is no reason not to check.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let outcome = run(&table, &ending.0, conclude);
            *ending.0.lock() = outcome.map_or_else(CheckState::Failed, CheckState::Done);
        });
        if let Err(error) = spawned {
            *self.state.lock() = before;
            return Err(error);
        }
        Ok(())
    }

    /// Where the last check is.
    #[must_use]
    pub fn state(&self) -> CheckState<R> {
        self.state.lock().clone()
    }
}

fn run<R>(
    table: &EmbeddedTable,
    state: &Mutex<CheckState<R>>,
    conclude: impl FnOnce(FsckReport, &mut Pace) -> R,
) -> Result<R, String> {
    let pace = std::cell::RefCell::new(Pace::default());
    let mut progress = |progress| {
        *state.lock() = CheckState::Running(progress);
        pace.borrow_mut().rest();
    };
    let mut visit = |_: &_| pace.borrow_mut().rest();
    let mut hooks = FsckHooks { progress: &mut progress, visit: &mut visit };
    let report = table.check_online(&FsckOptions::default(), &mut hooks).map_err(|error| error.to_string())?;
    Ok(conclude(report, &mut pace.borrow_mut()))
}

/// A thread that panics leaves no check that runs for ever.
struct Ending<R>(Arc<Mutex<CheckState<R>>>);

impl<R> Drop for Ending<R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(*state, CheckState::Running(_)) {
            *state = CheckState::Failed("the check ended unexpectedly".to_owned());
        }
    }
}
