//! Where a process gets its identity and what it knows of it at any moment.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use zizon_base::spiffe::SpiffeId;

use crate::{
    clock::Clock,
    error::SourceError,
    material::{Material, MaterialError, SvidDer},
    workload,
};

/// How a source behaves.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// The identity this process must have. With it, any other is as good as none; without it, the Workload API's first one is taken.
    pub expect: Option<SpiffeId>,
    /// How long [`SvidSource::connect`] waits for the first SVID.
    pub first_svid_timeout: Duration,
    /// Pause before the first reconnection; it doubles up to [`SourceOptions::backoff_max`].
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// The clock certificates are judged by.
    pub clock: Clock,
}

impl Default for SourceOptions {
    /// Any identity, 10 s for the first, reconnecting after 50 ms to 2 s, the machine's clock.
    fn default() -> Self {
        Self {
            expect: None,
            first_svid_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            clock: Clock::system(),
        }
    }
}

/// What a source has at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// No SVID has come yet.
    Waiting,
    /// An SVID, of this generation ([`Material::generation`]).
    Valid {
        /// Grows with every rotation.
        generation: u64,
    },
    /// The issuer withdrew the identity: nothing is presented and nobody is admitted.
    Withdrawn,
    /// The last SVID ended before a fresh one came.
    Expired,
}

/// What happened to a source since the start of the process.
#[derive(Debug, Default)]
pub struct SourceStats {
    pub(crate) rotations: AtomicU64,
    pub(crate) refused_updates: AtomicU64,
    pub(crate) withdrawals: AtomicU64,
    pub(crate) expiries: AtomicU64,
    pub(crate) reconnects: AtomicU64,
}

impl SourceStats {
    /// SVIDs taken into use, the first included.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Relaxed)
    }

    /// Updates that were unusable and left the last good SVID in place.
    #[must_use]
    pub fn refused_updates(&self) -> u64 {
        self.refused_updates.load(Relaxed)
    }

    /// Times the issuer withdrew the identity.
    #[must_use]
    pub fn withdrawals(&self) -> u64 {
        self.withdrawals.load(Relaxed)
    }

    /// Times the SVID ended before a fresh one came.
    #[must_use]
    pub fn expiries(&self) -> u64 {
        self.expiries.load(Relaxed)
    }

    /// Times the stream to the Workload API was lost.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }
}

/// The shared part of a source: written by whoever follows the issuer, read by every handshake without a lock.
pub(crate) struct Current {
    material: ArcSwapOption<Material>,
    /// The last identity known, also when there is no valid SVID.
    id: ArcSwapOption<SpiffeId>,
    last_failure: ArcSwap<String>,
    state: watch::Sender<SourceState>,
    pub(crate) stats: SourceStats,
    pub(crate) clock: Clock,
}

impl Current {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            material: ArcSwapOption::empty(),
            id: ArcSwapOption::empty(),
            last_failure: ArcSwap::from_pointee("nothing was answered".to_owned()),
            state: watch::Sender::new(SourceState::Waiting),
            stats: SourceStats::default(),
            clock,
        })
    }

    /// Parses `svid` and takes it into use; on failure the last good one stays.
    pub(crate) fn publish(&self, svid: &SvidDer) -> Result<(), MaterialError> {
        let material = Material::build(svid)?;
        self.install(Arc::new(material));
        Ok(())
    }

    pub(crate) fn install(&self, material: Arc<Material>) {
        let generation = material.generation();
        self.id.store(Some(Arc::new(material.id().clone())));
        // Handshakes under way keep the snapshot they loaded, roots included.
        self.material.store(Some(material));
        self.stats.rotations.fetch_add(1, Relaxed);
        self.state.send_replace(SourceState::Valid { generation });
    }

    /// Forgets the SVID at once. Says whether that is news.
    pub(crate) fn withdraw(&self) -> bool {
        self.material.store(None);
        let news = self.state.send_replace(SourceState::Withdrawn) != SourceState::Withdrawn;
        if news {
            self.stats.withdrawals.fetch_add(1, Relaxed);
        }
        news
    }

    /// Forgets an SVID that has ended. Says whether it did.
    pub(crate) fn expire(&self) -> bool {
        let ended =
            self.material.load().as_ref().is_some_and(|material| material.seconds_left(self.clock.unix_seconds()) == 0);
        if ended {
            self.material.store(None);
            self.state.send_replace(SourceState::Expired);
            self.stats.expiries.fetch_add(1, Relaxed);
        }
        ended
    }

    pub(crate) fn material(&self) -> Option<Arc<Material>> {
        self.material.load_full().filter(|material| material.seconds_left(self.clock.unix_seconds()) > 0)
    }

    pub(crate) fn failed(&self, reason: String) {
        self.last_failure.store(Arc::new(reason));
    }
}

/// The process's identity: follows the SPIFFE Workload API for as long as it lives and always has at most one valid [`Material`].
///
/// The last good SVID stays in use until it ends, whatever happens to the issuer; when the issuer says that the process has no
/// identity, it is dropped at once.
pub struct SvidSource {
    current: Arc<Current>,
    follower: Option<JoinHandle<()>>,
}

impl SvidSource {
    /// Connects to the Workload API at `endpoint` (`unix:/absolute/path`), waits for the first SVID and follows the stream from there.
    ///
    /// # Errors
    /// [`SourceError::Endpoint`] for an address that is none, [`SourceError::NoIdentity`] when no SVID came in time.
    pub async fn connect(endpoint: &str, options: SourceOptions) -> Result<Arc<Self>, SourceError> {
        let waited = options.first_svid_timeout;
        let current = Current::new(options.clock.clone());
        let follower = workload::follow(endpoint, Arc::clone(&current), options)?;
        let source = Arc::new(Self { current, follower: Some(tokio::spawn(follower)) });
        let mut state = source.current.state.subscribe();
        let first = timeout(waited, state.wait_for(|state| matches!(state, SourceState::Valid { .. }))).await;
        if matches!(first, Ok(Ok(_))) {
            return Ok(source);
        }
        let last = source.current.last_failure.load().as_ref().clone();
        Err(SourceError::NoIdentity { endpoint: endpoint.to_owned(), waited_s: waited.as_secs(), last })
    }

    #[cfg(feature = "testing")]
    pub(crate) fn from_parts(current: Arc<Current>, follower: Option<JoinHandle<()>>) -> Arc<Self> {
        Arc::new(Self { current, follower })
    }

    /// The snapshot to use for one handshake; `None` when there is no valid identity, and then nothing may be opened or accepted.
    #[must_use]
    pub fn material(&self) -> Option<Arc<Material>> {
        self.current.material()
    }

    /// The identity, also while there is no valid SVID for it.
    ///
    /// # Panics
    /// Never: a source is only handed out once it has had an SVID.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.current.id.load().as_ref().expect("a source has had an SVID").as_ref().clone()
    }

    /// Seconds of validity left; `None` when there is no valid SVID.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        self.material().map(|material| material.seconds_left(self.current.clock.unix_seconds()))
    }

    /// A receiver that sees every change of state.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<SourceState> {
        self.current.state.subscribe()
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &SourceStats {
        &self.current.stats
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.current.clock
    }
}

impl Drop for SvidSource {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

impl fmt::Debug for SvidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidSource").field("state", &*self.current.state.borrow()).finish_non_exhaustive()
    }
}
