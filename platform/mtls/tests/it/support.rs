//! One meeting of an acceptor and a client over a real socket.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use zizon_mtls::{Acceptor, ConnRegistry, Connector, HandshakeError, Peer, PeerPolicy, SvidSource, testing::TestCa};

/// Longer than anything here takes.
pub const BOUND: Duration = Duration::from_secs(10);

pub fn registry() -> Arc<ConnRegistry> {
    ConnRegistry::new(zizon_mtls::RegistryOptions::default())
}

/// Orders, open to everybody of its trust domain.
pub fn orders(ca: &TestCa) -> Acceptor {
    open_to_domain(ca, ca.source("ns/shop/sa/orders"), registry())
}

pub fn open_to_domain(ca: &TestCa, source: Arc<SvidSource>, registry: Arc<ConnRegistry>) -> Acceptor {
    Acceptor::new(source, PeerPolicy::AnyOfTrustDomain(ca.domain().clone()), registry)
}

pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Accepts one connection and greets it with a byte, so that a client can tell admission from refusal.
pub async fn accept_one(listener: &TcpListener, acceptor: &Acceptor) -> Result<Arc<Peer>, HandshakeError> {
    let (tcp, _) = listener.accept().await.unwrap();
    let (mut stream, peer) = acceptor.accept(tcp).await?;
    stream.write_all(b"!").await.map_err(HandshakeError::from_io)?;
    stream.shutdown().await.map_err(HandshakeError::from_io)?;
    Ok(peer)
}

/// Connects and waits for the greeting.
pub async fn connect_one(connector: &Connector, address: &str, expect: &str) -> Result<Arc<Peer>, HandshakeError> {
    let (mut stream, peer) = connector.connect(address, &expect.parse().unwrap(), &[]).await?;
    greeted(&mut stream).await?;
    Ok(peer)
}

pub async fn greeted(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> Result<(), HandshakeError> {
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await.map_err(HandshakeError::from_io)?;
    Ok(())
}

/// What both ends of one connection say: the acceptor's result first.
pub async fn meet(
    acceptor: &Acceptor,
    connector: &Connector,
    expect: &str,
) -> (Result<Arc<Peer>, HandshakeError>, Result<Arc<Peer>, HandshakeError>) {
    let (listener, address) = listen().await;
    timeout(BOUND, async { tokio::join!(accept_one(&listener, acceptor), connect_one(connector, &address, expect)) })
        .await
        .unwrap()
}

/// Waits for a condition, with a bound.
pub async fn until(mut condition: impl FnMut() -> bool) {
    timeout(BOUND, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the condition holds in time");
}
