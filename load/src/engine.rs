//! A run from the first connection to the report.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::acks::Writer;
use crate::connection::Connection;
use crate::cpu::process_cpu;
use crate::keys::{KeyMaker, Picker};
use crate::pacer;
use crate::patience::Patience;
use crate::product::Offer;
use crate::report::{Outcome, per, quantile_ms};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::target::Target;
use crate::template::OrderTemplate;
use crate::worker::{Pace, Shared, Worker};
use crate::{Keys, LoadError, OrdersLoad, Progress, Rate, Report};

/// Handshakes in flight while connections are made.
const CONNECTING_MAX: usize = 32;
/// How long after the end requests in line may still be sent.
const GRACE: Duration = Duration::from_secs(1);
/// How often the end of the run is looked for.
const TICK: Duration = Duration::from_millis(100);
/// Ticks per progress.
const PROGRESS_TICKS: u64 = 10;

/// Runs the generator and blocks until its report. `progress` is called when all connections are open, just before the
/// first request, and then each second.
///
/// # Errors
/// When the run cannot start, or acknowledgements can no longer be written. Failing requests are no
/// error: they are counted.
pub fn run(load: &OrdersLoad, progress: impl FnMut(&Progress) + Send) -> Result<Report, LoadError> {
    on_own_runtime("load", drive(load, progress))?
}

/// Drives a future on a thread and runtime of its own, so that callers inside a runtime may block on it too.
pub(crate) fn on_own_runtime<T: Send>(name: &str, work: impl Future<Output = T> + Send) -> Result<T, LoadError> {
    let setup = |what| move |source| LoadError::Setup { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup("a runtime"))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || runtime.block_on(work));
        let thread = thread.map_err(setup("a thread"))?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

async fn drive(load: &OrdersLoad, mut progress: impl FnMut(&Progress) + Send) -> Result<Report, LoadError> {
    load.check()?;
    let target = Target::new(&load.url, &load.ca_file)?;
    let offers = Offer::find_all(load, &target).await?;
    let acks_failed = |source| LoadError::Acks { file: load.acks.clone().unwrap_or_default(), source };
    let acks = load.acks.as_deref().map(Writer::open).transpose().map_err(acks_failed)?;
    let connections = connect_all(&target, load.connections).await?;

    let (template, patches) = OrderTemplate::of_all(&target, &offers, load.quantity);
    drop(offers);
    progress(&Progress::beginning(load.duration));
    let shared = Arc::new(Shared {
        keys: key_maker(load)?,
        pace: match load.rate {
            Rate::PerSecond(rate) => {
                Pace::Open { schedule: Schedule::new(rate, load.duration), permits: Arc::new(Semaphore::new(0)) }
            }
            Rate::Max => Pace::Closed { duration: load.duration },
        },
        target,
        patches,
        users: if load.keys == Keys::Fixed { 1 } else { load.users },
        request_timeout: load.request_timeout,
        acks: acks.as_ref().map(Writer::queue),
        unsettled: load.unsettled.clone(),
        taken: AtomicU64::new(0),
        tally: std::sync::Mutex::new(Tally::new()),
        stop: load.stop.clone(),
        start: Instant::now(),
    });

    let cpu = process_cpu();
    let mut workers = JoinSet::new();
    for connection in connections {
        let worker = Worker {
            shared: shared.clone(),
            template: template.clone(),
            picker: Picker::seeded().map_err(no_randomness)?,
            patience: Patience::new(),
            connection: Some(connection),
        };
        workers.spawn(worker.run());
    }
    let unsent = watch(load, &shared, &mut workers, &mut progress).await?;
    let elapsed = measured(load, &shared);
    let cpu = process_cpu().saturating_sub(cpu);

    let Ok(shared) = Arc::try_unwrap(shared) else { unreachable!("every worker has ended") };
    drop(shared.acks);
    let acked = acks.map(Writer::finish).transpose().map_err(acks_failed)?;
    let tally = shared.tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Report::new(load, &tally, &Outcome { elapsed, unsent, cpu, acked }))
}

fn key_maker(load: &OrdersLoad) -> Result<KeyMaker, LoadError> {
    let keys = match load.keys {
        Keys::Fresh => KeyMaker::fresh(),
        Keys::Fixed => KeyMaker::fixed(),
    };
    keys.map_err(no_randomness)
}

fn no_randomness(error: getrandom::Error) -> LoadError {
    LoadError::Setup { what: "randomness", source: io::Error::other(error) }
}

