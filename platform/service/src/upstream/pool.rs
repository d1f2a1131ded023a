//! Which connections there are, who uses them and who waits for one.

#![allow(clippy::vec_box, reason = "a connection changes hands twice per request: a pointer moves, not the connection")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};
use zizon_mtls::HandshakeError;

use super::UpstreamOptions;
use super::dial::Target;
use super::error::{NotSent, UpstreamError};
use super::link::{Age, Link};
use super::metrics::UpstreamMetrics;

/// Longest pause of the background task: it has nothing to do before.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Gets a lease, so that a connection handed to somebody who has just given up is not lost from the count.
type Waiter = oneshot::Sender<Result<Lease, UpstreamError>>;

/// A bounded set of connections to one identity.
pub(super) struct Pool {
    pub(super) target: Target,
    pub(super) options: UpstreamOptions,
    pub(super) metrics: UpstreamMetrics,
    /// Wakes the background task.
    pub(super) changed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Last in, first out: what is not needed ages at the bottom.
    idle: Vec<Box<Link>>,
    /// Every open connection, idle or in use.
    open: Vec<Arc<Age>>,
    waiters: VecDeque<Waiter>,
    dialling: usize,
    failures: u32,
    /// Not before this moment is another connection tried.
    retry_at: Option<Instant>,
    last_failure: Option<Arc<HandshakeError>>,
    /// Somebody was refused since the last attempt: try again when the pause is over.
    wanted: bool,
}

/// What a connection is opened for.
pub(super) enum Wish {
    /// Somebody waits.
    Demand,
    /// This one is about to age out.
    Replace(Arc<Age>),
}

/// What the background task is to do.
pub(super) struct Plan {
    pub(super) dials: Vec<Wish>,
    pub(super) stale: Vec<Box<Link>>,
    pub(super) wake_at: Instant,
}

/// What a call finds.
enum Taken {
    Link(Box<Link>),
    Place(oneshot::Receiver<Result<Lease, UpstreamError>>),
}

/// A connection in use; it ends unless it is given back.
pub(super) struct Lease {
    pool: Arc<Pool>,
    link: Option<Box<Link>>,
}

impl Pool {
    pub(super) fn new(target: Target, options: UpstreamOptions, metrics: UpstreamMetrics) -> Arc<Self> {
        Arc::new(Self { target, options, metrics, changed: Notify::new(), state: Mutex::default() })
    }

    /// A usable connection, waiting for one until `deadline` at the latest.
    pub(super) async fn checkout(self: &Arc<Self>, deadline: Instant) -> Result<Lease, UpstreamError> {
        let waiting = loop {
            match self.take_or_wait()? {
                Taken::Link(link) => {
                    let mut lease = Lease { pool: Arc::clone(self), link: Some(link) };
                    if lease.link().is_usable().await {
                        return Ok(lease);
                    }
                }
                Taken::Place(waiting) => break waiting,
            }
        };
        let _count = Waiting::new(self);
        let until = deadline.min(Instant::now() + self.options.wait_timeout);
        match timeout_at(until, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(UpstreamError::NotSent(NotSent::NoConnection)),
        }
    }

    /// An idle connection or a place in the queue, decided under one lock: a connection that comes back in
    /// between would be missed.
    fn take_or_wait(&self) -> Result<Taken, UpstreamError> {
        let mut state = self.state.lock();
        if let Some(link) = state.idle.pop() {
            return Ok(Taken::Link(link));
        }
        let nothing_open = state.open.is_empty() && state.dialling == 0;
        if nothing_open
            && state.retry_at.is_some_and(|at| at > Instant::now())
            && let Some(failure) = &state.last_failure
        {
            let refused = UpstreamError::NotSent(NotSent::Connect(Arc::clone(failure)));
            state.wanted = true;
            drop(state);
            self.changed.notify_one();
            return Err(refused);
        }
        if state.waiters.len() >= self.options.max_waiting {
            state.waiters.retain(|waiter| !waiter.is_closed());
            if state.waiters.len() >= self.options.max_waiting {
                return Err(UpstreamError::Overloaded);
            }
        }
        let (sender, receiver) = oneshot::channel();
        state.waiters.push_back(sender);
        // A full pool has nothing to plan: whoever is through hands its connection on.
        let may_dial = state.open.len() + state.dialling < self.options.max_connections;
        drop(state);
        if may_dial {
            self.changed.notify_one();
        }
        Ok(Taken::Place(receiver))
    }

