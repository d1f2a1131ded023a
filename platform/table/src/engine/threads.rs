//! The threads around the engine: one syncs, one keeps the index and the journal in shape.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::core::Stop;
use super::state::Engine;
use crate::index::IndexError;

/// Pause before background work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A batch from this size on is followed by a pause: whoever was answered with it sends again at about the same time.
const CROWD: u64 = 16;

/// Bytes written by this process after which segments are zeroed ahead.
const FILL_AFTER: u64 = 4 << 20;

/// Sealed parts of the index that may wait while segments are zeroed.
const SEALED_FEW: usize = 1;

/// The threads of one table.
pub(super) struct Threads {
    sync: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Wanted {
    work: bool,
    /// Segments are to be zeroed ahead.
    fill: bool,
    stop: bool,
}

impl Threads {
    pub fn start(engine: &Arc<Engine>, name: &str) -> std::io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let sync = {
            let (engine, signal) = (engine.clone(), signal.clone());
            std::thread::Builder::new().name(format!("{name}-sync")).spawn(move || sync_loop(&engine, &signal))?
        };
        let maintenance = {
            let (engine, signal) = (engine.clone(), signal.clone());
            std::thread::Builder::new()
                .name(format!("{name}-index"))
                .spawn(move || maintenance_loop(&engine, &signal))?
        };
        Ok(Self { sync, maintenance, signal })
    }

    /// Ends both: what is buffered is synced, background work under way is finished.
    pub fn stop(self, engine: &Engine) {
        engine.refuse_writes();
        join(self.sync);
        self.signal.set(|wanted| wanted.stop = true);
        join(self.maintenance);
    }
}

fn join(thread: JoinHandle<()>) {
    // A waker may own the last handle of the table, and is dropped by the thread that woke it: that thread
    // ends by itself.
    if thread.thread().id() != std::thread::current().id() {
        // One that panicked has said so; there is nothing to add here.
        let _ = thread.join();
    }
}

impl Signal {
    fn set(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Waits for work or the end; after a failure, for a while at most.
    fn wait(&self, retry: bool) -> Wanted {
        let mut state = self.state.lock();
        while !state.work && !state.stop {
            if !retry {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, RETRY).timed_out() {
                break;
            }
        }
        let wanted = *state;
        state.work = false;
        state.fill = false;
        wanted
    }
}

/// Calls a function when its thread panics: nobody may wait for ever for a thread that is gone.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

fn sync_loop(engine: &Engine, signal: &Signal) {
    let _guard = OnPanic(|| engine.stop_and_wake(Stop::JournalFailed, || {}));
    let mut written = 0;
    while let Some(mut batch) = engine.wait_for_batch() {
        let outcome = batch.run();
        // A table with little to do stays small: nothing is zeroed before it has something to do.
        let busy = written < FILL_AFTER && written + outcome.bytes() >= FILL_AFTER;
        // The first segment leaves none behind to compress.
        let rolled = outcome.rolled() && written > 0;
        written += outcome.bytes();
        let plans = outcome.frames();
        let sync_ns = outcome.write_ns().saturating_add(outcome.sync_ns());
        let finished = engine.finish(outcome);
        if finished.sealed || rolled || busy {
            signal.set(|wanted| {
                wanted.work = true;
                wanted.fill |= (rolled || busy) && written >= FILL_AFTER;
            });
        }
        if let Some(pause) = gather(sync_ns, plans, engine.options.gather_max) {
            std::thread::sleep(pause);
        }
    }
}

/// How long to let the callers just answered send again before the next batch is taken.
fn gather(sync_ns: u64, plans: u64, most: Duration) -> Option<Duration> {
    (plans >= CROWD && !most.is_zero()).then(|| Duration::from_nanos(sync_ns / 8).min(most))
}

fn maintenance_loop(engine: &Engine, signal: &Signal) {
    // The tree panics where it contradicts itself.
    let _guard = OnPanic(|| engine.index_failed(&IndexError::Damaged("its background work panicked".to_owned())));
    let mut retry = false;
    loop {
        let wanted = signal.wait(retry);
        if wanted.stop {
            return;
        }
        let mut fill = wanted.fill;
        loop {
            fill = fill && fill_ahead(engine, signal);
            retry = !work(engine, signal);
            if retry || !fill {
                break;
            }
        }
    }
}

/// Zeroes segments until that is done or the index waits to be written: what it has in memory is worth more. Says whether
/// there is more to zero.
fn fill_ahead(engine: &Engine, signal: &Signal) -> bool {
    while !signal.state.lock().stop {
        if engine.index.state().sealed > SEALED_FEW {
            return true;
        }
        if !engine.segments.fill_one() {
            return false;
        }
    }
    false
}

/// Works until nothing is left; `false` when something failed.
fn work(engine: &Engine, signal: &Signal) -> bool {
    loop {
        if signal.state.lock().stop {
            return true;
        }
        match engine.maintain() {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) => return false,
        }
        if !engine.compress_segment() {
            return true;
        }
    }
}

impl Engine {
    /// Refuses further writes; what is buffered is still synced.
    pub fn refuse_writes(&self) {
        let mut core = self.core.lock();
        self.stop_for(&mut core, Stop::Closing);
        drop(core);
        self.work.notify_all();
    }

    /// Waits for something to sync; `None` when the engine has stopped and nothing is left.
    fn wait_for_batch(&self) -> Option<super::sync::InFlight> {
        let mut core = self.core.lock();
        loop {
            if let Some(batch) = core.journal.as_mut().and_then(zizon_journal::Journal::begin_sync) {
                return Some(batch.into());
            }
            if core.stop.is_some() {
                return None;
            }
            if core.journal.as_ref().is_none_or(|journal| journal.poisoned().is_some()) {
                drop(core);
                self.stop_and_wake(Stop::JournalFailed, || {});
                return None;
            }
            self.work.wait(&mut core);
        }
    }

    /// Ends the engine: refuses writes, syncs what is buffered, writes the index to disk, lets go of the
    /// journal. Whoever still waits has been answered; reads are refused from here on.
    pub fn close(&self) {
        self.refuse_writes();
        while self.sync_once() {}
        if self.status() == super::EngineStatus::Closed {
            self.seal();
            while matches!(self.maintain(), Ok(true)) {}
        }
        self.release();
    }

    /// Lets go of the journal without writing the index to disk. Reads are refused from here on.
    pub(super) fn release(&self) {
        self.stop_and_wake(Stop::Closing, || {});
        self.core.lock().journal = None;
    }
}
