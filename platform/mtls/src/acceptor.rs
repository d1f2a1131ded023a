//! The accepting side of a handshake.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use zizon_base::spiffe::SpiffeId;

use crate::{
    config,
    connector::finish,
    error::{HandshakeError, Reason},
    peer::{Peer, PeerPolicy, Side},
    registry::ConnRegistry,
    source::SvidSource,
    verifier::PeerVerifier,
};

/// Accepts mutual TLS from the peers of a policy.
#[derive(Clone)]
pub struct Acceptor {
    source: Arc<SvidSource>,
    expected: Arc<PeerPolicy>,
    registry: Arc<ConnRegistry>,
    alpn: Arc<Vec<Vec<u8>>>,
    handshake_timeout: Duration,
}

impl Acceptor {
    /// An acceptor with a handshake timeout of 5 s that negotiates no application protocol.
    #[must_use]
    pub fn new(source: Arc<SvidSource>, expected: PeerPolicy, registry: Arc<ConnRegistry>) -> Self {
        Self {
            source,
            expected: Arc::new(expected),
            registry,
            alpn: Arc::default(),
            handshake_timeout: Duration::from_secs(5),
        }
    }

    /// Application protocols in order of preference. A peer that offers only others is refused.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = Arc::new(protocols.iter().map(|name| name.to_vec()).collect());
        self
    }

    /// Longest time from the accepted socket to the completed handshake.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Completes a handshake on `tcp` and says who the peer is. Dropping the future closes the socket.
    ///
    /// The connection's life is not bounded yet: register it with the [`ConnRegistry`].
    ///
    /// # Errors
    /// [`HandshakeError`]; the reason is counted.
    pub async fn accept(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, Arc<Peer>), HandshakeError> {
        let result = timeout(self.handshake_timeout, self.handshake(tcp)).await.unwrap_or(Err(HandshakeError::Timeout));
        let reason = result.as_ref().map_or_else(HandshakeError::reason, |_| Reason::Ok);
        self.registry.metrics().count_handshake(Side::Server, reason);
        result
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, Arc<Peer>), HandshakeError> {
        tcp.set_nodelay(true).map_err(HandshakeError::Io)?;
        let start =
            LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await.map_err(HandshakeError::from_io)?;
        // Loaded when the peer has spoken: one that connects early and speaks late is judged by what is valid then.
        let material = self.source.material().ok_or(HandshakeError::NoIdentity)?;
        let verifier = PeerVerifier::new(material, Arc::clone(&self.expected), Arc::clone(&self.registry));
        let config = config::server(&verifier, self.source.clock(), &self.alpn).map_err(HandshakeError::Protocol)?;
        let finished = start.into_stream(config).await;
        finish(&self.source, &self.registry, &verifier, finished, |stream| stream.get_ref().1)
    }

    /// The identity this acceptor presents.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.source.id()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("expected", &self.expected).finish_non_exhaustive()
    }
}