    /// Hands a free connection to whoever waits longest, or keeps it.
    fn put_back(self: &Arc<Self>, link: Box<Link>) {
        let mut lease = Lease { pool: Arc::clone(self), link: Some(link) };
        let mut state = self.state.lock();
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(Ok(lease)) {
                Ok(()) => return,
                // It gave up waiting.
                Err(Ok(unused)) => lease = unused,
                Err(Err(_)) => return,
            }
        }
        if let Some(mut link) = lease.link.take() {
            link.idle_since = Instant::now();
            state.idle.push(link);
        }
    }

    fn forget(&self, age: &Arc<Age>) {
        let mut state = self.state.lock();
        state.open.retain(|known| !Arc::ptr_eq(known, age));
        self.metrics.connections.set(count(state.open.len()));
        let wanted = !state.waiters.is_empty();
        drop(state);
        if wanted {
            self.changed.notify_one();
        }
    }

    /// What to open and what to close at `now`.
    pub(super) fn plan(&self, now: Instant) -> Plan {
        let mut state = self.state.lock();
        let state = &mut *state;
        let stale = self.remove_stale(state, now);
        state.waiters.retain(|waiter| !waiter.is_closed());
        let mut dials = Vec::new();
        let paused = state.retry_at.is_some_and(|at| at > now);
        if !paused {
            self.plan_demand(state, &mut dials);
            self.plan_replacements(state, now, &mut dials);
        }
        state.dialling += dials.len();
        self.metrics.connections.set(count(state.open.len()));
        Plan { dials, stale, wake_at: self.wake_at(state, now, paused) }
    }

    fn plan_demand(&self, state: &mut State, dials: &mut Vec<Wish>) {
        let probe = usize::from(std::mem::take(&mut state.wanted) && state.open.is_empty());
        let warm = self.options.min_idle.saturating_sub(state.open.len());
        let wanted = state.waiters.len().max(probe).max(warm).saturating_sub(state.dialling);
        let room = self.options.max_connections.saturating_sub(state.open.len() + state.dialling);
        let at_once = self.options.max_dials.saturating_sub(state.dialling);
        dials.extend((0..wanted.min(room).min(at_once)).map(|_| Wish::Demand));
    }

    fn plan_replacements(&self, state: &State, now: Instant, dials: &mut Vec<Wish>) {
        let mut at_once = self.options.max_dials.saturating_sub(state.dialling + dials.len());
        for age in &state.open {
            let due = now >= age.replace_at && !age.is_over(now);
            if at_once == 0 || !due || age.replacing.swap(true, Relaxed) {
                continue;
            }
            at_once -= 1;
            dials.push(Wish::Replace(Arc::clone(age)));
        }
    }

    /// Connections that must not or need not stay: too old, denied, or not needed for long.
    fn remove_stale(&self, state: &mut State, now: Instant) -> Vec<Box<Link>> {
        let mut stale = Vec::new();
        let mut kept = Vec::with_capacity(state.idle.len());
        let spare = state.open.len().saturating_sub(self.options.min_idle);
        for link in state.idle.drain(..) {
            let unused = now >= link.idle_since + self.options.idle_timeout && stale.len() < spare;
            if unused || link.is_stale(now) { stale.push(link) } else { kept.push(link) }
        }
        state.idle = kept;
        state.open.retain(|age| !stale.iter().any(|link| Arc::ptr_eq(&link.age, age)));
        stale
    }

    fn wake_at(&self, state: &State, now: Instant, paused: bool) -> Instant {
        let ages = state.open.iter().flat_map(|age| {
            let replace = (!age.replacing.load(Relaxed)).then_some(age.replace_at);
            [replace, Some(age.retire_at)].into_iter().flatten()
        });
        let idle = state.idle.iter().map(|link| link.idle_since + self.options.idle_timeout);
        let retry = state.retry_at.filter(|_| paused);
        let next = ages.chain(idle).chain(retry).filter(|at| *at > now).min();
        next.unwrap_or(now + PAUSE_MAX).min(now + PAUSE_MAX)
    }

    /// Takes in what became of an attempt.
    pub(super) async fn dialled(self: &Arc<Self>, wish: Wish, opened: Result<Box<Link>, HandshakeError>) {
        match opened {
            Ok(mut link) => {
                // The first look sends what hyper has to say first and finds a refusal that came at once.
                let usable = link.is_usable().await;
                self.metrics.dialled.inc();
                self.add(wish, link, usable);
            }
            Err(error) => self.dial_failed(&wish, error),
        }
    }

    fn add(self: &Arc<Self>, wish: Wish, link: Box<Link>, usable: bool) {
        let mut state = self.state.lock();
        state.dialling -= 1;
        if !usable {
            let refused = io::Error::new(io::ErrorKind::ConnectionAborted, "closed right after the handshake");
            return self.fail(&mut state, &wish, HandshakeError::Io(refused));
        }
        state.failures = 0;
        state.retry_at = None;
        state.last_failure = None;
        state.open.push(Arc::clone(&link.age));
        let mut replaced = None;
        if let Wish::Replace(old) = wish {
            old.retired.store(true, Relaxed);
            let idle = state.idle.iter().position(|idle| Arc::ptr_eq(&idle.age, &old));
            replaced = idle.map(|at| state.idle.remove(at));
            if replaced.is_some() {
                state.open.retain(|known| !Arc::ptr_eq(known, &old));
            }
            self.metrics.replaced.inc();
        }
        self.metrics.connections.set(count(state.open.len()));
        drop(state);
        drop(replaced);
        self.put_back(link);
    }

    fn dial_failed(&self, wish: &Wish, error: HandshakeError) {
        let mut state = self.state.lock();
        state.dialling -= 1;
        self.fail(&mut state, wish, error);
    }

    fn fail(&self, state: &mut State, wish: &Wish, error: HandshakeError) {
        self.metrics.dial_failed.inc();
        if state.failures == 0 {
            tracing::warn!(
                upstream = self.target.expect.as_str(),
                address = self.target.address,
                %error,
                "cannot connect to another role"
            );
        }
        if let Wish::Replace(old) = wish {
            // Tried again after the pause, for as long as the old one lasts.
            old.replacing.store(false, Relaxed);
        }
        let failure = Arc::new(error);
        let pause = self.options.backoff_min * 2_u32.pow(state.failures.min(8));
        let pause = pause.min(self.options.backoff_max);
        state.failures = state.failures.saturating_add(1);
        state.retry_at = Some(Instant::now() + pause);
        state.last_failure = Some(Arc::clone(&failure));
        if state.open.is_empty() && state.dialling == 0 {
            for waiter in state.waiters.drain(..) {
                // Whoever gave up waiting does not need to know.
                let _ = waiter.send(Err(UpstreamError::NotSent(NotSent::Connect(Arc::clone(&failure)))));
            }
        }
    }

    /// Open connections.
    pub(super) fn open(&self) -> usize {
        self.state.lock().open.len()
    }
}

impl Lease {
    pub(super) fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("a lease has its connection until it is given back")
    }

    /// Gives the connection back after a complete exchange.
    pub(super) async fn give_back(mut self) {
        if self.link().is_usable().await
            && let Some(link) = self.link.take()
        {
            self.pool.put_back(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.pool.forget(&link.age);
        }
    }
}

/// Counts a call that waits.
struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.metrics.waiting.inc();
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.metrics.waiting.dec();
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
