//! Every live connection by the identity at its other end.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zizon_base::spiffe::SpiffeId;

use crate::{
    clock::Clock,
    deadline::{ConnectionLife, Deadline, JITTER_PERMILLE_MAX, connection_deadline},
    metrics::MtlsMetrics,
    peer::{Peer, Side},
};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Either end was done with it.
    Finished,
    /// It reached its age limit.
    Age,
    /// It did not end within the grace period, or the peer's certificate ended.
    Expired,
    /// Its identity was denied.
    Denied,
    /// The policy changed and no longer has a place for its identity.
    Policy,
    /// The process lost its own identity.
    Withdrawn,
    /// The process shuts down.
    Shutdown,
}

impl CloseReason {
    /// All of them, in the order of their index in metrics.
    pub const ALL: &'static [Self] =
        &[Self::Finished, Self::Age, Self::Expired, Self::Denied, Self::Policy, Self::Withdrawn, Self::Shutdown];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Age => "age",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Policy => "policy",
            Self::Withdrawn => "withdrawn",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What a registry applies to its connections.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Age limits.
    pub life: ConnectionLife,
    /// The clock certificates are judged by.
    pub clock: Clock,
}

/// The live connections of a process, the deny list and the counters of its handshakes.
#[derive(Default)]
pub struct ConnRegistry {
    options: RegistryOptions,
    live: Mutex<Live>,
    denied: ArcSwap<HashSet<SpiffeId>>,
    metrics: MtlsMetrics,
}

#[derive(Default)]
struct Live {
    next: u64,
    by_identity: HashMap<SpiffeId, HashMap<u64, Entry>>,
}

#[derive(Clone)]
struct Entry {
    cancel: CancellationToken,
    reason: Arc<OnceLock<CloseReason>>,
}

impl Entry {
    fn close(&self, reason: CloseReason) {
        // The first reason stays: it is the one that closed it.
        let _ = self.reason.set(reason);
        self.cancel.cancel();
    }
}

impl ConnRegistry {
    /// A registry without connections.
    #[must_use]
    pub fn new(options: RegistryOptions) -> Arc<Self> {
        Arc::new(Self { options, ..Self::default() })
    }

    /// Takes note of a connection; dropping the guard forgets it. If the identity was denied since the handshake, the guard is
    /// cancelled already.
    pub fn register(self: &Arc<Self>, peer: &Arc<Peer>, side: Side) -> ConnGuard {
        let now = self.options.clock.unix_seconds();
        let deadline =
            connection_deadline(now, peer.not_after, peer.own_not_after, self.options.life, jitter_permille());
        let entry = Entry { cancel: CancellationToken::new(), reason: Arc::default() };
        let mut live = self.live.lock();
        live.next += 1;
        let key = live.next;
        live.by_identity.entry(peer.id.clone()).or_default().insert(key, entry.clone());
        // Under the lock: a deny that came earlier is seen here, one that comes later finds the entry.
        if self.is_denied(&peer.id) {
            entry.close(CloseReason::Denied);
        }
        drop(live);
        self.metrics.count_opened(side);
        ConnGuard {
            registry: Arc::clone(self),
            peer: Arc::clone(peer),
            side,
            key,
            entry,
            opened: Instant::now(),
            deadline,
        }
    }

    /// Closes every live connection of `id`; says how many there were.
    pub fn close_identity(&self, id: &SpiffeId, reason: CloseReason) -> usize {
        let live = self.live.lock();
        let entries = live.by_identity.get(id);
        entries.into_iter().flat_map(HashMap::values).for_each(|entry| entry.close(reason));
        entries.map_or(0, HashMap::len)
    }

    /// Closes the live connections of every identity `keep` says no to, as after a change of policy; says how many there were.
    pub fn close_unless(&self, reason: CloseReason, mut keep: impl FnMut(&SpiffeId) -> bool) -> usize {
        let live = self.live.lock();
        let losers = live.by_identity.iter().filter(|(id, _)| !keep(id));
        losers.flat_map(|(_, entries)| entries.values()).map(|entry| entry.close(reason)).count()
    }

    /// Closes everything.
    pub fn close_all(&self, reason: CloseReason) -> usize {
        self.close_unless(reason, |_| false)
    }

    /// Replaces the deny list: from here on its identities fail every handshake, and their live connections are closed. Says how many.
    pub fn set_denied(&self, denied: impl IntoIterator<Item = SpiffeId>) -> usize {
        let denied: Arc<HashSet<SpiffeId>> = Arc::new(denied.into_iter().collect());
        self.denied.store(Arc::clone(&denied));
        self.close_unless(CloseReason::Denied, |id| !denied.contains(id))
    }

    /// Whether `id` is on the deny list.
    #[must_use]
    pub fn is_denied(&self, id: &SpiffeId) -> bool {
        self.denied.load().contains(id)
    }

    /// Live connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.lock().by_identity.values().map(HashMap::len).sum()
    }

    /// Whether there is no live connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Live connections of one identity.
    #[must_use]
    pub fn len_of(&self, id: &SpiffeId) -> usize {
        self.live.lock().by_identity.get(id).map_or(0, HashMap::len)
    }

    /// Handshake and connection counters.
    #[must_use]
    pub fn metrics(&self) -> &MtlsMetrics {
        &self.metrics
    }

    fn forget(&self, id: &SpiffeId, key: u64) {
        let mut live = self.live.lock();
        if let Some(entries) = live.by_identity.get_mut(id) {
            entries.remove(&key);
            if entries.is_empty() {
                live.by_identity.remove(id);
            }
        }
    }
}

impl fmt::Debug for ConnRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnRegistry").field("live", &self.len()).finish_non_exhaustive()
    }
}

/// A live connection's place in the registry. Whoever drives the connection watches it and drops it at the end.
#[must_use = "a connection is forgotten when its guard is dropped"]
pub struct ConnGuard {
    registry: Arc<ConnRegistry>,
    peer: Arc<Peer>,
    side: Side,
    key: u64,
    entry: Entry,
    opened: Instant,
    deadline: Deadline,
}

impl ConnGuard {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Resolves when the connection must be dropped at once (denied, policy, withdrawn), with the reason.
    pub async fn cancelled(&self) -> CloseReason {
        self.entry.cancel.cancelled().await;
        self.entry.reason.get().copied().unwrap_or(CloseReason::Shutdown)
    }

    /// Whether the connection must be dropped at once.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.entry.cancel.is_cancelled()
    }

    /// A token that is cancelled together with the connection, for tasks that serve it.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.entry.cancel.clone()
    }

    /// When the connection ends by age.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The moment to begin closing.
    #[must_use]
    pub fn graceful_at(&self) -> Instant {
        self.opened + self.deadline.graceful
    }

    /// The moment to drop the connection.
    #[must_use]
    pub fn hard_at(&self) -> Instant {
        self.opened + self.deadline.hard
    }

    /// Time since registration.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Records why the connection ends; without it the reason is the registry's, or [`CloseReason::Finished`].
    pub fn close_reason(&self, reason: CloseReason) {
        let _ = self.entry.reason.set(reason);
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        self.registry.forget(&self.peer.id, self.key);
        self.registry
            .metrics
            .count_closed(self.side, self.entry.reason.get().copied().unwrap_or(CloseReason::Finished));
    }
}

impl fmt::Debug for ConnGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnGuard")
            .field("peer", &self.peer.id.as_str())
            .field("side", &self.side)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

fn jitter_permille() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness connections end together, which is bearable.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes) % (JITTER_PERMILLE_MAX + 1)
}
