//! Expiry: a cursor over the feed that stays one reservation behind, instead of a timer per order (15,000 orders a
//! second for 15 minutes are 13.5 million).
//!
//! The cursor stops at the first order that is not due, unless that order cannot be from this clock: then it is taken
//! aside ([`parked`]) and the cursor goes on. What is saved is the first place that would have to be read again.

mod parked;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use zizon_base::ids::OrderId;
use zizon_table::{Cond, Durability, Item, Op};

use self::parked::{MAX_PARKED, Parked};
use crate::execute::{CommandError, ExecuteError, Executor};
use crate::keys::{self, Named};
use crate::order::fact::Actor;
use crate::order::state::Event;

/// The one class of reservations there is; flash sales and virtual accounts get cursors of their own.
const CLASS: &str = "expiry#standard";
const NEXT: &str = "seq";
/// Attribute of the cursor: the longest reservation there has been, milliseconds.
const LONGEST: &str = "ttl";
const BATCH: u32 = 512;
/// Longest wait before the feed is looked at again.
const IDLE_MS: u64 = 1_000;
/// How far the clock may have been ahead when an order was made. Up to here its successors wait with it.
const SLACK_MS: u64 = 60_000;

/// Figures of the cursor.
#[derive(Debug, Default)]
pub struct ExpiryFigures {
    /// How long the oldest order that should be expired has been waiting, milliseconds.
    pub lag_ms: AtomicU64,
    /// Orders expired by this process.
    pub expired: AtomicU64,
    /// Orders from a clock that was far ahead, waiting for their time.
    pub parked: AtomicU64,
}

/// Where the cursor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do at once.
    More,
    /// Nothing is due for so many milliseconds.
    Wait(u64),
}

/// Expires orders that were not paid in time. One per class of reservation.
pub struct Expiry {
    executor: Arc<Executor>,
    concurrency: usize,
    /// The longest reservation there has been.
    reservation_ms: u64,
    next: u64,
    /// Position and longest reservation as they are stored.
    saved: (u64, Option<u64>),
    parked: Parked,
    figures: Arc<ExpiryFigures>,
}

