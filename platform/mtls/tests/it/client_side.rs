//! What a connector accepts at the other end.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use zizon_mtls::{
    Connector, HandshakeError, Reason, Rejection, Side, SvidDer, SvidSource,
    testing::{ManualTime, TestCa, uri},
};

use crate::{
    raw,
    support::{BOUND, connect_one, listen, meet, orders, registry},
};

const ORDERS: &str = "spiffe://zizon.local/ns/shop/sa/orders";

fn connector(ca: &TestCa) -> Connector {
    Connector::new(ca.source("ns/shop/sa/edge"), registry())
}

/// What a connector says of a server that presents `svid`.
async fn refusal(ca: &TestCa, svid: &SvidDer) -> Reason {
    let (listener, address) = listen().await;
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = TlsAcceptor::from(Arc::new(raw::server_config(Arc::default(), svid))).accept(tcp).await;
    };
    let connector = connector(ca);
    let (connected, ()) =
        timeout(BOUND, async { tokio::join!(connect_one(&connector, &address, ORDERS), server) }).await.unwrap();
    connected.unwrap_err().reason()
}

#[tokio::test]
async fn another_identity_than_the_expected_is_refused() {
    let ca = TestCa::new("zizon.local");
    let (_, client) = meet(&orders(&ca), &connector(&ca), "spiffe://zizon.local/ns/shop/sa/catalog").await;
    assert!(
        matches!(client, Err(HandshakeError::Rejected(Rejection::WrongIdentity { got })) if got == ca.id("ns/shop/sa/orders"))
    );
}

#[tokio::test]
async fn a_server_of_a_foreign_authority_is_refused() {
    let (ours, foreign) = (TestCa::new("zizon.local"), TestCa::new("zizon.local"));
    assert_eq!(refusal(&ours, &foreign.svid("ns/shop/sa/orders")).await, Reason::UnknownAuthority);
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let ca = TestCa::new("zizon.local");
    assert_eq!(refusal(&ca, &ca.svid_between("ns/shop/sa/orders", 1_000, 2_000)).await, Reason::Expired);
}

#[tokio::test]
async fn a_server_with_two_identities_is_refused() {
    let ca = TestCa::new("zizon.local");
    let two = ca.svid_with("ns/shop/sa/orders", |params| {
        params.subject_alt_names.push(uri("spiffe://zizon.local/ns/shop/sa/edge"));
    });
    assert_eq!(refusal(&ca, &two).await, Reason::NotAnSvid);
}

#[tokio::test]
async fn a_refusal_by_the_server_arrives_as_an_alert() {
    let ca = TestCa::new("zizon.local");
    let foreign = TestCa::new("zizon.local");
    let mut distrusted = foreign.svid("ns/shop/sa/edge");
    // Trusts our server, but is not trusted by it.
    distrusted.bundles = ca.svid("ns/shop/sa/edge").bundles;
    let source = SvidSource::fixed(Arc::new(zizon_mtls::Material::build(&distrusted).unwrap()));
    let (server, client) = meet(&orders(&ca), &Connector::new(source, registry()), ORDERS).await;
    assert_eq!(server.unwrap_err().reason(), Reason::UnknownAuthority);
    assert!(matches!(client.unwrap_err(), HandshakeError::RefusedByPeer(rustls::AlertDescription::UnknownCA)));
}

#[tokio::test]
async fn a_denied_server_is_refused() {
    let ca = TestCa::new("zizon.local");
    let counted = registry();
    counted.set_denied([ca.id("ns/shop/sa/orders")]);
    let connector = Connector::new(ca.source("ns/shop/sa/edge"), Arc::clone(&counted));
    let (_, client) = meet(&orders(&ca), &connector, ORDERS).await;
    assert_eq!(client.unwrap_err().reason(), Reason::Denied);
    assert_eq!(counted.metrics().handshakes_of(Side::Client, Reason::Denied), 1);
}

#[tokio::test]
async fn an_address_nobody_listens_at_is_named() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    drop(listener);
    let error = connect_one(&connector(&ca), &address, ORDERS).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Connect { address: named, .. } if named == address));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let connector = connector(&ca).timeouts(BOUND, Duration::from_millis(50));
    let (error, _held) = tokio::join!(connect_one(&connector, &address, ORDERS), listener.accept());
    assert!(matches!(error, Err(HandshakeError::Timeout)));
}

#[tokio::test]
async fn a_server_that_answers_tls_1_2_is_refused() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let server = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut hello = [0; 16384];
        let _ = tcp.read(&mut hello).await.unwrap();
        let mut body = vec![0x03, 0x03];
        body.extend([9; 32]);
        body.extend([0x00, 0xc0, 0x2b, 0x00]); // no session id, an ECDHE suite of TLS 1.2, no compression
        let mut record = vec![
            0x16,
            0x03,
            0x03,
            0x00,
            u8::try_from(body.len() + 4).unwrap(),
            0x02,
            0x00,
            0x00,
            u8::try_from(body.len()).unwrap(),
        ];
        record.extend(body);
        tcp.write_all(&record).await.unwrap();
        let _ = tcp.read(&mut hello).await;
    };
    let connector = connector(&ca);
    let (error, ()) =
        timeout(BOUND, async { tokio::join!(connect_one(&connector, &address, ORDERS), server) }).await.unwrap();
    assert_eq!(error.unwrap_err().reason(), Reason::Protocol);
}

#[tokio::test]
async fn without_a_valid_identity_nothing_is_dialled() {
    let ca = TestCa::new("zizon.local");
    let own = ca.material("ns/shop/sa/edge");
    let time = ManualTime::at(own.not_after());
    let (source, _handle) = SvidSource::controlled(own, time.clock());
    let (listener, address) = listen().await;
    let error = connect_one(&Connector::new(source, registry()), &address, ORDERS).await.unwrap_err();
    assert!(matches!(error, HandshakeError::NoIdentity));
    assert!(timeout(Duration::from_millis(20), listener.accept()).await.is_err());
}
