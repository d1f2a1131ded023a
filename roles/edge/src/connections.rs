//! Who is connected: the bounds over all connections and per client address, and the choice of whom to close.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::h1::Occupancy;

/// Every open connection of the public listener.
#[derive(Debug)]
pub struct Connections {
    open_max: usize,
    per_client_max: u32,
    began: Instant,
    open: Mutex<Open>,
    /// Closed to make room, since [`Connections::take_evicted`] asked last.
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    slots: HashMap<u64, Arc<Slot>>,
    by_client: HashMap<IpAddr, u32>,
}

/// [`Slot::idle_since_ms`] while a request is in work, its answer not included.
const BUSY: u64 = 0;
/// [`Slot::idle_since_ms`] once the connection is being closed.
const EVICTED: u64 = u64::MAX;
/// How long a connection counts as fresh when descriptors run out: long enough for a handshake.
const FRESH_MS: u64 = 1000;
/// How long a client may take to read an answer before it counts as idle.
const ANSWER_GRACE_MS: u64 = 2000;

#[derive(Debug)]
struct Slot {
    idle_since_ms: AtomicU64,
    task: OnceLock<AbortHandle>,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Its client has too many.
    Client,
    /// There are too many, and none is idle.
    Everyone,
}

impl Full {
    /// A metric label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Client => "client-limit",
            Self::Everyone => "limit",
        }
    }
}

impl Connections {
    /// Room for `open_max` connections, `per_client_max` of one client address.
    #[must_use]
    pub fn new(open_max: usize, per_client_max: u32) -> Arc<Self> {
        Arc::new(Self {
            open_max,
            per_client_max,
            began: Instant::now(),
            open: Mutex::default(),
            evicted: AtomicU64::new(0),
        })
    }

    /// Takes a connection in. At the bound, the connections that have been idle longest make room.
    ///
    /// # Errors
    /// There is no room; the connection is to be dropped without a word, which is all an overloaded edge can afford.
    pub fn enter(self: &Arc<Self>, peer: SocketAddr) -> Result<Entry, Full> {
        let client = client_of(peer.ip());
        let mut open = self.open.lock();
        if open.by_client.get(&client).copied().unwrap_or(0) >= self.per_client_max {
            return Err(Full::Client);
        }
        if open.slots.len() >= self.open_max {
            let evicted = self.evict(&open, self.open_max / 64 + 1, 0);
            if evicted == 0 {
                return Err(Full::Everyone);
            }
            self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
        let id = open.next_id;
        open.next_id += 1;
        // A handshake counts as idle: whoever does not finish one is the first to go.
        let slot = Arc::new(Slot { idle_since_ms: AtomicU64::new(self.now_ms()), task: OnceLock::new() });
        open.slots.insert(id, Arc::clone(&slot));
        *open.by_client.entry(client).or_insert(0) += 1;
        Ok(Entry { table: Arc::clone(self), id, client, slot })
    }

    /// Closes connections that have been idle for `idle_ms` or longer. Says how many.
    pub fn close_idle(&self, idle_ms: u64) -> usize {
        let open = self.open.lock();
        self.evict(&open, usize::MAX, idle_ms)
    }

    /// Closes up to `count` idle connections because the process has run out of descriptors; how many it were. Whoever has
    /// just come stays: the kernel refuses for want of a descriptor also when nobody waits, and would otherwise have the
    /// edge close the very connection that took the last one.
    pub fn make_room(&self, count: usize) -> usize {
        let open = self.open.lock();
        self.evict(&open, count, FRESH_MS)
    }

    /// How many were closed to make room since this was asked last.
    pub fn take_evicted(&self) -> u64 {
        self.evicted.swap(0, Ordering::Relaxed)
    }

    /// Open connections, handshakes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().slots.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes up to `count` idle connections, those first that have been idle longest. Many at a time, so that a full
    /// table is not searched for every arrival.
    fn evict(&self, open: &Open, count: usize, idle_ms: u64) -> usize {
        let latest = self.now_ms().saturating_sub(idle_ms);
        let mut idle: Vec<(u64, &Arc<Slot>)> = open
            .slots
            .values()
            .map(|slot| (slot.idle_since_ms.load(Ordering::Acquire), slot))
            .filter(|(since, _)| *since != BUSY && *since <= latest)
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        let mut evicted = 0;
        for (since, slot) in idle {
            if evicted == count {
                break;
            }
            // A connection without its task is about to get it; it is too fresh to be chosen.
            let Some(task) = slot.task.get() else { continue };
            // Loses against a request that has just begun.
            let exchanged = slot.idle_since_ms.compare_exchange(since, EVICTED, Ordering::AcqRel, Ordering::Relaxed);
            if exchanged.is_ok() {
                task.abort();
                evicted += 1;
            }
        }
        evicted
    }

    /// Milliseconds since the table was made, never 0.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(EVICTED - 2) + 1
    }
}

