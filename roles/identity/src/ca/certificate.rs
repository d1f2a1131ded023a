//! The certificates themselves (X509-SVID standard, sections 2 to 4).

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;
use zizon_base::spiffe::{SpiffeId, TrustDomain};

/// How far in the past a certificate begins, for peers whose clock is behind; seconds.
pub(crate) const BACKDATE_SECONDS: u64 = 30;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The operating system gave no randomness.
    #[error("no randomness")]
    Random(#[source] getrandom::Error),
    /// Key generation, encoding or signing failed.
    #[error("cannot make a certificate")]
    Rcgen(#[from] rcgen::Error),
    /// A date beyond what certificates can say.
    #[error("{0} is no date a certificate can have")]
    Date(u64),
}

/// A leaf with its key. The key is wiped when it is dropped.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    /// PKCS#8 DER, unencrypted, as the Workload API asks for.
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// Lower-case hexadecimal.
    pub(crate) serial: String,
    /// Unix seconds.
    pub(crate) not_after: u64,
}

/// Makes a P-256 key.
pub(crate) fn new_key() -> Result<KeyPair, CertificateError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// A self-signed signing certificate: cA, keyCertSign, a SPIFFE id without path (section 3.2), and no leaf use of its key.
pub(crate) fn root(
    domain: &TrustDomain,
    number: u64,
    key: &KeyPair,
    not_before: u64,
    not_after: u64,
) -> Result<Certificate, CertificateError> {
    let mut params = issuing_params(number);
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.serial_number = Some(serial(number)?);
    params.subject_alt_names = vec![SanType::URI(domain.id().as_str().try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    Ok(params.self_signed(key)?)
}

/// The signing half of a root made by [`root`] with the same number.
pub(crate) fn issuer(number: u64, key: KeyPair) -> Issuer<'static, KeyPair> {
    Issuer::new(issuing_params(number), key)
}

/// What a root and every leaf's issuer field must have in common.
fn issuing_params(number: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    // Path building needs a name; differing names spare verifiers the wrong candidates.
    name.push(DnType::OrganizationName, "Zizon");
    name.push(DnType::CommonName, format!("workload authority {number}"));
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A leaf for `id` with a fresh key.
pub(crate) fn leaf(
    id: &SpiffeId,
    issuer: &Issuer<'static, KeyPair>,
    counter: u64,
    not_before: u64,
    not_after: u64,
) -> Result<Leaf, CertificateError> {
    let key = new_key()?;
    let serial = serial(counter)?;
    let mut params = CertificateParams::default();
    // An empty subject makes the alternative name critical, as the standard asks (section 2).
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.serial_number = Some(serial.clone());
    // Present with cA=false: strict verifiers refuse a leaf without BasicConstraints.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Leaf {
        certificate: certificate.der().clone(),
        key: Zeroizing::new(key.serialize_der()),
        serial: hex(&serial.to_bytes()),
        not_after,
    })
}

/// 64 random bits, so that a serial cannot be guessed, then a counter, so that one process never repeats one. The first byte is kept
/// in 0x40..=0x7f: positive and of constant length.
fn serial(counter: u64) -> Result<SerialNumber, CertificateError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes[..8]).map_err(CertificateError::Random)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    bytes[8..].copy_from_slice(&counter.to_be_bytes());
    Ok(SerialNumber::from_slice(&bytes))
}

fn date(unix: u64) -> Result<OffsetDateTime, CertificateError> {
    let signed = i64::try_from(unix).map_err(|_| CertificateError::Date(unix))?;
    OffsetDateTime::from_unix_timestamp(signed).map_err(|_| CertificateError::Date(unix))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
