//! One connection's work: take the next request, send it, count what came back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, TryAcquireError, mpsc};

use crate::acks::Ack;
use crate::connection::{Answer, Connection};
use crate::keys::{KEY_LEN, KeyMaker, Picker};
use crate::patience::Patience;
use crate::schedule::Schedule;
use crate::tally::{LATE_AFTER, Tally};
use crate::target::Target;
use crate::template::{OrderTemplate, Patches};
use crate::unsettled::{Unsettled, is_open};

/// Pause after a connection could not be made, so that a platform that is down is not hammered.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Which request comes next, and when it was meant to start.
pub(crate) enum Pace {
    /// Permits are released on schedule; taking one takes the oldest request in line.
    Open { schedule: Schedule, permits: Arc<Semaphore> },
    /// Until the end, each connection at its own speed.
    Closed { duration: Duration },
}

/// What all connections of a run share. The lock is never contended: all tasks run on one thread.
pub(crate) struct Shared {
    pub(crate) target: Target,
    /// What is ordered.
    pub(crate) patches: Patches,
    pub(crate) pace: Pace,
    pub(crate) keys: KeyMaker,
    pub(crate) users: u32,
    pub(crate) request_timeout: Duration,
    pub(crate) start: Instant,
    /// Requests taken so far = index of the next.
    pub(crate) taken: AtomicU64,
    pub(crate) tally: std::sync::Mutex<Tally>,
    pub(crate) acks: Option<mpsc::Sender<Ack>>,
    /// Takes the requests whose outcome is unknown.
    pub(crate) unsettled: Option<Arc<Unsettled>>,
    /// Ends a closed loop early; an open one ends when its permits are closed.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Shared {
    /// Whether a closed loop may start another request at `now`.
    fn goes_on(&self, now: Instant, duration: Duration) -> bool {
        now - self.start < duration && !self.stop.load(Ordering::Relaxed)
    }

    fn next_index(&self) -> u64 {
        self.taken.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Slot {
    index: u64,
    intended: Instant,
}

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) template: OrderTemplate,
    pub(crate) picker: Picker,
    pub(crate) patience: Patience,
    /// `None` after a failure, until the next request needs one.
    pub(crate) connection: Option<Connection>,
}

impl Worker {
    /// Works until the run ends or acknowledgements can no longer be written.
    pub(crate) async fn run(mut self) {
        while let Some(slot) = self.next_slot().await {
            if self.order(&slot).await.is_err() {
                return;
            }
        }
    }

    /// Waits for the next request; a connection closed meanwhile is replaced before it matters.
    async fn next_slot(&mut self) -> Option<Slot> {
        loop {
            let Self { shared, connection, .. } = self;
            match &shared.pace {
                Pace::Closed { duration } => {
                    let now = Instant::now();
                    return shared.goes_on(now, *duration).then(|| Slot { index: shared.next_index(), intended: now });
                }
                Pace::Open { schedule, permits } => {
                    if permit(permits, connection.as_mut()).await? {
                        let index = shared.next_index();
                        return Some(Slot { index, intended: shared.start + schedule.intended(index) });
                    }
                }
            }
            self.connection = None;
            self.reconnect().await.ok();
        }
    }

    async fn reconnect(&mut self) -> Result<(), &'static str> {
        match Connection::open(&self.shared.target).await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.shared.tally().reconnects += 1;
                Ok(())
            }
            Err(error) => Err(error.kind()),
        }
    }

    /// Sends one order. `Err` when its acknowledgement could not be handed to the writer.
    async fn order(&mut self, slot: &Slot) -> Result<(), ()> {
        let late = slot.intended.elapsed() > LATE_AFTER;
        {
            let mut tally = self.shared.tally();
            tally.sent += 1;
            tally.late += u64::from(late);
        }
        if self.connection.is_none()
            && let Err(kind) = self.reconnect().await
        {
            self.failed(slot, kind);
            tokio::time::sleep(RECONNECT_PAUSE).await;
            return Ok(());
        }
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let user = self.picker.below(self.shared.users);
        let key = self.shared.keys.key(slot.index);
        self.choose();
        let sent = Instant::now();
        let t_sent = self.shared.acks.as_ref().map_or(0, |_| wall_ms());
        let request = self.template.fill(user, &key);
        match self.patience.wait(self.shared.request_timeout, connection.exchange(request)).await {
            None => {
                self.failed(slot, "timeout");
                self.keep_open();
            }
            Some(Err(error)) => {
                self.failed(slot, error.kind());
                self.keep_open();
            }
            Some(Ok(answer)) => {
                if is_open(answer.status) {
                    self.keep_open();
                }
                let ack = self.answered(slot, sent, &answer, user, &key, t_sent);
                if !answer.close {
                    self.connection = Some(connection);
                }
                if let Some((queue, ack)) = self.shared.acks.as_ref().zip(ack) {
                    queue.send(ack).await.map_err(|_| ())?;
                }
            }
        }
        Ok(())
    }

    /// Takes the product of the next order.
    fn choose(&mut self) {
        let count = self.shared.patches.count();
        if count > 1 {
            let at = self.picker.below(u32::try_from(count).unwrap_or(u32::MAX));
            self.template.choose(&self.shared.patches, usize::try_from(at).unwrap_or(0));
        }
    }

    /// Nobody knows what became of the request that was filled last.
    fn keep_open(&self) {
        if let Some(unsettled) = &self.shared.unsettled {
            unsettled.keep(self.template.body());
        }
    }

    fn failed(&self, slot: &Slot, kind: &str) {
        let mut tally = self.shared.tally();
        tally.outcome(slot.intended, Instant::now());
        tally.error(None, kind);
    }

    /// Counts an answer; a 201 is worth an acknowledgement where they are kept. A replay too: its line lets the
    /// verifier see that it said the same as the answer it replays.
    fn answered(
        &self,
        slot: &Slot,
        sent: Instant,
        answer: &Answer<'_>,
        user: u32,
        key: &[u8; KEY_LEN],
        t_sent: u64,
    ) -> Option<Ack> {
        let now = Instant::now();
        let mut tally = self.shared.tally();
        tally.outcome(slot.intended, now);
        match answer.status {
            201 => tally.accepted(now - slot.intended, now - sent),
            503 => tally.refused(now - sent),
            _ => {}
        }
        if answer.status != 201 {
            tally.problem(answer.status, answer.body);
            return None;
        }
        tally.order(answer.replayed);
        self.shared.acks.as_ref()?;
        Some(Ack {
            body: answer.body.into(),
            key: String::from_utf8_lossy(key).into_owned(),
            user: OrderTemplate::user_id(user),
            t_sent,
            t_ack: wall_ms(),
        })
    }
}

/// Waits for a permit: `true` when there is one, `false` when the connection is of no more use before there is, `None`
/// when there are no more.
async fn permit(permits: &Semaphore, connection: Option<&mut Connection>) -> Option<bool> {
    // Where the platform is slower than the schedule, permits are there already: nothing needs to be registered.
    match permits.try_acquire() {
        Ok(permit) => {
            permit.forget();
            return Some(true);
        }
        Err(TryAcquireError::Closed) => return None,
        Err(TryAcquireError::NoPermits) => {}
    }
    let idle = async {
        match connection {
            Some(connection) => connection.unusable().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        permit = permits.acquire() => {
            permit.ok()?.forget();
            Some(true)
        }
        () = idle => Some(false),
    }
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