impl Expiry {
    /// Goes on where the last one was. `reservation` is how long an order's stock is kept.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn resume(
        executor: Arc<Executor>,
        concurrency: usize,
        reservation: Duration,
    ) -> Result<Self, ExecuteError> {
        Self::with_room(executor, concurrency, reservation, MAX_PARKED).await
    }

    /// [`Expiry::resume`], taking at most `room` orders aside.
    pub(crate) async fn with_room(
        executor: Arc<Executor>,
        concurrency: usize,
        reservation: Duration,
        room: usize,
    ) -> Result<Self, ExecuteError> {
        let item = executor.table.get(&keys::cursor(CLASS)).await?;
        let next = item.as_ref().and_then(|item| item.int(NEXT)).and_then(|n| u64::try_from(n).ok()).unwrap_or(1);
        let stored = item.as_ref().and_then(|item| item.int(LONGEST)).and_then(|n| u64::try_from(n).ok());
        // Orders from before the reservation was made shorter are due when they were promised to be.
        let reservation_ms = u64::try_from(reservation.as_millis()).unwrap_or(u64::MAX).max(stored.unwrap_or(0));
        let (concurrency, parked) = (concurrency.max(1), Parked::new(room));
        let saved = (next, stored);
        Ok(Self { executor, concurrency, reservation_ms, next, saved, parked, figures: Arc::default() })
    }

    /// The figures, kept current.
    #[must_use]
    pub fn figures(&self) -> Arc<ExpiryFigures> {
        Arc::clone(&self.figures)
    }

    /// Expires what was taken aside and is due, then takes one batch of the feed up to the first order of this clock
    /// that is not due.
    ///
    /// # Errors
    /// The table failed; the same is tried again next time.
    pub async fn step(&mut self) -> Result<Progress, ExecuteError> {
        let now = self.executor.clock.wall_ms();
        let more = self.expire_parked(now).await?;
        let read = self.read_on(now).await?;
        self.figures.parked.store(u64::try_from(self.parked.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(if more { Progress::More } else { read })
    }

    /// Whether there may be more of them.
    async fn expire_parked(&mut self, now: u64) -> Result<bool, ExecuteError> {
        let due = self.parked.due(now, BATCH as usize);
        if !due.is_empty() {
            self.expire(due.iter().map(|&(_, id)| id).collect()).await?;
            self.parked.done(&due);
        }
        if let Some(from) = self.parked.again(now) {
            // What has expired since is looked at once more, which changes nothing.
            self.next = self.next.min(from);
        }
        Ok(due.len() == BATCH as usize)
    }

    async fn read_on(&mut self, now: u64) -> Result<Progress, ExecuteError> {
        let changes = self.executor.changes(self.next, BATCH).await?;
        let Some(last) = changes.last() else {
            self.figures.lag_ms.store(0, Ordering::Relaxed);
            return Ok(Progress::Wait(IDLE_MS));
        };
        let mut due: Vec<OrderId> = Vec::new();
        let mut through = last.seq.0 + 1;
        let mut progress = Progress::More;
        let mut oldest = None;
        for change in &changes {
            let Some(Named::Order(id)) = keys::named(&change.key) else { continue };
            let placed = change.new.as_ref().filter(|item| item.str(keys::STATUS) == Some(keys::PLACED));
            let Some(expires) = placed.and_then(|item| item.int(keys::EXPIRES)) else { continue };
            let expires = u64::try_from(expires).unwrap_or(0);
            if expires > now {
                if self.parked.holds(change.seq.0, id) {
                    continue;
                }
                // No order of this clock is due later than this from any moment after it was made.
                if expires - now > self.reservation_ms.saturating_add(SLACK_MS) {
                    self.park(change.seq.0, id, expires);
                    continue;
                }
                through = change.seq.0;
                progress = Progress::Wait((expires - now).min(IDLE_MS));
                break;
            }
            oldest.get_or_insert(now - expires);
            due.push(id);
        }
        self.figures.lag_ms.store(oldest.unwrap_or(0), Ordering::Relaxed);
        self.expire(due).await?;
        self.next = through;
        Ok(progress)
    }

    fn park(&mut self, seq: u64, id: OrderId, expires: u64) {
        let before = (self.parked.first().is_some(), self.parked.overflows());
        self.parked.park(seq, id, expires);
        if !before.0 {
            tracing::warn!(order = %id, expires, "an order was made while the clock was ahead; it expires when its time is over");
        }
        if !before.1 && self.parked.overflows() {
            tracing::warn!(
                position = seq,
                "many orders were made while the clock was ahead; the feed is read again from here"
            );
        }
    }

    async fn expire(&self, due: Vec<OrderId>) -> Result<(), ExecuteError> {
        let failed = parking_lot::Mutex::new(None);
        let stop = AtomicBool::new(false);
        let expire = |id: OrderId| {
            let (failed, stop) = (&failed, &stop);
            async move {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                match self.executor.transition(&id, Event::Expired, Actor::System).await {
                    Ok(done) => {
                        self.figures.expired.fetch_add(u64::from(done.changed), Ordering::Relaxed);
                    }
                    // Paid or called off before its time was over.
                    Err(CommandError::Refused(_) | CommandError::NotFound) => {}
                    // One order that cannot be read must not keep the others' stock for ever.
                    Err(CommandError::Execute(error @ (ExecuteError::Damaged(_) | ExecuteError::Table(_)))) => {
                        tracing::error!(order = %id, %error, "an order could not be expired and is passed over");
                    }
                    Err(CommandError::Execute(error)) => {
                        stop.store(true, Ordering::Relaxed);
                        *failed.lock() = Some(error);
                    }
                }
            }
        };
        futures_util::stream::iter(due).for_each_concurrent(self.concurrency, expire).await;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Saves the position, so that a restart goes on from here: from the first order that was taken aside, if there is
    /// one, because a restart knows nothing of them. It looks again at what has expired since, which changes nothing.
    ///
    /// # Errors
    /// The table failed.
    pub async fn save(&mut self) -> Result<(), ExecuteError> {
        let position = self.parked.first().map_or(self.next, |first| first.min(self.next));
        let wanted = (position, Some(self.reservation_ms));
        if self.saved != wanted {
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let item = Item::new(keys::cursor(CLASS)).with(NEXT, number(position));
            let item = item.with(LONGEST, number(self.reservation_ms));
            let put = Op::Put { item, cond: Cond::Always };
            self.executor.saw(self.executor.table.write(put, Durability::Ordered).await?);
            self.saved = wanted;
        }
        Ok(())
    }
}
