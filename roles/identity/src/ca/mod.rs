//! The signing authorities of a trust domain: kept on disk, replaced in time.

mod certificate;
mod schedule;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;
use zizon_base::spiffe::{SpiffeId, TrustDomain};

pub use certificate::CertificateError;
pub(crate) use certificate::{BACKDATE_SECONDS, Leaf};
pub(crate) use schedule::{Slot, Stage, Step};
pub use store::StoreError;

use schedule::{Timing, next_step};
use store::{Kept, Store};

/// Steps that one moment can ask for at most: activate, prepare, and retire what there is.
const STEPS_MAX: usize = 16;

/// Why the authorities cannot do their work.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// They cannot be kept or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No authority may sign at this time.
    #[error("no authority may sign")]
    NoActive,
}

/// How long things live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaLives {
    pub(crate) ca_seconds: u64,
    pub(crate) leaf_seconds: u64,
    pub(crate) publish_gap_seconds: u64,
}

/// What never changes about an authority.
struct Material {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
}

#[derive(Clone)]
struct Authority {
    slot: Slot,
    material: Arc<Material>,
}

/// All authorities of one trust domain.
pub(crate) struct Authorities {
    store: Store,
    domain: TrustDomain,
    lives: CaLives,
    timing: Timing,
    authorities: Vec<Authority>,
    leaves: u64,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots()).finish()
    }
}

impl Authorities {
    /// Reads what is kept in `directory` (made if need be) and brings it up to `now` (unix seconds).
    pub(crate) fn open(directory: &Path, domain: &TrustDomain, lives: CaLives, now: u64) -> Result<Self, CaError> {
        let store = Store::open(directory, domain.as_str())?;
        let kept = store.load()?;
        let authorities = kept.into_iter().map(|kept| restore(kept, &store)).collect::<Result<Vec<_>, _>>()?;
        if authorities.iter().filter(|authority| authority.slot.stage == Stage::Active).count() > 1 {
            return Err(store.damaged("two authorities are active").into());
        }
        let timing = Timing { publish_gap_seconds: lives.publish_gap_seconds, serving_since: now };
        let mut this = Self { store, domain: domain.clone(), lives, timing, authorities, leaves: 0 };
        this.remember_longer_leaves()?;
        this.advance(now)?;
        Ok(this)
    }

    /// The date at which an authority may leave depends on the longest life its leaves were given, over all restarts.
    fn remember_longer_leaves(&mut self) -> Result<(), CaError> {
        let mut next = self.authorities.clone();
        let mut changed = false;
        for authority in next.iter_mut().filter(|authority| authority.slot.stage != Stage::Old) {
            changed |= authority.slot.longest_leaf_seconds < self.lives.leaf_seconds;
            authority.slot.longest_leaf_seconds = authority.slot.longest_leaf_seconds.max(self.lives.leaf_seconds);
        }
        if changed { self.commit(next) } else { Ok(()) }
    }

    /// Takes every step that is due at `now` (unix seconds). A step is on disk before it has any effect; on an error the steps before
    /// it stand and nothing else has changed. Answers the steps with the number of the authority each was about.
    pub(crate) fn advance(&mut self, now: u64) -> Result<Vec<(Step, u64)>, CaError> {
        let mut taken = Vec::new();
        while taken.len() < STEPS_MAX {
            let slots: Vec<Slot> = self.slots().cloned().collect();
            let Some(step) = next_step(&slots, now, self.timing) else { break };
            let number = self.take(step, now)?;
            taken.push((step, number));
        }
        Ok(taken)
    }

    fn take(&mut self, step: Step, now: u64) -> Result<u64, CaError> {
        let mut next = self.authorities.clone();
        let number = match step {
            Step::Activate(number) | Step::Retire(number) => number,
            Step::Prepare | Step::Found => 1 + self.slots().map(|slot| slot.number).max().unwrap_or(0),
        };
        match step {
            Step::Prepare => next.push(self.make(number, Stage::Prepared, now)?),
            Step::Found => {
                age_active(&mut next, now);
                next.push(self.make(number, Stage::Active, now)?);
            }
            Step::Activate(number) => {
                age_active(&mut next, now);
                for authority in next.iter_mut().filter(|authority| authority.slot.number == number) {
                    authority.slot.stage = Stage::Active;
                }
            }
            Step::Retire(number) => next.retain(|authority| authority.slot.number != number),
        }
        self.commit(next)?;
        Ok(number)
    }

