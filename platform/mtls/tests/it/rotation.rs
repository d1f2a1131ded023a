//! Rotation costs no handshake; withdrawal and expiry block at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use zizon_base::spiffe::TrustDomain;
use zizon_mtls::{
    Acceptor, Clock, Connector, HandshakeError, Material, Peer, SourceState, SvidSource,
    testing::{ManualTime, SourceHandle, TestCa},
};

use crate::{
    raw::{Gullible, client_config, knock_with},
    support::{BOUND, accept_one, connect_one, listen, meet, open_to_domain, orders, registry, until},
};

const WORKERS: usize = 8;
const ORDERS: &str = "spiffe://zizon.local/ns/shop/sa/orders";

/// Handshakes without pause from several tasks until told to stop.
struct Load {
    done: Vec<Arc<AtomicUsize>>,
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Load {
    async fn start(acceptor: Acceptor, connector: Connector) -> Self {
        let mut load = Self { done: Vec::new(), stop: Arc::default(), failures: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..WORKERS {
            let (listener, address) = listen().await;
            let done = Arc::new(AtomicUsize::new(0));
            load.done.push(Arc::clone(&done));
            let (stop, failures) = (Arc::clone(&load.stop), Arc::clone(&load.failures));
            load.tasks.spawn(work(listener, address, acceptor.clone(), connector.clone(), done, stop, failures));
        }
        load
    }

    /// Every worker begins and finishes at least one more handshake.
    async fn round(&self) {
        let goals: Vec<_> = self.done.iter().map(|done| done.load(Relaxed) + 2).collect();
        until(|| self.done.iter().zip(&goals).all(|(done, goal)| done.load(Relaxed) >= *goal)).await;
    }

    async fn finish(mut self) -> (usize, usize) {
        self.stop.store(true, Relaxed);
        timeout(BOUND, async { while self.tasks.join_next().await.transpose().unwrap().is_some() {} }).await.unwrap();
        (self.done.iter().map(|done| done.load(Relaxed)).sum(), self.failures.load(Relaxed))
    }
}

async fn work(
    listener: TcpListener,
    address: String,
    acceptor: Acceptor,
    connector: Connector,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicUsize>,
) {
    while !stop.load(Relaxed) {
        let (server, client) =
            tokio::join!(accept_one(&listener, &acceptor), connect_one(&connector, &address, ORDERS));
        if server.is_err() || client.is_err() {
            failures.fetch_add(1, Relaxed);
        }
        done.fetch_add(1, Relaxed);
    }
}

/// An SVID signed by `signer` that trusts the roots of `trusted`.
fn material(signer: &TestCa, path: &str, trusted: &[&TestCa]) -> Arc<Material> {
    let mut svid = signer.svid(path);
    let roots = trusted.iter().map(|ca| ca.root().to_vec()).collect();
    svid.bundles = BTreeMap::from([(signer.domain().clone(), roots)]);
    Arc::new(Material::build(&svid).unwrap())
}

fn controlled(material: Arc<Material>) -> (Arc<SvidSource>, SourceHandle) {
    SvidSource::controlled(material, Clock::system())
}

/// The authority of both ends.
#[derive(Clone)]
struct Issuers(Arc<(SourceHandle, SourceHandle)>);

impl Issuers {
    fn publish(&self, signer: &TestCa, trusted: &[&TestCa]) {
        self.0.0.publish(material(signer, "ns/shop/sa/orders", trusted));
        self.0.1.publish(material(signer, "ns/shop/sa/edge", trusted));
    }
}

#[tokio::test]
async fn leaves_and_roots_rotate_under_load_without_one_failed_handshake() {
    let (old, young) = (Arc::new(TestCa::new("zizon.local")), TestCa::new("zizon.local"));
    let (server, server_issuer) = controlled(material(&old, "ns/shop/sa/orders", &[&old]));
    let (client, client_issuer) = controlled(material(&old, "ns/shop/sa/edge", &[&old]));
    let issuers = Issuers(Arc::new((server_issuer, client_issuer)));
    let load = Load::start(open_to_domain(&old, server, registry()), Connector::new(client, registry())).await;
    // From a thread of its own, so that a rotation falls anywhere in a handshake.
    let (rotating, signer) = (issuers.clone(), Arc::clone(&old));
    tokio::task::spawn_blocking(move || (0..200).for_each(|_| rotating.publish(&signer, &[&signer]))).await.unwrap();
    load.round().await;
    // A root is published before it signs, and goes after its last leaf is gone.
    issuers.publish(&old, &[&old, &young]);
    load.round().await;
    issuers.publish(&young, &[&old, &young]);
    load.round().await;
    issuers.publish(&young, &[&young]);
    load.round().await;
    let (done, failed) = load.finish().await;
    assert_eq!(failed, 0, "of {done}");
    assert!(done >= 8 * WORKERS);
}

/// What an acceptor says of a good client when `act` happens between its hello and its certificate.
async fn meanwhile(
    ca: &TestCa,
    acceptor: &Acceptor,
    act: impl Fn() + Send + Sync + 'static,
) -> Result<Arc<Peer>, HandshakeError> {
    let (listener, address) = listen().await;
    let config = client_config(Gullible::doing(act), Some(&ca.svid("ns/shop/sa/edge")));
    let (accepted, knocked) =
        timeout(BOUND, async { tokio::join!(accept_one(&listener, acceptor), knock_with(config, &address)) })
            .await
            .unwrap();
    assert_eq!(accepted.is_ok(), knocked.is_ok(), "the client is greeted exactly when it is accepted");
    accepted
}

#[tokio::test]
async fn a_handshake_that_began_before_a_rotation_finishes_on_its_own_snapshot() {
    let (old, young) = (TestCa::new("zizon.local"), Arc::new(TestCa::new("zizon.local")));
    let (server, issuer) = controlled(material(&old, "ns/shop/sa/orders", &[&old]));
    let acceptor = open_to_domain(&old, Arc::clone(&server), registry());
    let signer = Arc::clone(&young);
    let rotate = move || issuer.publish(material(&signer, "ns/shop/sa/orders", &[&signer]));
    // The client's certificate is of the old root, which the source forgets before the server sees it.
    let peer = meanwhile(&old, &acceptor, rotate).await.unwrap();
    assert_eq!(peer.id, old.id("ns/shop/sa/edge"));
    assert_eq!(server.stats().rotations(), 2);
    assert_eq!(meanwhile(&old, &acceptor, || {}).await.unwrap_err().reason().label(), "unknown_authority");
}

#[tokio::test]
async fn a_withdrawal_during_a_handshake_fails_it() {
    let ca = TestCa::new("zizon.local");
    let (server, issuer) = controlled(ca.material("ns/shop/sa/orders"));
    let acceptor = open_to_domain(&ca, server, registry());
    assert!(matches!(meanwhile(&ca, &acceptor, move || issuer.withdraw()).await, Err(HandshakeError::NoIdentity)));
}

#[tokio::test]
async fn a_deny_during_a_handshake_fails_it() {
    let ca = TestCa::new("zizon.local");
    let live = registry();
    let acceptor = open_to_domain(&ca, ca.source("ns/shop/sa/orders"), Arc::clone(&live));
    let edge = ca.id("ns/shop/sa/edge");
    let deny = move || assert_eq!(live.set_denied([edge.clone()]), 0);
    let accepted = meanwhile(&ca, &acceptor, deny).await;
    assert_eq!(accepted.unwrap_err().reason().label(), "denied");
}

#[tokio::test]
async fn withdrawal_blocks_both_sides_at_once_and_a_fresh_svid_unblocks() {
    let ca = TestCa::new("zizon.local");
    let (server, server_issuer) = controlled(ca.material("ns/shop/sa/orders"));
    let (client, client_issuer) = controlled(ca.material("ns/shop/sa/edge"));
    let acceptor = open_to_domain(&ca, Arc::clone(&server), registry());
    let connector = Connector::new(Arc::clone(&client), registry());
    server_issuer.withdraw();
    let (accepted, connected) = meet(&acceptor, &connector, ORDERS).await;
    assert!(matches!(accepted, Err(HandshakeError::NoIdentity)));
    assert!(connected.is_err());
    client_issuer.withdraw();
    assert!(matches!(connect_one(&connector, "127.0.0.1:1", ORDERS).await, Err(HandshakeError::NoIdentity)));
    assert_eq!((client.seconds_left(), client.stats().withdrawals()), (None, 1));
    assert_eq!(*client.changed().borrow(), SourceState::Withdrawn);
    server_issuer.publish(ca.material("ns/shop/sa/orders"));
    client_issuer.publish(ca.material("ns/shop/sa/edge"));
    let (accepted, connected) = meet(&acceptor, &connector, ORDERS).await;
    accepted.unwrap();
    connected.unwrap();
}

#[tokio::test]
async fn an_expired_identity_neither_accepts_nor_connects() {
    let ca = TestCa::new("zizon.local");
    let own = ca.material("ns/shop/sa/orders");
    let time = ManualTime::at(own.not_after() - 1);
    let (source, _issuer) = SvidSource::controlled(Arc::clone(&own), time.clock());
    assert_eq!(source.seconds_left(), Some(1));
    time.set(own.not_after());
    assert_eq!(source.seconds_left(), None);
    let acceptor = open_to_domain(&ca, source, registry());
    let (accepted, _) = meet(&acceptor, &Connector::new(ca.source("ns/shop/sa/edge"), registry()), ORDERS).await;
    assert!(matches!(accepted, Err(HandshakeError::NoIdentity)));
}

#[tokio::test]
async fn the_end_of_trust_in_a_domain_blocks_its_peers_at_once() {
    let (ours, other) = (TestCa::new("zizon.local"), TestCa::new("elsewhere.local"));
    let mut federated = ours.svid("ns/shop/sa/orders");
    federated.bundles.insert(other.domain().clone(), vec![other.root().to_vec()]);
    let (source, issuer) = controlled(Arc::new(Material::build(&federated).unwrap()));
    assert!(source.material().unwrap().trust_domains().any(|domain| domain == other.domain()));
    issuer.publish(ours.material("ns/shop/sa/orders"));
    let domain: TrustDomain = "elsewhere.local".parse().unwrap();
    let acceptor = Acceptor::new(source, zizon_mtls::PeerPolicy::AnyOfTrustDomain(domain), registry());
    let (listener, address) = listen().await;
    let svid = other.svid("ns/shop/sa/edge");
    let (accepted, knocked) = tokio::join!(accept_one(&listener, &acceptor), crate::raw::knock(&address, Some(&svid)));
    assert_eq!(accepted.unwrap_err().reason().label(), "unknown_trust_domain");
    assert!(knocked.is_err());
}

#[tokio::test]
async fn a_source_follows_a_watch_channel() {
    let ca = TestCa::new("zizon.local");
    let (sender, receiver) = tokio::sync::watch::channel(Some(ca.material("ns/shop/sa/edge")));
    let source = SvidSource::from_watch(receiver);
    let connector = Connector::new(Arc::clone(&source), registry());
    let (_, connected) = meet(&orders(&ca), &connector, ORDERS).await;
    connected.unwrap();
    sender.send(None).unwrap();
    until(|| source.material().is_none()).await;
}
