//! How rustls is set up here, in one place: provider, version, resumption.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::{
        CryptoProvider,
        aws_lc_rs::{default_provider, kx_group},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::{clock::Clock, verifier::PeerVerifier};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
});

/// The cryptographic provider of every TLS endpoint: AWS-LC with the hybrid post-quantum key exchange first, then X25519, then P-256.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The one certificate of a snapshot, whatever the peer hints at.
#[derive(Debug)]
struct OwnCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The configuration of one accepted handshake. It is built for the handshake, so it cannot mix two snapshots; that costs
/// microseconds beside the signatures of a handshake.
pub(crate) fn server(
    verifier: &Arc<PeerVerifier>,
    clock: &Clock,
    alpn: &[Vec<u8>],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let own = Arc::new(OwnCertificate(verifier.material().certified()));
    let mut config = ServerConfig::builder_with_details(crypto_provider(), clock.provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(verifier) as _)
        .with_cert_resolver(own);
    config.alpn_protocols = alpn.to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The configuration of one opened handshake.
pub(crate) fn client(
    verifier: &Arc<PeerVerifier>,
    clock: &Clock,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let own = Arc::new(OwnCertificate(verifier.material().certified()));
    let mut config = ClientConfig::builder_with_details(crypto_provider(), clock.provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_client_cert_resolver(own);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Identities are SPIFFE ids; a host name would only tell an observer who is called.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_hybrid_group_comes_first_and_the_list_is_closed() {
        let groups: Vec<_> = crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1]);
    }

    #[test]
    fn neither_side_resumes_or_sends_early_data() {
        let material = crate::testing::TestCa::new("zizon.local").material("ns/shop/sa/edge");
        let expected = Arc::new(crate::PeerPolicy::Exactly(Vec::new()));
        let registry = crate::ConnRegistry::new(crate::RegistryOptions::default());
        let verifier = PeerVerifier::new(material, expected, registry);
        let server = server(&verifier, &Clock::system(), &[]).unwrap();
        assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
        assert_eq!((server.send_tls13_tickets, server.max_early_data_size, server.send_half_rtt_data), (0, 0, false));
        let client = client(&verifier, &Clock::system(), &[]).unwrap();
        assert!(!client.enable_early_data && !client.enable_sni);
        assert!(format!("{:?}", client.resumption).contains("NoClientSessionStorage"), "{:?}", client.resumption);
    }
}