    fn commit(&mut self, next: Vec<Authority>) -> Result<(), CaError> {
        let keep = |authority: &Authority| Kept {
            slot: authority.slot.clone(),
            certificate: authority.material.certificate_pem.clone(),
            key: authority.material.key_pem.to_string(),
        };
        self.store.save(next.iter().map(keep).collect())?;
        self.authorities = next;
        Ok(())
    }

    fn make(&self, number: u64, stage: Stage, now: u64) -> Result<Authority, CaError> {
        let slot = Slot {
            number,
            stage,
            made_at: now,
            not_before: now.saturating_sub(BACKDATE_SECONDS),
            not_after: now + self.lives.ca_seconds,
            leaves_until: 0,
            longest_leaf_seconds: self.lives.leaf_seconds,
        };
        let key = certificate::new_key()?;
        let certificate = certificate::root(&self.domain, number, &key, slot.not_before, slot.not_after)?;
        let material = Material {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
            issuer: certificate::issuer(number, key),
            certificate: certificate.der().clone(),
        };
        Ok(Authority { slot, material: Arc::new(material) })
    }

    /// Lets another issuer have the directory; nothing can be rotated here afterwards.
    pub(crate) fn release(&mut self) {
        self.store.release();
    }

    /// Signs a leaf for `id` that ends after the configured life, or with its authority if that is earlier.
    pub(crate) fn issue(&mut self, id: &SpiffeId, now: u64) -> Result<Leaf, CaError> {
        let signs = |authority: &&Authority| authority.slot.stage == Stage::Active && authority.slot.usable(now);
        let active = self.authorities.iter().find(signs).ok_or(CaError::NoActive)?;
        let not_before = now.saturating_sub(BACKDATE_SECONDS).max(active.slot.not_before);
        let not_after = (now + self.lives.leaf_seconds).min(active.slot.not_after);
        self.leaves += 1;
        Ok(certificate::leaf(id, &active.material.issuer, self.leaves, not_before, not_after)?)
    }

    /// The bundle of the trust domain as the Workload API sends it: every certificate's DER, one after the other.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.authorities.iter().flat_map(|authority| authority.material.certificate.as_ref()).copied().collect()
    }

    /// The dates of every authority.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.authorities.iter().map(|authority| &authority.slot)
    }
}

fn age_active(authorities: &mut [Authority], now: u64) {
    for authority in authorities.iter_mut().filter(|authority| authority.slot.stage == Stage::Active) {
        let slot = &mut authority.slot;
        slot.stage = Stage::Old;
        // Leaves never outlive their authority.
        slot.leaves_until = (now + slot.longest_leaf_seconds).min(slot.not_after);
    }
}

fn restore(mut kept: Kept, store: &Store) -> Result<Authority, CaError> {
    let number = kept.slot.number;
    let certificate = CertificateDer::from_pem_slice(kept.certificate.as_bytes())
        .map_err(|error| store.damaged(format!("certificate of authority {number}: {error}")))?;
    let key =
        KeyPair::from_pem(&kept.key).map_err(|error| store.damaged(format!("key of authority {number}: {error}")))?;
    // The public key stands in the certificate as it is in the key; a pair that does not match would sign what nobody can verify.
    let public = key.public_key_raw();
    if !certificate.windows(public.len()).any(|window| window == public) {
        return Err(store.damaged(format!("key and certificate of authority {number} do not match")).into());
    }
    let material = Material {
        certificate,
        certificate_pem: std::mem::take(&mut kept.certificate),
        key_pem: Zeroizing::new(std::mem::take(&mut kept.key)),
        issuer: certificate::issuer(number, key),
    };
    Ok(Authority { slot: kept.slot.clone(), material: Arc::new(material) })
}
