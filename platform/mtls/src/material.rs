//! One immutable snapshot of everything a handshake needs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{RootCertStore, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;
use zizon_base::spiffe::{SpiffeId, TrustDomain};

use crate::profile::{self, ProfileError};

/// An SVID and the roots to judge peers by, as they come from an issuer.
#[derive(Clone, PartialEq, Eq)]
pub struct SvidDer {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The roots of each trust domain, DER. Complete: a domain that is absent is not trusted.
    pub bundles: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
}

impl fmt::Debug for SvidDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidDer")
            .field("certificates", &self.chain.len())
            .field("domains", &self.bundles.len())
            .finish_non_exhaustive()
    }
}

/// Why an SVID cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// There is no certificate.
    #[error("the SVID has no certificate")]
    NoCertificate,
    /// The leaf or an intermediate breaks the X.509-SVID profile.
    #[error("the SVID is not usable: {0}")]
    Profile(#[from] ProfileError),
    /// The key cannot be read.
    #[error("the SVID's private key is not usable")]
    Key,
    /// The key is not the leaf's.
    #[error("the SVID's private key does not belong to its certificate")]
    KeyMismatch,
    /// The bundle of the SVID's own trust domain is absent or empty.
    #[error("the SVID came without roots for its own trust domain {0}")]
    NoOwnRoots(String),
    /// A root cannot be read. The whole update is refused, because a partial bundle would refuse good peers one by one.
    #[error("a root certificate of trust domain {0} is malformed")]
    Root(TrustDomain),
}

/// Own certificate and key, and the roots of every trusted domain: parsed, checked, immutable.
pub struct Material {
    id: SpiffeId,
    certified: Arc<CertifiedKey>,
    roots: BTreeMap<TrustDomain, RootCertStore>,
    not_before: u64,
    not_after: u64,
    serial: String,
    generation: u64,
    built_at: Instant,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

impl Material {
    /// Parses and checks everything, so that nothing is left to fail in a handshake.
    ///
    /// # Errors
    /// [`MaterialError`] naming the part that is unusable.
    pub fn build(svid: &SvidDer) -> Result<Self, MaterialError> {
        let leaf = profile::inspect_leaf(svid.chain.first().ok_or(MaterialError::NoCertificate)?)?;
        profile::check_intermediates(svid.chain[1..].iter().map(Vec::as_slice))?;
        let certified = certified_key(svid)?;
        let roots = root_stores(&svid.bundles)?;
        if !roots.iter().any(|(domain, store)| domain.as_str() == leaf.id.trust_domain() && !store.is_empty()) {
            return Err(MaterialError::NoOwnRoots(leaf.id.trust_domain().to_owned()));
        }
        Ok(Self {
            id: leaf.id,
            certified: Arc::new(certified),
            roots,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            serial: leaf.serial,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            built_at: Instant::now(),
        })
    }

    /// The process's own identity.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// End of validity of the own certificate, unix seconds.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Serial number of the own certificate, hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Distinguishes snapshots of this process; later ones are greater.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Length of the own certificate's validity.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.not_after.saturating_sub(self.not_before))
    }

    /// How many roots are trusted for `domain`; `None` when the domain is not trusted at all.
    #[must_use]
    pub fn authorities(&self, domain: &TrustDomain) -> Option<usize> {
        self.roots.get(domain).map(RootCertStore::len)
    }

    /// The trusted domains.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.roots.keys()
    }

    pub(crate) fn roots_of(&self, domain: &str) -> Option<&RootCertStore> {
        self.roots.iter().find_map(|(known, store)| (known.as_str() == domain).then_some(store))
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Seconds of validity left at wall-clock `now`; zero means expired. A wall clock that steps back cannot lengthen the life: the
    /// time since the SVID arrived counts as well, on a clock that only goes forward.
    pub(crate) fn seconds_left(&self, now: u64) -> u64 {
        let by_wall_clock = self.not_after.saturating_sub(now);
        let by_age = self.lifetime().as_secs().saturating_sub(self.built_at.elapsed().as_secs());
        by_wall_clock.min(by_age)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("id", &self.id.as_str())
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn certified_key(svid: &SvidDer) -> Result<CertifiedKey, MaterialError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key.as_slice()));
    let key = any_supported_type(&key).map_err(|_| MaterialError::Key)?;
    let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let certified = CertifiedKey::new(chain, key);
    // Unknown consistency counts as a mismatch: a pair that cannot be checked is not presented.
    certified.keys_match().map_err(|_| MaterialError::KeyMismatch)?;
    Ok(certified)
}

fn root_stores(
    bundles: &BTreeMap<TrustDomain, Vec<Vec<u8>>>,
) -> Result<BTreeMap<TrustDomain, RootCertStore>, MaterialError> {
    bundles
        .iter()
        .map(|(domain, authorities)| {
            let mut store = RootCertStore::empty();
            for der in authorities {
                store.add(CertificateDer::from(der.clone())).map_err(|_| MaterialError::Root(domain.clone()))?;
            }
            Ok((domain.clone(), store))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    fn svid() -> SvidDer {
        TestCa::new("zizon.local").svid("ns/shop/sa/orders")
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let mut mixed = svid();
        mixed.key = svid().key;
        assert_eq!(Material::build(&mixed).unwrap_err(), MaterialError::KeyMismatch);
    }

    #[test]
    fn an_svid_without_roots_of_its_own_domain_is_refused() {
        let mut rootless = svid();
        rootless.bundles = BTreeMap::from([("elsewhere".parse().unwrap(), vec![])]);
        assert!(
            matches!(Material::build(&rootless), Err(MaterialError::NoOwnRoots(domain)) if domain == "zizon.local")
        );
    }

    #[test]
    fn a_malformed_root_refuses_the_whole_update() {
        let mut broken = svid();
        broken.bundles.values_mut().for_each(|roots| roots.push(vec![1, 2, 3]));
        assert!(matches!(Material::build(&broken), Err(MaterialError::Root(_))));
    }

    #[test]
    fn an_empty_chain_is_refused() {
        let mut empty = svid();
        empty.chain.clear();
        assert_eq!(Material::build(&empty).unwrap_err(), MaterialError::NoCertificate);
    }

    #[test]
    fn a_clock_stepping_back_does_not_lengthen_life() {
        let material = Material::build(&svid()).unwrap();
        let long_ago = material.not_after - 1_000_000;
        assert!(material.seconds_left(long_ago) <= material.lifetime().as_secs());
        assert_eq!(material.seconds_left(material.not_after), 0);
    }

    #[test]
    fn neither_key_nor_certificates_are_printed() {
        let printed = format!("{:?} {:?}", svid(), Material::build(&svid()).unwrap());
        assert!(!printed.contains("key") && printed.len() < 300, "{printed}");
    }
}