async fn connect_all(target: &Target, count: usize) -> Result<Vec<Connection>, LoadError> {
    let mut connecting = JoinSet::new();
    let mut open = Vec::with_capacity(count);
    let mut started = 0;
    while open.len() < count {
        while started < count && connecting.len() < CONNECTING_MAX {
            let target = target.clone();
            connecting.spawn(async move { Connection::open(&target).await });
            started += 1;
        }
        match connecting.join_next().await {
            Some(Ok(Ok(connection))) => open.push(connection),
            Some(Ok(Err(error))) => return Err(error.at(target)),
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => break,
        }
    }
    Ok(open)
}

/// Paces and reports until every worker has ended; returns how many scheduled requests were not sent.
async fn watch(
    load: &OrdersLoad,
    shared: &Arc<Shared>,
    workers: &mut JoinSet<()>,
    progress: &mut (impl FnMut(&Progress) + Send),
) -> Result<u64, LoadError> {
    let mut pacer = JoinSet::new();
    if let Pace::Open { schedule, permits } = &shared.pace {
        pacer.spawn(pacer::release(*schedule, shared.start, permits.clone()));
    }
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen = Seen { ticks: 0, orders: 0, at: shared.start };
    let mut unsent = 0;
    let mut ended = false;
    loop {
        tokio::select! {
            _ = ticker.tick() => {}
            Some(result) = pacer.join_next() => match result {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(LoadError::Setup { what: "a timer", source }),
                Err(aborted) if aborted.is_cancelled() => {}
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            },
            worker = workers.join_next() => match worker {
                Some(Ok(())) => continue,
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => return Ok(unsent),
            },
        }
        let stopped = load.stop.load(Ordering::Relaxed);
        if !ended && (stopped || is_over(load, shared)) {
            ended = true;
            pacer.abort_all();
            unsent = end(shared);
        }
        seen.report(load, shared, progress);
    }
}

/// The span that rates are taken over: to the last outcome, and never less than what was asked for.
fn measured(load: &OrdersLoad, shared: &Shared) -> Duration {
    let last = shared.tally().last.map_or(Duration::ZERO, |at| at - shared.start);
    if load.stop.load(Ordering::Relaxed) { last } else { last.max(load.duration) }
}

/// Whether everything due was taken, or the grace for it has passed.
fn is_over(load: &OrdersLoad, shared: &Shared) -> bool {
    let elapsed = shared.start.elapsed();
    match &shared.pace {
        Pace::Closed { .. } => false,
        Pace::Open { schedule, .. } => {
            elapsed >= load.duration
                && (shared.taken.load(Ordering::Relaxed) >= schedule.total() || elapsed >= load.duration + GRACE)
        }
    }
}

/// Stops handing out scheduled requests. Those in line are counted as unsent, and their wait so far
/// is in the latencies: leaving them out would hide the end of a stall.
fn end(shared: &Shared) -> u64 {
    let Pace::Open { schedule, permits } = &shared.pace else { return 0 };
    permits.close();
    let elapsed = shared.start.elapsed();
    let taken = shared.taken.load(Ordering::Relaxed);
    let due = schedule.due(elapsed);
    let mut tally = shared.tally();
    for index in taken..due {
        tally.latency(elapsed.saturating_sub(schedule.intended(index)));
    }
    due.saturating_sub(taken)
}

/// What the last progress showed.
struct Seen {
    ticks: u64,
    orders: u64,
    at: Instant,
}

impl Seen {
    fn report(&mut self, load: &OrdersLoad, shared: &Shared, progress: &mut (impl FnMut(&Progress) + Send)) {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(PROGRESS_TICKS) {
            return;
        }
        let (elapsed, since) = (shared.start.elapsed(), self.at.elapsed());
        let mut tally = shared.tally();
        let orders = tally.created + tally.replayed;
        let waiting = match &shared.pace {
            Pace::Open { schedule, .. } => schedule.due(elapsed).saturating_sub(shared.taken.load(Ordering::Relaxed)),
            Pace::Closed { .. } => 0,
        };
        let state = Progress {
            elapsed,
            duration: load.duration,
            rate: per(orders - self.orders, since),
            sent: tally.sent,
            created: tally.created,
            replayed: tally.replayed,
            errors: tally.errors,
            waiting,
            p99_ms: quantile_ms(&tally.latency, 0.99),
            recent_p50_ms: quantile_ms(&tally.recent, 0.5),
            recent_p99_ms: quantile_ms(&tally.recent, 0.99),
        };
        tally.recent.reset();
        drop(tally);
        self.orders = orders;
        self.at = Instant::now();
        progress(&state);
    }
}
