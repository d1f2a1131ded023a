//! The X.509-SVID profile: what a leaf must look like to be an identity at all (X509-SVID standard, sections 2 to 5).
//!
//! webpki checks signatures, validity and path constraints but ignores key usage, so the profile is checked here.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zizon_base::spiffe::SpiffeId;

/// More intermediates than this are refused before any signature is checked.
pub(crate) const INTERMEDIATES_MAX: usize = 4;

/// What a conforming leaf says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    /// Unix seconds.
    pub(crate) not_before: u64,
    /// Unix seconds.
    pub(crate) not_after: u64,
    /// Hexadecimal.
    pub(crate) serial: String,
}

/// Why a certificate is not an X.509-SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not DER, trailing bytes, or an extension that is malformed or occurs twice.
    #[error("the certificate is malformed")]
    Malformed,
    /// No subject alternative name of type URI.
    #[error("the certificate has no URI name")]
    NoUri,
    /// Two or more URIs (standard, section 2).
    #[error("the certificate has more than one URI name")]
    SeveralUris,
    /// The URI is not a SPIFFE id with a path; signing identities have none (section 3.2).
    #[error("the certificate's URI name is not a SPIFFE id with a path")]
    NotAWorkloadId,
    /// `BasicConstraints` is absent.
    #[error("the certificate has no basic constraints")]
    NoBasicConstraints,
    /// A signing certificate presented as a workload's (section 5.2).
    #[error("a signing certificate may not be used as a workload's")]
    IsCa,
    /// `KeyUsage` is absent.
    #[error("the certificate has no key usage")]
    NoKeyUsage,
    /// `KeyUsage` lacks `digitalSignature` or has `keyCertSign` or `cRLSign` (section 4.3).
    #[error("the certificate's key usage is not that of a workload")]
    KeyUsage,
    /// `ExtendedKeyUsage` is present without both `serverAuth` and `clientAuth` (section 4.4).
    #[error("the certificate's extended key usage lacks server or client authentication")]
    ExtendedKeyUsage,
    /// An intermediate is not a signing certificate, or there are too many.
    #[error("the certificate chain has an intermediate that may not sign")]
    Intermediate,
}

/// Reads a leaf and checks it against the profile. Signatures and validity are not looked at.
pub(crate) fn inspect_leaf(der: &[u8]) -> Result<Leaf, ProfileError> {
    let certificate = parse(der)?;
    check_constraints(&certificate)?;
    let id = single_spiffe_id(&certificate)?;
    let validity = certificate.validity();
    Ok(Leaf {
        id,
        not_before: unix_seconds(validity.not_before.timestamp()),
        not_after: unix_seconds(validity.not_after.timestamp()),
        serial: certificate.serial.to_str_radix(16),
    })
}

/// Checks that each certificate between leaf and root may sign (section 4.3; webpki looks at `BasicConstraints` only).
pub(crate) fn check_intermediates<'a>(chain: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<(), ProfileError> {
    if chain.len() > INTERMEDIATES_MAX {
        return Err(ProfileError::Intermediate);
    }
    for der in chain {
        let certificate = parse(der)?;
        let is_ca =
            certificate.basic_constraints().map_err(|_| ProfileError::Malformed)?.is_some_and(|found| found.value.ca);
        let may_sign = certificate
            .key_usage()
            .map_err(|_| ProfileError::Malformed)?
            .is_some_and(|found| found.value.key_cert_sign());
        if !is_ca || !may_sign {
            return Err(ProfileError::Intermediate);
        }
    }
    Ok(())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ProfileError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ProfileError::Malformed),
    }
}

fn check_constraints(certificate: &X509Certificate<'_>) -> Result<(), ProfileError> {
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| ProfileError::Malformed)?
        .ok_or(ProfileError::NoBasicConstraints)?;
    if constraints.value.ca {
        return Err(ProfileError::IsCa);
    }
    let usage = certificate.key_usage().map_err(|_| ProfileError::Malformed)?.ok_or(ProfileError::NoKeyUsage)?.value;
    if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
        return Err(ProfileError::KeyUsage);
    }
    if let Some(extended) = certificate.extended_key_usage().map_err(|_| ProfileError::Malformed)?
        && !(extended.value.server_auth && extended.value.client_auth)
    {
        return Err(ProfileError::ExtendedKeyUsage);
    }
    Ok(())
}

fn single_spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, ProfileError> {
    let names =
        certificate.subject_alternative_name().map_err(|_| ProfileError::Malformed)?.ok_or(ProfileError::NoUri)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or(ProfileError::NoUri)?;
    if uris.next().is_some() {
        return Err(ProfileError::SeveralUris);
    }
    uri.parse().map_err(|_| ProfileError::NotAWorkloadId)
}

/// Certificates from before 1970 count as valid from or until 1970.
fn unix_seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_certificate_are_malformed() {
        for bytes in [&b""[..], b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----"] {
            assert_eq!(inspect_leaf(bytes), Err(ProfileError::Malformed));
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let ca = crate::testing::TestCa::new("zizon.local");
        let mut der = ca.svid("ns/shop/sa/orders").chain.remove(0);
        assert!(inspect_leaf(&der).is_ok());
        der.push(0);
        assert_eq!(inspect_leaf(&der), Err(ProfileError::Malformed));
    }

    #[test]
    fn a_long_chain_is_refused_unread() {
        let chain = vec![&b"x"[..]; INTERMEDIATES_MAX + 1];
        assert_eq!(check_intermediates(chain.into_iter()), Err(ProfileError::Intermediate));
    }
}
