//! The SVIDs that are in use: one per entry, shared by every stream that is entitled to it, renewed in time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use zizon_base::spiffe::{SpiffeId, TrustDomain};

use crate::audit::{Audit, Fact};
use crate::ca::{Authorities, CaError, Leaf, Stage, Step};
use crate::clock::{Clock, Now};
use crate::entries::Entry;
use crate::message::{X509Svid, bundles_response, svid_response};
use crate::stats::Stats;

/// The wall clock may drift this far against the monotonic one between two looks before it counts as a step, in milliseconds.
const STEP_MS: i64 = 2_000;
/// Least time between two renewals of one SVID.
const RENEWAL_PAUSE: Duration = Duration::from_millis(500);
/// Pause after a step of the authorities failed (disk full), so that the log is not flooded.
const RETRY: Duration = Duration::from_secs(10);

/// An SVID as streams send it.
#[derive(Debug)]
pub(crate) struct Svid {
    pub(crate) id: SpiffeId,
    pub(crate) serial: String,
    /// Unix seconds.
    pub(crate) not_after: u64,
    /// The encoded response with this SVID, its key and the bundle.
    pub(crate) message: Bytes,
}

/// Everything that is published, as of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) svids: BTreeMap<SpiffeId, Arc<Svid>>,
    /// The encoded response of bundles.
    pub(crate) bundles: Bytes,
}

/// How the issuer renews.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IssuanceOptions {
    pub(crate) svid_life: Duration,
}

/// Signs, renews, publishes.
pub(crate) struct Issuance {
    core: Mutex<Core>,
    published: watch::Sender<Arc<Snapshot>>,
    clock: Clock,
    domain: TrustDomain,
    options: IssuanceOptions,
    audit: Arc<Audit>,
    stats: Arc<Stats>,
}

struct Core {
    authorities: Authorities,
    held: HashMap<SpiffeId, Held>,
    last: Now,
    /// No attempt at the authorities before then (monotonic).
    retry_at: Duration,
}

/// An SVID with what it takes to encode it again.
struct Held {
    leaf: Leaf,
    hint: Option<String>,
    renew_at: Duration,
    /// Streams that send it.
    users: usize,
}

/// Keeps an entry's SVID renewed; dropped with the stream that sends it.
pub(crate) struct Use {
    issuance: Arc<Issuance>,
    id: SpiffeId,
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut core = self.issuance.core.lock();
        if let Some(held) = core.held.get_mut(&self.id) {
            held.users -= 1;
        }
    }
}

impl Issuance {
    pub(crate) fn new(
        authorities: Authorities,
        domain: TrustDomain,
        options: IssuanceOptions,
        clock: Clock,
        audit: Arc<Audit>,
        stats: Arc<Stats>,
    ) -> Arc<Self> {
        let core = Core { authorities, held: HashMap::new(), last: clock.now(), retry_at: Duration::ZERO };
        let this = Self {
            core: Mutex::new(core),
            published: watch::Sender::new(Arc::default()),
            clock,
            domain,
            options,
            audit,
            stats,
        };
        this.publish(&this.core.lock());
        Arc::new(this)
    }

    /// What is published, and when it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// Makes sure that the entry's SVID is published, and is renewed as long as the answer lives.
    ///
    /// # Errors
    /// No authority can sign.
    pub(crate) fn take_up(self: &Arc<Self>, entry: &Entry) -> Result<Use, CaError> {
        let mut core = self.core.lock();
        if !core.held.contains_key(&entry.spiffe_id) {
            let now = self.clock.now();
            let held = self.issue(&mut core, &entry.spiffe_id, entry.hint.clone(), now)?;
            core.held.insert(entry.spiffe_id.clone(), held);
            self.publish(&core);
        }
        if let Some(held) = core.held.get_mut(&entry.spiffe_id) {
            held.users += 1;
        }
        Ok(Use { issuance: Arc::clone(self), id: entry.spiffe_id.clone() })
    }

    /// Does whatever is due. To be called at least once a second.
    pub(crate) fn tick(&self) {
        let now = self.clock.now();
        let mut core = self.core.lock();
        let step = now.step_since(core.last);
        core.last = now;
        let stepped = step.abs() >= STEP_MS;
        if stepped {
            self.stats.clock_stepped(step);
            tracing::warn!(step_ms = step, "the wall clock stepped; every svid is issued again");
        }
        let mut changed = self.advance_authorities(&mut core, now);
        changed |= self.renew(&mut core, now, stepped);
        if changed {
            self.publish(&core);
        }
    }

    /// Lets another issuer have the directory. To be called when no stream is left.
    pub(crate) fn release(&self) {
        self.core.lock().authorities.release();
    }

