//! The connecting side of a handshake.

use std::{fmt, io, sync::Arc, time::Duration};

use rustls::{CommonState, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use zizon_base::spiffe::SpiffeId;

use crate::{
    config,
    error::{HandshakeError, Reason, Rejection},
    peer::{Peer, PeerPolicy, Side},
    registry::ConnRegistry,
    source::SvidSource,
    verifier::PeerVerifier,
};

/// Opens mutual TLS to a named identity.
#[derive(Clone)]
pub struct Connector {
    source: Arc<SvidSource>,
    registry: Arc<ConnRegistry>,
    connect_timeout: Duration,
    handshake_timeout: Duration,
}

impl Connector {
    /// A connector that allows 1 s for the connection and 5 s for the handshake.
    #[must_use]
    pub fn new(source: Arc<SvidSource>, registry: Arc<ConnRegistry>) -> Self {
        Self { source, registry, connect_timeout: Duration::from_secs(1), handshake_timeout: Duration::from_secs(5) }
    }

    /// Longest times for the TCP connection and for the handshake on it.
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, handshake: Duration) -> Self {
        self.connect_timeout = connect;
        self.handshake_timeout = handshake;
        self
    }

    /// Connects to `address` (`host:port`), accepts nobody there but `expect`, and offers the application protocols `alpn`.
    ///
    /// The server judges this side's certificate after this future is done (TLS 1.3), so its refusal appears as an alert on the first
    /// read; [`HandshakeError::from_io`] names it.
    ///
    /// # Errors
    /// [`HandshakeError`]; the reason is counted.
    pub async fn connect(
        &self,
        address: &str,
        expect: &SpiffeId,
        alpn: &[&[u8]],
    ) -> Result<(TlsStream<TcpStream>, Arc<Peer>), HandshakeError> {
        let result = self.open(address, expect, alpn).await;
        let reason = result.as_ref().map_or_else(HandshakeError::reason, |_| Reason::Ok);
        self.registry.metrics().count_handshake(Side::Client, reason);
        result
    }

    async fn open(
        &self,
        address: &str,
        expect: &SpiffeId,
        alpn: &[&[u8]],
    ) -> Result<(TlsStream<TcpStream>, Arc<Peer>), HandshakeError> {
        // Without an identity there is nothing to present, so nothing is dialled.
        if self.source.material().is_none() {
            return Err(HandshakeError::NoIdentity);
        }
        let tcp = self.dial(address).await?;
        let handshake = self.handshake(tcp, expect, alpn);
        timeout(self.handshake_timeout, handshake).await.unwrap_or(Err(HandshakeError::Timeout))
    }

    async fn dial(&self, address: &str) -> Result<TcpStream, HandshakeError> {
        let failed = |source: io::Error| HandshakeError::Connect { address: address.to_owned(), source };
        let tcp = timeout(self.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| HandshakeError::ConnectTimeout { address: address.to_owned() })?
            .map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        Ok(tcp)
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        expect: &SpiffeId,
        alpn: &[&[u8]],
    ) -> Result<(TlsStream<TcpStream>, Arc<Peer>), HandshakeError> {
        let material = self.source.material().ok_or(HandshakeError::NoIdentity)?;
        let name = ServerName::IpAddress(tcp.peer_addr().map_err(HandshakeError::Io)?.ip().into());
        let expected = Arc::new(PeerPolicy::Exactly(vec![expect.clone()]));
        let verifier = PeerVerifier::new(material, expected, Arc::clone(&self.registry));
        let config = config::client(&verifier, self.source.clock(), alpn).map_err(HandshakeError::Protocol)?;
        let finished = TlsConnector::from(config).connect(name, tcp).await;
        finish(&self.source, &self.registry, &verifier, finished, |stream| stream.get_ref().1)
    }
}

/// Judges a finished handshake on either side. A rotation during the handshake does not matter; a withdrawal, a deny or the end of
/// trust in the peer's domain does.
pub(crate) fn finish<S>(
    source: &SvidSource,
    registry: &ConnRegistry,
    verifier: &PeerVerifier,
    finished: Result<S, io::Error>,
    session_of: impl FnOnce(&S) -> &CommonState,
) -> Result<(S, Arc<Peer>), HandshakeError> {
    // A rejection explains the failure of the handshake better than the error it caused.
    let outcome = verifier.outcome().transpose()?;
    let stream = finished.map_err(HandshakeError::from_io)?;
    let session = session_of(&stream);
    if session.handshake_kind() == Some(HandshakeKind::Resumed) {
        return Err(HandshakeError::Resumed);
    }
    let peer = outcome.ok_or(HandshakeError::NoCertificate)?;
    let current = source.material().ok_or(HandshakeError::NoIdentity)?;
    if current.roots_of(peer.id.trust_domain()).is_none() {
        return Err(Rejection::UnknownTrustDomain { id: peer.id.clone() }.into());
    }
    if registry.is_denied(&peer.id) {
        return Err(Rejection::Denied { id: peer.id.clone() }.into());
    }
    if let Some(group) = session.negotiated_key_exchange_group() {
        registry.metrics().count_key_exchange(group.name());
    }
    Ok((stream, peer))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("connect_timeout", &self.connect_timeout).finish_non_exhaustive()
    }
}
