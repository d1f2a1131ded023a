//! Resumption is off on both sides: rustls takes a resumed session's certificates from the ticket without asking the verifier.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use rustls::{ClientConfig, HandshakeKind, client::Resumption};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zizon_mtls::{Connector, testing::TestCa};

use crate::{
    raw::{Gullible, client_config, server_config},
    support::{accept_one, greeted, listen, open_to_domain, registry},
};

/// Connects with a shared configuration, session store included; says how the handshake went and how many tickets came.
async fn visit(config: &Arc<ClientConfig>, address: &str) -> (HandshakeKind, u32) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("somewhere.test").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap();
    greeted(&mut stream).await.unwrap();
    // Tickets arrive after the handshake; reading to the end takes them in.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let session = stream.get_ref().1;
    (session.handshake_kind().unwrap(), session.tls13_tickets_received())
}

fn remembering(verifier: &Arc<Gullible>, ca: &TestCa) -> Arc<ClientConfig> {
    let mut config = client_config(Arc::clone(verifier), Some(&ca.svid("ns/shop/sa/edge")));
    config.resumption = Resumption::in_memory_sessions(32);
    Arc::new(config)
}

#[tokio::test]
async fn a_second_visit_with_the_same_session_store_is_verified_in_full() {
    let ca = TestCa::new("zizon.local");
    let counted = registry();
    let acceptor = open_to_domain(&ca, ca.source("ns/shop/sa/orders"), Arc::clone(&counted));
    let (listener, address) = listen().await;
    let asked = Arc::new(Gullible::default());
    let config = remembering(&asked, &ca);
    for visits in 1..=3 {
        let (accepted, visited) = tokio::join!(accept_one(&listener, &acceptor), visit(&config, &address));
        accepted.unwrap();
        assert_eq!(visited, (HandshakeKind::Full, 0));
        assert_eq!(counted.metrics().verifications(), visits);
        assert_eq!(asked.asked() as u64, visits);
    }
    assert_eq!(counted.metrics().resumed(), 0);
}

#[tokio::test]
async fn a_ticket_that_is_offered_is_ignored_and_the_client_verified() {
    let ca = TestCa::new("zizon.local");
    let asked = Arc::new(Gullible::default());
    let config = remembering(&asked, &ca);

    // A server that issues tickets, to prove that the client would resume where it can.
    let mut issuing = server_config(Arc::default(), &ca.svid("ns/shop/sa/orders"));
    issuing.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let issuing = TlsAcceptor::from(Arc::new(issuing));
    let (listener, address) = listen().await;
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let server = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = issuing.accept(tcp).await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let ((), (kind, tickets)) = tokio::join!(server, visit(&config, &address));
        assert_eq!(kind, expected);
        assert!(tickets > 0);
    }
    assert_eq!(asked.asked(), 1);

    // The same client, with tickets in hand, at our acceptor.
    let counted = registry();
    let acceptor = open_to_domain(&ca, ca.source("ns/shop/sa/orders"), Arc::clone(&counted));
    let (listener, address) = listen().await;
    let (accepted, visited) = tokio::join!(accept_one(&listener, &acceptor), visit(&config, &address));
    assert_eq!(accepted.unwrap().id, ca.id("ns/shop/sa/edge"));
    assert_eq!(visited, (HandshakeKind::Full, 0));
    assert_eq!((counted.metrics().verifications(), asked.asked()), (1, 2));
}

#[tokio::test]
async fn a_connector_does_not_resume_where_it_could() {
    let ca = TestCa::new("zizon.local");
    let asked = Arc::new(Gullible::default());
    let mut issuing = server_config(Arc::clone(&asked), &ca.svid("ns/shop/sa/orders"));
    issuing.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let issuing = TlsAcceptor::from(Arc::new(issuing));
    let counted = registry();
    let connector = Connector::new(ca.source("ns/shop/sa/edge"), Arc::clone(&counted));
    let (listener, address) = listen().await;
    let expect = ca.id("ns/shop/sa/orders");
    for visits in 1..=3 {
        let server = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = issuing.accept(tcp).await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let client = async {
            let (mut stream, _) = connector.connect(&address, &expect, &[]).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        };
        tokio::join!(server, client);
        assert_eq!((asked.asked.load(Relaxed), counted.metrics().verifications()), (visits, visits as u64));
    }
}
