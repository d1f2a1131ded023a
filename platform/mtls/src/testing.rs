//! An in-memory certificate authority and sources that need no Workload API. Only with feature `testing`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, string::Ia5String,
};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;
use zeroize::Zeroizing;
use zizon_base::spiffe::{SpiffeId, TrustDomain};

use crate::{
    clock::Clock,
    material::{Material, SvidDer},
    source::{Current, SvidSource},
};

/// A certificate authority of one trust domain that issues whatever a test asks for.
pub struct TestCa {
    domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
}

/// Life of the SVIDs of [`TestCa::svid`], backdated by 30 s.
pub const SVID_LIFE: Duration = Duration::from_secs(3600);

impl TestCa {
    /// An authority with a fresh key.
    ///
    /// # Panics
    /// When `domain` is not a trust domain.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let domain: TrustDomain = domain.parse().expect("a test names a valid trust domain");
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name = name("test authority");
        params.subject_alt_names = vec![uri(&domain.id())];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("a root can be signed").der().to_vec();
        Self { domain, issuer: Issuer::new(params, key), root }
    }

    /// The authority's trust domain.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The identity at `path` of this domain.
    ///
    /// # Panics
    /// When `path` is not a SPIFFE path.
    #[must_use]
    pub fn id(&self, path: &str) -> SpiffeId {
        self.domain.workload(path).expect("a test names a valid path")
    }

    /// A conforming SVID for `path`, valid for [`SVID_LIFE`], with this authority's root as the only trusted one.
    #[must_use]
    pub fn svid(&self, path: &str) -> SvidDer {
        self.svid_with(path, |_| {})
    }

    /// An SVID whose certificate `edit` may spoil before it is signed.
    ///
    /// # Panics
    /// When the certificate cannot be encoded.
    #[must_use]
    pub fn svid_with(&self, path: &str, edit: impl FnOnce(&mut CertificateParams)) -> SvidDer {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = self.leaf_params(path);
        edit(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf can be signed");
        SvidDer {
            chain: vec![leaf.der().to_vec()],
            key: Zeroizing::new(key.serialize_der()),
            bundles: BTreeMap::from([(self.domain.clone(), vec![self.root.clone()])]),
        }
    }

    /// A conforming SVID that lives from `not_before` to `not_after`, unix seconds.
    #[must_use]
    pub fn svid_between(&self, path: &str, not_before: u64, not_after: u64) -> SvidDer {
        self.svid_with(path, |params| {
            params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(not_before);
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after);
        })
    }

    /// The snapshot of a conforming SVID for `path`.
    ///
    /// # Panics
    /// Never for a valid path.
    #[must_use]
    pub fn material(&self, path: &str) -> Arc<Material> {
        Arc::new(Material::build(&self.svid(path)).expect("a conforming svid makes a material"))
    }

    /// A source with a conforming SVID for `path` that never rotates.
    #[must_use]
    pub fn source(&self, path: &str) -> Arc<SvidSource> {
        SvidSource::fixed(self.material(path))
    }

    /// What a conforming leaf has, in terms of `rcgen`.
    ///
    /// # Panics
    /// When `path` cannot stand in a certificate.
    #[must_use]
    pub fn leaf_params(&self, path: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("test workload");
        params.subject_alt_names = vec![uri(&format!("{}/{path}", self.domain.id()))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = Clock::system().unix_seconds();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now - 30);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now) + SVID_LIFE;
        params
    }

    /// Signs `key` with `params`, for chains a plain SVID cannot express.
    ///
    /// # Panics
    /// When the certificate cannot be encoded.
    #[must_use]
    pub fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuer).expect("a certificate can be signed").der().to_vec()
    }
}

/// A URI name for `rcgen`.
///
/// # Panics
/// When `text` is not ASCII.
#[must_use]
pub fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text.to_owned()).expect("URIs are ASCII"))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The issuer's end of a source made by [`SvidSource::controlled`].
pub struct SourceHandle(Arc<Current>);

impl SourceHandle {
    /// Rotates to `material`.
    pub fn publish(&self, material: Arc<Material>) {
        self.0.install(material);
    }

    /// Withdraws the identity.
    pub fn withdraw(&self) {
        self.0.withdraw();
    }
}

impl SvidSource {
    /// A source that has `material` and keeps it until it expires.
    #[must_use]
    pub fn fixed(material: Arc<Material>) -> Arc<Self> {
        Self::controlled(material, Clock::system()).0
    }

    /// A source that a test rotates and withdraws, on a clock of the test's choice.
    #[must_use]
    pub fn controlled(material: Arc<Material>, clock: Clock) -> (Arc<Self>, SourceHandle) {
        let current = Current::new(clock);
        current.install(material);
        (Self::from_parts(Arc::clone(&current), None), SourceHandle(current))
    }

    /// A source that follows a channel: `None` withdraws. Must be called in a runtime; the channel's value must be `Some`.
    ///
    /// # Panics
    /// When the channel has no material yet.
    #[must_use]
    pub fn from_watch(mut receiver: watch::Receiver<Option<Arc<Material>>>) -> Arc<Self> {
        let first = receiver.borrow_and_update().clone().expect("the channel begins with a material");
        let current = Current::new(Clock::system());
        current.install(first);
        let followed = Arc::clone(&current);
        let follower = tokio::spawn(async move {
            while receiver.changed().await.is_ok() {
                let material = receiver.borrow_and_update().clone();
                match material {
                    Some(material) => followed.install(material),
                    None => {
                        followed.withdraw();
                    }
                }
            }
        });
        Self::from_parts(current, Some(follower))
    }
}

/// A clock that stands where a test sets it.
#[derive(Debug, Default)]
pub struct ManualTime(AtomicU64);

impl ManualTime {
    /// A clock that stands at `unix_seconds`.
    #[must_use]
    pub fn at(unix_seconds: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(unix_seconds)))
    }

    /// Moves the clock.
    pub fn set(&self, unix_seconds: u64) {
        self.0.store(unix_seconds, Relaxed);
    }

    /// The clock as a [`Clock`].
    #[must_use]
    pub fn clock(self: &Arc<Self>) -> Clock {
        Clock::from_provider(Arc::clone(self) as _)
    }
}

impl TimeProvider for ManualTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Relaxed))))
    }
}