/// A connection's place in the table; left when dropped.
#[derive(Debug)]
pub struct Entry {
    table: Arc<Connections>,
    id: u64,
    client: IpAddr,
    slot: Arc<Slot>,
}

impl Entry {
    /// What lets the table end the task that owns this entry.
    #[must_use]
    pub fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.slot))
    }
}

/// Takes the handle of a connection's task, once it has been spawned.
#[derive(Debug)]
pub struct Ender(Arc<Slot>);

impl Ender {
    /// The table may abort `task` while it is idle.
    pub fn ends(self, task: AbortHandle) {
        // Called once per entry.
        let _ = self.0.task.set(task);
    }
}

impl Occupancy for Entry {
    fn busy(&self) -> bool {
        self.slot.idle_since_ms.swap(BUSY, Ordering::AcqRel) != EVICTED
    }

    fn idle(&self) {
        self.slot.idle_since_ms.store(self.table.now_ms(), Ordering::Release);
    }

    fn answering(&self) {
        // A moment to come: nobody is evicted before it.
        self.slot.idle_since_ms.store(self.table.now_ms() + ANSWER_GRACE_MS, Ordering::Release);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.table.open.lock();
        open.slots.remove(&self.id);
        if let Some(count) = open.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 network that one IPv6 subscriber has.
pub(crate) fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let table = Connections::new(100, 2);
        let _held: Vec<_> = ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2"]
            .map(|ip| table.enter(peer(ip)).unwrap())
            .into();
        assert_eq!(table.enter(peer("10.0.0.1")).unwrap_err(), Full::Client);
        assert_eq!(table.enter(peer("2001:db8::ffff")).unwrap_err(), Full::Client);
        assert!(table.enter(peer("10.0.0.2")).is_ok());
    }

    #[tokio::test]
    async fn without_descriptors_whoever_has_just_come_stays() {
        let table = Connections::new(100, 100);
        let entry = table.enter(peer("10.0.0.1")).unwrap();
        entry.ender().ends(tokio::spawn(std::future::pending::<()>()).abort_handle());
        assert_eq!(table.make_room(64), 0, "nobody else is there");
        assert!(entry.busy(), "it is not being closed");
        entry.idle();
        tokio::time::sleep(std::time::Duration::from_millis(FRESH_MS + 50)).await;
        assert_eq!(table.make_room(64), 1, "it has been idle for a while");
        assert!(!entry.busy());
    }

    #[test]
    fn leaving_makes_room_again() {
        let table = Connections::new(100, 1);
        let entry = table.enter(peer("10.0.0.1")).unwrap();
        drop(entry);
        assert!(table.is_empty());
        assert!(table.enter(peer("10.0.0.1")).is_ok());
    }

    #[tokio::test]
    async fn a_full_table_closes_who_was_idle_longest_and_nobody_who_is_busy() {
        let table = Connections::new(2, 10);
        let mut tasks = tokio::task::JoinSet::new();
        let mut connect = |is_busy: bool| {
            let entry = table.enter(peer("10.0.0.1"))?;
            let ender = entry.ender();
            if is_busy {
                entry.busy();
            }
            ender.ends(tasks.spawn(async move {
                let _entry = entry;
                std::future::pending::<()>().await;
            }));
            Ok(())
        };
        assert_eq!(connect(true), Ok(()));
        assert_eq!(connect(false), Ok(()));
        assert_eq!(connect(true), Ok(()), "the idle one made room");
        assert_eq!(connect(true), Err(Full::Everyone));
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(table.len(), 2);
    }
}
