//! Judges one peer in one handshake against one snapshot.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    config::crypto_provider,
    error::Rejection,
    material::Material,
    peer::{Peer, PeerPolicy},
    profile::{self, Leaf},
    registry::ConnRegistry,
};

/// A verifier for a single handshake: it keeps what it found, so that nobody parses the certificate twice and a failure keeps its name.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    material: Arc<Material>,
    expected: Arc<PeerPolicy>,
    registry: Arc<ConnRegistry>,
    algorithms: WebPkiSupportedAlgorithms,
    outcome: OnceLock<Result<Arc<Peer>, Rejection>>,
}

impl PeerVerifier {
    pub(crate) fn new(material: Arc<Material>, expected: Arc<PeerPolicy>, registry: Arc<ConnRegistry>) -> Arc<Self> {
        let algorithms = crypto_provider().signature_verification_algorithms;
        Arc::new(Self { material, expected, registry, algorithms, outcome: OnceLock::new() })
    }

    pub(crate) fn material(&self) -> &Arc<Material> {
        &self.material
    }

    /// What the verification found; `None` when it never ran.
    pub(crate) fn outcome(&self) -> Option<Result<Arc<Peer>, Rejection>> {
        self.outcome.get().cloned()
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.registry.metrics().count_verification();
        let found = self.judge(leaf, intermediates, now);
        let answer = found.as_ref().map(|_| ()).map_err(as_tls_error);
        let _ = self.outcome.set(found.map(Arc::new));
        answer
    }

    /// Cheap checks first, then signatures, then who it is.
    fn judge(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, Rejection> {
        let leaf = profile::inspect_leaf(der)?;
        profile::check_intermediates(intermediates.iter().map(AsRef::as_ref))?;
        self.check_chain(&leaf, der, intermediates, now)?;
        if !self.expected.admits(&leaf.id) {
            return Err(Rejection::WrongIdentity { got: leaf.id });
        }
        if self.registry.is_denied(&leaf.id) {
            return Err(Rejection::Denied { id: leaf.id });
        }
        Ok(Peer {
            id: leaf.id,
            not_after: leaf.not_after,
            serial: leaf.serial,
            own_not_after: self.material.not_after(),
        })
    }

    /// The chain must end in a root of the leaf's own trust domain; roots of other domains do not count. Names other than the URI are
    /// not looked at.
    fn check_chain(
        &self,
        leaf: &Leaf,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let Some(roots) = self.material.roots_of(leaf.id.trust_domain()) else {
            return Err(Rejection::UnknownTrustDomain { id: leaf.id.clone() });
        };
        let parsed = ParsedCertificate::try_from(der).map_err(Rejection::BadChain)?;
        // The function for server certificates serves both sides: it differs only in the extended key usage, which must have both.
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all).map_err(
            |error| match error {
                Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                    Rejection::Expired
                }
                Error::InvalidCertificate(
                    CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
                ) => Rejection::NotYetValid,
                // A root of the same name with another key is somebody else's root.
                Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                    Rejection::UnknownAuthority { id: leaf.id.clone() }
                }
                other => Rejection::BadChain(other),
            },
        )
    }
}

/// The alert the peer gets to see: enough for its operator, nothing about this side's policy.
fn as_tls_error(rejection: &Rejection) -> Error {
    match rejection {
        Rejection::Expired => CertificateError::Expired.into(),
        Rejection::NotYetValid => CertificateError::NotValidYet.into(),
        Rejection::UnknownAuthority { .. } | Rejection::UnknownTrustDomain { .. } => {
            CertificateError::UnknownIssuer.into()
        }
        Rejection::NotAnSvid(_) => CertificateError::BadEncoding.into(),
        Rejection::BadChain(error) => error.clone(),
        Rejection::WrongIdentity { .. } | Rejection::Denied { .. } => {
            CertificateError::ApplicationVerificationFailure.into()
        }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Unreachable while only TLS 1.3 is configured, and refused if that ever changes.
        Err(Error::General("TLS 1.2 is off".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