    /// How long nothing is due, at most a second: the wall clock has to be looked at that often.
    pub(crate) fn next_tick(&self) -> Duration {
        let now = self.clock.now().monotonic;
        let core = self.core.lock();
        let due = core.held.values().map(|held| held.renew_at.saturating_sub(now)).min();
        due.unwrap_or(Duration::MAX).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Number of authorities by slot: prepared, active, old.
    pub(crate) fn authorities(&self) -> [usize; 3] {
        let core = self.core.lock();
        [Stage::Prepared, Stage::Active, Stage::Old]
            .map(|stage| core.authorities.slots().filter(|slot| slot.stage == stage).count())
    }

    /// Whether an authority can sign.
    pub(crate) fn can_sign(&self) -> bool {
        let now = self.clock.now().unix();
        self.core.lock().authorities.slots().any(|slot| slot.stage == Stage::Active && slot.usable(now))
    }

    /// The published SVIDs with their remaining seconds.
    pub(crate) fn seconds_left(&self) -> Vec<(SpiffeId, u64)> {
        let now = self.clock.now().unix();
        let snapshot = self.published.borrow();
        snapshot.svids.values().map(|svid| (svid.id.clone(), svid.not_after.saturating_sub(now))).collect()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn advance_authorities(&self, core: &mut Core, now: Now) -> bool {
        if now.monotonic < core.retry_at {
            return false;
        }
        match core.authorities.advance(now.unix()) {
            Ok(steps) => {
                for (step, number) in &steps {
                    self.record_step(*step, *number, now);
                }
                !steps.is_empty()
            }
            Err(error) => {
                core.retry_at = now.monotonic + RETRY;
                tracing::error!(error = %described(&error), "an authority could not be rotated; the present ones stay in use");
                // The steps before the one that failed stand.
                true
            }
        }
    }

    fn record_step(&self, step: Step, number: u64, now: Now) {
        let name = match step {
            Step::Prepare => "prepared",
            Step::Activate(_) => "activated",
            Step::Found => "founded",
            Step::Retire(_) => "retired",
        };
        tracing::info!(step = name, number, "an authority changed its slot");
        self.record(now, Fact::Authority { step: name, number });
    }

    /// Renews what is due (or everything, after a clock step); forgets what nobody sends any more.
    fn renew(&self, core: &mut Core, now: Now, all: bool) -> bool {
        let due = |held: &Held| all || held.renew_at <= now.monotonic;
        let before = core.held.len();
        core.held.retain(|_, held| held.users > 0 || !due(held));
        let mut changed = core.held.len() != before;
        let ids: Vec<SpiffeId> = core.held.iter().filter(|(_, held)| due(held)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            let Some(hint) = core.held.get(&id).map(|held| held.hint.clone()) else { continue };
            let renewed = self.issue(core, &id, hint, now);
            let Some(held) = core.held.get_mut(&id) else { continue };
            match renewed {
                Ok(renewed) => {
                    *held = Held { users: held.users, ..renewed };
                    changed = true;
                }
                Err(error) => {
                    // The last good one stays until its own end.
                    held.renew_at = now.monotonic + Duration::from_secs(1);
                    self.stats.renewal_failed();
                    tracing::error!(%id, error = %described(&error), "an svid could not be renewed");
                }
            }
        }
        changed
    }

    fn issue(&self, core: &mut Core, id: &SpiffeId, hint: Option<String>, now: Now) -> Result<Held, CaError> {
        let leaf = core.authorities.issue(id, now.unix())?;
        self.stats.issued();
        self.record(now, Fact::Issued { id: id.as_str(), serial: &leaf.serial, not_after: leaf.not_after });
        // A leaf of an authority that is about to end is shorter than configured.
        let life = Duration::from_secs(leaf.not_after.saturating_sub(now.unix())).min(self.options.svid_life);
        let renew_at = now.monotonic + renewal_age(life, random_unit()).max(RENEWAL_PAUSE);
        Ok(Held { leaf, hint, renew_at, users: 0 })
    }

    fn publish(&self, core: &Core) {
        let bundle = core.authorities.bundle();
        let svid = |(id, held): (&SpiffeId, &Held)| {
            let message = svid_response(X509Svid {
                spiffe_id: id.to_string(),
                x509_svid: held.leaf.certificate.to_vec(),
                x509_svid_key: held.leaf.key.to_vec(),
                bundle: bundle.clone(),
                hint: held.hint.clone().unwrap_or_default(),
            });
            let (serial, not_after) = (held.leaf.serial.clone(), held.leaf.not_after);
            (id.clone(), Arc::new(Svid { id: id.clone(), serial, not_after, message }))
        };
        let svids = core.held.iter().map(svid).collect();
        let bundles = bundles_response(self.domain.id(), bundle);
        self.published.send_replace(Arc::new(Snapshot { svids, bundles }));
    }

    /// Writes to the audit. An issuer that stopped because its log is full would stop the platform.
    pub(crate) fn record(&self, now: Now, fact: Fact<'_>) {
        if let Err(error) = self.audit.write(now.wall_ms, fact)
            && self.stats.audit_failed()
        {
            tracing::error!(%error, "the issuance audit cannot be written; lines are lost and counted");
        }
    }
}

/// Half of the life, up to a tenth of that earlier, so that not everybody renews at the same moment. Never later.
fn renewal_age(life: Duration, unit: f64) -> Duration {
    (life / 2).mul_f64(1.0 - 0.1 * unit.clamp(0.0, 1.0))
}

/// Evenly in 0 to 1; 0 without randomness.
fn random_unit() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

/// The error with its causes.
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_at_half_of_the_life_and_at_most_a_tenth_earlier() {
        let life = Duration::from_secs(120);
        assert_eq!(renewal_age(life, 0.0), Duration::from_secs(60));
        assert_eq!(renewal_age(life, 1.0), Duration::from_secs(54));
        for _ in 0..1000 {
            let age = renewal_age(life, random_unit());
            assert!((Duration::from_secs(54)..=Duration::from_secs(60)).contains(&age));
        }
    }
}
